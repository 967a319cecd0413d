package onsim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// ownProcess is a fault of the process that sends the load, which therefore is
// one of its own, with the simulated cluster in it.
type ownProcess struct {
	stop time.Duration // stop it for so long, by signal, when the upgrade has begun
	burn time.Duration // keep one core busy for so long from the upgrade's begin
}

// news is a line that the child tells its parent on standard output.
type news struct {
	// Begun is set once, when the upgrade begins.
	Begun bool `json:"begun,omitempty"`
	// Dir is the run directory, told at the end; Err why there is none.
	Dir string `json:"dir,omitempty"`
	Err string `json:"err,omitempty"`
}

// afterBegin is how long after the upgrade's begin the child is stopped.
const afterBegin = 4 * time.Second

// Child rehearses with a fault of its own process, and tells its parent about
// it on w. It is what the command of Options.Self runs.
func (b *Bed) Child(ctx context.Context, name, out string, w io.Writer) error {
	f, err := b.fault(name)
	if err != nil {
		return err
	}
	if f.own == nil {
		return fmt.Errorf("fault %s needs no process of its own", name)
	}
	tell := json.NewEncoder(w)
	s := &stage{onBegin: func() {
		_ = tell.Encode(news{Begun: true}) // a parent that is gone stops nobody
		if f.own.burn > 0 {
			go burn(ctx, f.own.burn)
		}
	}}
	res, err := b.run(ctx, f, s, out)
	n := news{Dir: dirOf(res)}
	if err != nil {
		n.Err = err.Error()
	}
	return errors.Join(tell.Encode(n), err)
}

// burn keeps one core busy.
func burn(ctx context.Context, d time.Duration) {
	runtime.LockOSThread()
	for until := time.Now().Add(d); time.Now().Before(until) && ctx.Err() == nil; {
	}
}

// inChild rehearses in a child process.
func (b *Bed) inChild(ctx context.Context, f fault, out string) (prove.Trial, string, error) {
	if b.o.Self == nil {
		return prove.Trial{}, "", fmt.Errorf("fault %s needs a process of its own, and there is no way to start one", f.Name)
	}
	cmd := b.o.Self(ctx, f.Name, out)
	// A group of its own: what a terminal sends to this one must not reach it
	// twice, and a stopped child must not look like a stopped job.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return prove.Trial{}, "", fmt.Errorf("start a process for fault %s: %w", f.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return prove.Trial{}, "", fmt.Errorf("start a process for fault %s: %w", f.Name, err)
	}
	var p prove.Planted
	var last news
	for in := bufio.NewScanner(lines); in.Scan(); {
		var n news
		if err := json.Unmarshal(in.Bytes(), &n); err != nil {
			continue // told below, with what it said
		}
		if n.Begun {
			p = f.own.befall(ctx, cmd.Process)
		} else {
			last = n
		}
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return prove.Trial{}, last.Dir, context.Cause(ctx)
	case last.Err != "":
		return prove.Trial{}, last.Dir, errors.New(last.Err)
	case err != nil || last.Dir == "":
		return prove.Trial{}, last.Dir, fmt.Errorf("the process for fault %s: %w: %s", f.Name, err, strings.TrimSpace(stderr.String()))
	}
	t, err := load(last.Dir)
	t.Planted = p
	return t, last.Dir, err
}

// befall does to the child what only another process can do.
func (o *ownProcess) befall(ctx context.Context, child *os.Process) prove.Planted {
	p := prove.Planted{From: time.Now()}
	if o.burn > 0 {
		p.To = p.From.Add(o.burn)
	}
	if o.stop <= 0 {
		return p
	}
	_ = pause.For(ctx, afterBegin)
	p.From = time.Now()
	if child.Signal(syscall.SIGSTOP) != nil {
		return prove.Planted{} // it is gone, which Wait tells
	}
	_ = pause.For(ctx, o.stop)
	_ = child.Signal(syscall.SIGCONT)
	p.To = time.Now()
	return p
}

// load reads and judges the record that the child left.
func load(dir string) (prove.Trial, error) {
	r, err := record.Load(dir)
	if err != nil {
		return prove.Trial{}, err
	}
	sc, err := scenarios.FromResolved(r.Run.Scenario)
	if err != nil {
		return prove.Trial{}, err
	}
	return prove.Trial{Record: r, Verdict: judge.Judge(r, sc.Criteria())}, nil
}
