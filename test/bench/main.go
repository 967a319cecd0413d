// Command bench measures rehearse against its targets and against the tools that
// a user could pick instead, in one run on one machine, and writes the table
// docs/benchmarks.md. `make bench` runs it; so does
//
//	go run ./test/bench [-rounds 7] [-targets 1,2,3,4,5,6,7,8,9] [-quick] [-out docs/benchmarks.md]
//
// Contestants take turns within each round, so that a machine that slows down
// slows all of them down; what is compared is the median of the rounds. Each
// contestant and the server have a process of their own, and processor time comes
// before wall time: it is what the load takes from a cluster on the same machine.
//
// A round in which the runner could not send in time, by the rules that make a
// verdict INCONCLUSIVE (send-lag p99 above 25 ms, or more than 0.1% unsent), says
// nothing of the engine: it is repeated, at most as often as there are rounds,
// and the table says how often. When that is used up, rounds count as they are.
//
// A target that is missed or could not be measured does not end the run; the
// table says why. Each target is written as soon as it was measured, into its own
// section of the file: those of other targets stay. Targets 4, 5, 6, 8 and 9 do not
// depend on when something happens, so they may be measured at a low weight
// beside other work: nice -n 19 make bench TARGETS=8. The exit code is 1 where a
// target could not be measured, and 0 otherwise.
//
// It needs wrk and ab (on Debian the packages wrk and apache2-utils).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is one target of the measurement, and how it is measured.
type target struct {
	number int
	title  string
	run    func(ctx context.Context, b *bench) measured
}

// targets in the order of the table.
var targets = []target{
	{1, "CPU per 1,000 requests ≤ 1.10 × the bare vegeta library and ≤ 0.70 × `vegeta attack | vegeta report`; throughput ≥ 0.55 × wrk", throughput},
	{2, "after a planted 5 s hang: at most 1.2 × the rate in any second; corrected p99 within 5% of the truth; affected requests counted within 1%", hang},
	{3, "black hole at 1,000/s: goroutines ≤ 3 × cap, RSS ≤ 250 MB, no latency above timeout + 250 ms, every slot accounted for", blackHole},
	{4, "RSS grows ≤ 1 MB per 10 M results over 30 M, all errors unique included", memory},
	{5, "10 M results judged in ≤ 0.2 s from windows", verdictTime},
	{6, "p99.9 within 0.5% on upgrade-shaped latency", quantiles},
	{7, "outages found from max(50 ms, 10/rate) up, edges within ±2/rate, for refuse, hang, 503, reset × new, reused", outages},
	{8, "1,000 seeded A/A pairs: NO-GO ≤ 1%, INCONCLUSIVE ≤ 5%; power ≥ 95% at +25% p50, ≥ 90% at tail × 1.5, ≥ 99% for 1 s at 100%, 3 s at 50%, 30 s at 5%; one core burnt in the client: never NO-GO", verdictPower},
	{9, "a run of 8 h: heap after the last hour ≤ 1.2 × after the first; judged as target 5; report < 2 MB, drawn in < 2 s", longRun},
}

// row is one line of the table.
type row struct {
	what      string
	ours      string
	reference string // the other contestants' figures, by name
	limit     string
	met       bool
	// reason says why the figure is what it is, where the target was not met.
	reason string
}

// bench is what the measurements share.
type bench struct {
	rounds int
	quick  bool
	dir    string // for records, binaries
	self   string // this binary
	vegeta string // vegeta's command
	progress
}

type progress struct{}

func (progress) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs the benchmark or, as a process that the benchmark started, one
// contestant or the server.
func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 && roles[args[0]] != nil {
		return roles[args[0]](ctx, args[1:])
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	var (
		rounds = fs.Int("rounds", 7, "alternating rounds of each measurement")
		only   = fs.String("targets", "", "numbers of the targets to measure, separated by commas; all when empty")
		quick  = fs.Bool("quick", false, "shorter rounds: to try the benchmark itself")
		out    = fs.String("out", "", "file to write the table to; standard output when empty")
	)
	if err := fs.Parse(args); err != nil {
		return err
	}
	return run(ctx, *rounds, *only, *quick, *out)
}

func run(ctx context.Context, rounds int, only string, quick bool, out string) (err error) {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	b := &bench{rounds: max(1, rounds), quick: quick}
	if b.dir, err = os.MkdirTemp("", "rehearse-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.tools(ctx); err != nil {
		return err
	}
	facts := machine(ctx)
	var printed document
	var failures []error
	for _, t := range chosen {
		b.say("target %d: %s", t.number, t.title)
		began, load := time.Now(), loadAverage()
		m := t.run(ctx, b)
		took := time.Since(began).Round(time.Second)
		b.say("target %d: took %s, %d figures miss their limit", t.number, took, m.missed())
		if m.err != nil {
			failures = append(failures, fmt.Errorf("target %d: %w", t.number, m.err))
			b.say("target %d: %v", t.number, m.err)
		}
		if ctx.Err() != nil {
			break // what it had is no measurement
		}
		s := sectionOf(t, fmt.Sprintf("%s, took %s; %d alternating rounds%s; %s; load average %s before and %s after.",
			began.UTC().Format("2006-01-02 15:04 UTC"), took, b.rounds, map[bool]string{true: ", shortened (-quick)"}[quick], facts, load, loadAverage()), m)
		printed.put(s)
		if out != "" {
			if err := merge(out, s); err != nil {
				return errors.Join(append(failures, err)...)
			}
		}
	}
	if out == "" {
		_, err := os.Stdout.WriteString(printed.String())
		failures = append(failures, err)
	}
	return errors.Join(append(failures, ctx.Err())...)
}

func choose(only string) ([]target, error) {
	if only == "" {
		return targets, nil
	}
	var chosen []target
	for _, s := range strings.Split(only, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		i := slices.IndexFunc(targets, func(t target) bool { return t.number == n })
		if err != nil || i < 0 {
			var all []string
			for _, t := range targets {
				all = append(all, strconv.Itoa(t.number))
			}
			return nil, fmt.Errorf("-targets: %q is not one of %s", s, strings.Join(all, ", "))
		}
		chosen = append(chosen, targets[i])
	}
	return chosen, nil
}

// tools finds or builds what is measured.
func (b *bench) tools(ctx context.Context) error {
	for _, tool := range []string{"wrk", "ab"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed; on Debian: apt-get install wrk apache2-utils", tool)
		}
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	b.vegeta = filepath.Join(b.dir, "vegeta")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.vegeta, "github.com/tsenart/vegeta/v12").CombinedOutput(); err != nil {
		return fmt.Errorf("build vegeta's command: %w\n%s", err, out)
	}
	return nil
}
