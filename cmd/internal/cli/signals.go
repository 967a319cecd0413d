package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

type interruptKey struct{}

// interrupts is what the signals of one process need to know: what a second
// one would leave behind.
type interrupts struct {
	cleanup cleanup.Stack
	second  chan struct{}

	mu  sync.Mutex
	dir string // of the run that is under way, empty where there is none
}

// begun is told the run directory of the run that is under way.
func (in *interrupts) begun(dir string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dir = dir
}

func (in *interrupts) runDir() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dir
}

func interruptsOf(ctx context.Context) *interrupts {
	return ctx.Value(interruptKey{}).(*interrupts)
}

// watchSignals ends the returned context at the first SIGINT or SIGTERM, so
// that everything is cleaned up. At the second it says what is left and how to
// delete it, and Main returns at once. A terminal that is closed counts as the
// first, unless nohup has SIGHUP ignored; it never counts as the second, since
// both the kernel and a shell may send it.
func watchSignals(parent context.Context, s Streams) (context.Context, func()) {
	in := &interrupts{second: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, interruptKey{}, in))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	// Nobody reads pipes: that it is taken is enough for a write to a reader that
	// went away to fail, instead of ending the process with everything it created
	// left behind. Unlike an ignored signal, children do not inherit that.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	quit := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case sig := <-signals:
				if n == 0 {
					fmt.Fprintf(s.Err, "\nrehearse: %s: stopping and cleaning up; once more to stop at once and leave things as they are\n", sig)
					cancel(errInterrupted)
					continue
				}
				if sig == syscall.SIGHUP {
					continue
				}
				tellLeft(s, in.cleanup.Left(), in.runDir())
				close(in.second)
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipes)
		close(quit)
		cancel(nil)
	}
}

func tellLeft(s Streams, left []cleanup.Entry, runDir string) {
	if len(left) == 0 {
		fmt.Fprintln(s.Err, "\nrehearse: stopped at once; nothing is left that would outlive this process")
		return
	}
	fmt.Fprintln(s.Err, "\nrehearse: stopped at once. This is left; delete it with the command beside it:")
	for i := len(left) - 1; i >= 0; i-- {
		fmt.Fprintf(s.Err, "  %s: %s\n", left[i].What, left[i].How)
	}
	if runDir != "" {
		fmt.Fprintf(s.Err, "Or go on where it was stopped: %s\n", resumeCommand(runDir))
	}
}
