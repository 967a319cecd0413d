package judge_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// pairs returns how many seeded rehearsals each proof judges: few in ordinary
// tests, and what REHEARSE_PROOF_PAIRS says (1,000 under `make bench`).
func pairs(t *testing.T, ordinary int) int {
	t.Helper()
	s := os.Getenv("REHEARSE_PROOF_PAIRS")
	if s == "" {
		return ordinary
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("REHEARSE_PROOF_PAIRS is %q; want a number of at least 1", s)
	}
	return n
}

// outcomes counts what became of n seeded rehearsals. Detected counts those in
// which detect, given the record and the verdict, is true.
type outcomes struct {
	n, noGo, undecided, detected int
	reasons                      map[string]int
}

func judgeMany(n int, o synth.Options, limit time.Duration, detect func(judge.Verdict) bool) outcomes {
	out := outcomes{n: n, reasons: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				o := o
				o.Seed = seed
				s := o.Scenario()
				s.Thresholds.LongestOutage = scenarios.D(limit)
				v := judge.Judge(synth.Record(o), s.Criteria())
				mu.Lock()
				switch v.Outcome {
				case judge.NoGo:
					out.noGo++
				case judge.Inconclusive:
					out.undecided++
				}
				if detect != nil && detect(v) {
					out.detected++
				}
				for _, c := range v.Criteria {
					if c.Result == judge.Fail || c.Result == judge.Undecided {
						out.reasons[c.ID+" "+string(c.Result)]++
					}
				}
				mu.Unlock()
			}
		})
	}
	for seed := range n {
		next <- uint64(seed)*7919 + 11
	}
	close(next)
	wg.Wait()
	return out
}

// failed returns a detection: the criterion failed.
func failed(id string) func(judge.Verdict) bool {
	return func(v judge.Verdict) bool {
		for _, c := range v.Criteria {
			if c.ID == id {
				return c.Result == judge.Fail
			}
		}
		return false
	}
}

// slower is a service whose p50 of 20 ms makes a quarter more than the floor of
// 2 ms below which growth is never held against an upgrade.
func slower() *synth.Profile {
	p := synth.DefaultProfile()
	p.Median = 20
	return &p
}

// TestProofFalseAlarms judges rehearsals in which nothing happened.
func TestProofFalseAlarms(t *testing.T) {
	n := pairs(t, 30)
	noisy := synth.DefaultProfile()
	noisy.Noise, noisy.AR, noisy.Drift, noisy.ErrorRate = 0.05, 0.9, 0.06, 0.0002
	for _, x := range []struct {
		name    string
		profile *synth.Profile
	}{
		{"8 ms service", nil},
		{"20 ms service", slower()},
		{"noisy service", &noisy},
	} {
		got := judgeMany(n, synth.Options{Profile: x.profile, Rate: 200}, time.Second, nil)
		row(t, 8, fmt.Sprintf("%s: NO-GO among %d unchanged upgrades", x.name, n), share(got.noGo, n), "≤ 1%", got.noGo*100 <= n)
		row(t, 8, fmt.Sprintf("%s: INCONCLUSIVE among %d unchanged upgrades", x.name, n), share(got.undecided, n), "≤ 5%", got.undecided*20 <= n)
		t.Logf("%s: %v", x.name, got.reasons)
	}
}

// TestProofPower plants a fault into every rehearsal and counts how often it is
// held against the upgrade.
func TestProofPower(t *testing.T) {
	n := pairs(t, 20)
	whole := 220 * time.Second
	for _, x := range []struct {
		name  string
		fault synth.Fault
		limit time.Duration
		id    string
		least int // percent; 0 where no target is set
	}{
		{"p50 +25%", synth.Fault{Kind: synth.SlowBody, Length: whole, Factor: 1.25}, time.Second, "p50/new", 95},
		{"slowest tenth × 1.5, quick baseline", synth.Fault{Kind: synth.SlowTail, Length: whole, Factor: 1.5}, time.Second, "p99/new", 0},
		{"1 s of all requests refused, 0.5 s allowed", synth.Fault{Start: 70*time.Second + 3*time.Millisecond, Length: time.Second}, 500 * time.Millisecond, "outage/new", 99},
		{"3 s of every second request failing", synth.Fault{Start: 70 * time.Second, Length: 3 * time.Second, Share: 0.5, Class: record.HTTP5xx}, time.Second, "outage/new", 99},
		{"30 s of 5% failing", synth.Fault{Start: 70 * time.Second, Length: 30 * time.Second, Share: 0.05, Class: record.Reset}, time.Second, "outage/new", 99},
	} {
		got := judgeMany(n, synth.Options{Profile: slower(), Faults: []synth.Fault{x.fault}}, x.limit, failed(x.id))
		row(t, 8, fmt.Sprintf("%s: %s failed among %d", x.name, x.id, n), share(got.detected, n), fmt.Sprintf("≥ %d%%", x.least), got.detected*100 >= x.least*n)
		t.Logf("%s: %v", x.name, got.reasons)
	}
	// A p99 needs more evidence than a minute at 100 requests a second: 600
	// requests beyond it on each side here, 60 there.
	o := synth.Options{
		Profile: slower(), Rate: 200, Baseline: 5 * time.Minute, Upgrade: 5 * time.Minute,
		Faults: []synth.Fault{{Kind: synth.SlowTail, Length: 6 * time.Minute, Factor: 1.5}},
	}
	n = pairs(t, 12)
	got := judgeMany(n, o, time.Second, failed("p99/new"))
	row(t, 8, fmt.Sprintf("slowest tenth × 1.5, 5 min baseline at 200/s: p99/new failed among %d", n), share(got.detected, n), "≥ 90%", got.detected*100 >= 90*n)
	t.Logf("%v", got.reasons)
}

// TestProofBusyRunner burns the runner's CPU during the upgrade: all lanes slow
// down, the control lane too, and requests are sent late. That must never be
// held against the upgrade.
func TestProofBusyRunner(t *testing.T) {
	n := pairs(t, 20)
	for _, factor := range []float64{1.3, 2, 5, 15} {
		o := synth.Options{Profile: slower(), Faults: []synth.Fault{{Kind: synth.Busy, Start: 10 * time.Second, Length: 150 * time.Second, Factor: factor}}}
		got := judgeMany(n, o, time.Second, nil)
		row(t, 8, fmt.Sprintf("runner's CPU burnt, latency × %g on every lane: NO-GO among %d", factor, n), share(got.noGo, n), "0%", got.noGo == 0)
		t.Logf("× %g: %v", factor, got.reasons)
	}
}

func share(k, n int) string { return strconv.FormatFloat(100*float64(k)/float64(n), 'f', 1, 64) + "%" }

// row reports one line of docs/benchmarks.md and fails the test where the
// target is not met.
func row(t *testing.T, target int, what, measured, want string, met bool) {
	t.Helper()
	line := fmt.Sprintf("| %d | %s | %s | %s | %v |", target, what, measured, want, met)
	t.Log(line)
	if !met {
		t.Errorf("target %d not met: %s: %s, want %s", target, what, measured, want)
	}
	path := os.Getenv("REHEARSE_PROOF_ROWS")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Errorf("write the row: %v", err)
	}
}
