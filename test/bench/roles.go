package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// serve is the server of all benchmarks: it answers with 300 bytes, fails as
// planned once armed, and says what it received.
func serve(_ context.Context, args []string) error {
	var faults []faulttest.Fault
	if err := json.Unmarshal([]byte(args[0]), &faults); err != nil {
		return err
	}
	s, err := faulttest.Start([]byte(strings.Repeat("rehearse! ", 30)), faults...)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.URL())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		command, arg, _ := strings.Cut(in.Text(), " ")
		var answer any
		switch command {
		case "arm":
			ns, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				return err
			}
			s.Arm(time.Unix(0, ns))
		case "log":
			answer = s.Log()
		case "refused":
			answer = s.Refused()
		}
		line, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return in.Err()
}

// sendFlags say what a contestant sends.
type sendFlags struct {
	engine, target, kind, dir string
	rate                      float64
	duration, timeout         time.Duration
	requests                  uint64
	concurrency               int
	maxWorkers                uint64
}

// sent is what a contestant says of itself.
type sent struct {
	Requests   uint64  `json:"requests"`
	OK         uint64  `json:"ok"`
	Elapsed    float64 `json:"elapsed"` // seconds
	Goroutines int     `json:"goroutines"`
	P99        float64 `json:"p99"`  // ms
	Max        float64 `json:"max"`  // ms
	Slow       uint64  `json:"slow"` // answered after 100 ms or later
}

// send plays one contestant that is a Go library.
func send(ctx context.Context, args []string) error {
	var f sendFlags
	fs := flag.NewFlagSet("send", flag.ContinueOnError)
	fs.StringVar(&f.engine, "engine", "", "rehearse, closed, vegeta or vegeta-closed")
	fs.StringVar(&f.target, "target", "", "")
	fs.StringVar(&f.kind, "kind", "reused", "")
	fs.StringVar(&f.dir, "record", "", "")
	fs.Float64Var(&f.rate, "rate", 100, "")
	fs.DurationVar(&f.duration, "for", time.Second, "")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Second, "")
	fs.Uint64Var(&f.requests, "n", 0, "")
	fs.IntVar(&f.concurrency, "c", 1, "")
	fs.Uint64Var(&f.maxWorkers, "max-workers", vegeta.DefaultMaxWorkers, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	engines := map[string]func(context.Context, sendFlags) (sent, error){
		"rehearse": sendRehearse, "closed": sendClosed, "vegeta": sendVegeta, "vegeta-closed": sendVegeta,
	}
	engine := engines[f.engine]
	if engine == nil {
		return fmt.Errorf("-engine %q", f.engine)
	}
	most, stop := watchGoroutines()
	out, err := engine(ctx, f)
	stop()
	if err != nil {
		return err
	}
	out.Goroutines = *most
	return json.NewEncoder(os.Stdout).Encode(out)
}

// watchGoroutines follows the number of goroutines; most is valid after stop.
func watchGoroutines() (most *int, stop func()) {
	most = new(int)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(50 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				*most = max(*most, runtime.NumGoroutine())
			case <-done:
				return
			}
		}
	})
	return most, func() { close(done); wg.Wait() }
}

// sendRehearse records a run as `rehearse record` does.
func sendRehearse(ctx context.Context, f sendFlags) (out sent, err error) {
	lane := load.Lane{Name: "lane", Kind: load.Kind(f.kind), Target: f.target, Rate: f.rate, Timeout: f.timeout, Canary: true}
	started := time.Now()
	run := record.Run{Name: "bench", Started: started.UTC(), Lanes: []record.Lane{lane.Record()}, Outcome: record.OutcomeRunning}
	dir, err := record.Create(f.dir, run)
	if err != nil {
		return out, err
	}
	w, err := dir.Timeline()
	if err != nil {
		return out, err
	}
	running, err := load.Start(ctx, load.Config{
		Lanes: []load.Lane{lane}, Timeline: timeline.NewRecorder(timeline.NewClock(started), w), Open: load.ToDir(dir),
	}, "measured")
	if err != nil {
		return out, err
	}
	// Sending begins at the next full second of the run.
	wait(ctx, time.Second-time.Since(started)%time.Second+f.duration)
	if err := running.Stop(); err != nil {
		return out, err
	}
	counts := running.Sums()[0].Counts
	for _, n := range counts {
		out.Requests += n
	}
	out.OK = counts[record.OK]
	run.Outcome = record.OutcomePassed
	return out, errors.Join(dir.SaveRun(run), dir.Seal())
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func sendClosed(ctx context.Context, f sendFlags) (out sent, err error) {
	c, err := load.RunClosed(ctx, load.Lane{Name: "closed", Kind: load.Kind(f.kind), Target: f.target, Timeout: f.timeout, Canary: true}, f.requests, f.concurrency)
	if err != nil {
		return out, err
	}
	return sent{Requests: c.Requests, OK: c.Counts[record.OK], Elapsed: c.Elapsed.Seconds()}, nil
}

// sendVegeta uses the bare library: results are drained and hardly looked at.
func sendVegeta(_ context.Context, f sendFlags) (out sent, err error) {
	opts := []func(*vegeta.Attacker){vegeta.Timeout(f.timeout), vegeta.MaxWorkers(f.maxWorkers)}
	pacer := vegeta.Rate{Freq: int(f.rate), Per: time.Second}
	if f.engine == "vegeta-closed" {
		opts = append(opts, vegeta.Workers(uint64(f.concurrency)), vegeta.MaxWorkers(uint64(f.concurrency)))
		pacer = vegeta.Rate{}
	}
	if f.kind == "new" {
		opts = append(opts, vegeta.KeepAlive(false))
	}
	a := vegeta.NewAttacker(opts...)
	targeter := vegeta.NewStaticTargeter(vegeta.Target{Method: "GET", URL: f.target})
	var h record.Dense
	began := time.Now()
	var greatest time.Duration
	for r := range a.Attack(targeter, pacer, f.duration, "") {
		out.Requests++
		if r.Error == "" {
			out.OK++
		}
		if r.Latency >= 100*time.Millisecond {
			out.Slow++
		}
		greatest = max(greatest, r.Latency)
		h.Add(uint64(r.Latency.Microseconds()))
	}
	out.Elapsed = time.Since(began).Seconds()
	out.P99 = float64(h.Quantile(0.99)) / 1000
	out.Max = math.Round(float64(greatest.Milliseconds()))
	return out, nil
}

// addErrors feeds vegeta's own metrics with results whose errors are all unlike.
func addErrors(_ context.Context, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var m vegeta.Metrics
	now := time.Now()
	for i := range n {
		m.Add(&vegeta.Result{
			Seq: uint64(i), Timestamp: now.Add(time.Duration(i)), Latency: time.Millisecond,
			Error: "read tcp 10.0.0.1:" + strconv.Itoa(i) + "->10.0.0.2:80: read: connection reset by peer",
		})
	}
	m.Close()
	return nil
}
