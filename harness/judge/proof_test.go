package judge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// pairs returns how many seeded rehearsals each proof judges: few in ordinary
// tests, two under the race detector (which a broken rule still fails; `make
// test` runs the proofs a second time without it), and what
// REHEARSE_PROOF_PAIRS says (1,000 under `make bench`).
func pairs(t *testing.T, ordinary int) int {
	t.Helper()
	s := os.Getenv("REHEARSE_PROOF_PAIRS")
	switch {
	case s != "":
	case underRace:
		return 2
	default:
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
	// How often simpler methods raise an alarm on lane new of the same records:
	// p99 over 10% or 25% above the baseline's, and the Mann–Whitney test on the
	// requests at 5%.
	over10, over25, mannWhitney int
}

func (o outcomes) simpler() string {
	return fmt.Sprintf("p99 over +10%%: %s, over +25%%: %s, Mann–Whitney: %s", share(o.over10, o.n), share(o.over25, o.n), share(o.mannWhitney, o.n))
}

// alarms applies the simpler methods to a record's lane new.
func alarms(r *record.Record) (over10, over25, mannWhitney bool) {
	var sides [2]record.Dense
	for i, phase := range []string{timeline.PhaseBaseline, timeline.PhaseUpgrade} {
		p, _ := r.Phase(phase)
		for _, w := range lane(r, "new").Windows {
			if w.Second*1e9 >= p.Start && (w.Second+1)*1e9 <= p.End {
				sides[i].Merge(&w.Latency, 1)
			}
		}
	}
	growth := float64(sides[1].Quantile(0.99)) / float64(sides[0].Quantile(0.99))
	return growth > 1.10, growth > 1.25, slowerByRanks(sides[0].Histogram(), sides[1].Histogram())
}

// slowerByRanks is the one-sided Mann–Whitney test at 5%, by the normal
// approximation with ties, on the requests of two histograms: b is slower.
func slowerByRanks(a, b record.Histogram) bool {
	counts := map[uint64][2]float64{}
	var values []uint64
	for i, h := range []record.Histogram{a, b} {
		h.ForEach(func(v, n uint64) {
			c, seen := counts[v]
			if !seen {
				values = append(values, v)
			}
			c[i] += float64(n)
			counts[v] = c
		})
	}
	slices.Sort(values)
	var below, u, ties float64 // requests of a below; Mann–Whitney's U of b
	for _, v := range values {
		c := counts[v]
		u += c[1] * (below + c[0]/2)
		below += c[0]
		t := c[0] + c[1]
		ties += t*t*t - t
	}
	n1, n2 := float64(a.Count()), float64(b.Count())
	n := n1 + n2
	sigma := math.Sqrt(n1 * n2 / 12 * (n + 1 - ties/(n*(n-1))))
	return (u-n1*n2/2)/sigma > 1.645
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
				r := synth.Record(o)
				v := judge.Judge(r, s.Criteria())
				over10, over25, mw := alarms(r)
				mu.Lock()
				for _, c := range []struct {
					alarm bool
					count *int
				}{{over10, &out.over10}, {over25, &out.over25}, {mw, &out.mannWhitney}} {
					if c.alarm {
						*c.count++
					}
				}
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
	n := pairs(t, 20)
	noisy := synth.DefaultProfile()
	noisy.Noise, noisy.AR, noisy.Drift, noisy.ErrorRate = 0.05, 0.9, 0.06, 0.0002
	bursty := synth.DefaultProfile()
	bursty.Bursts, bursty.BurstFactor = 2, 2
	for _, x := range []struct {
		name     string
		profile  *synth.Profile
		baseline time.Duration
		open     int // percent INCONCLUSIVE that is allowed
	}{
		{"8 ms service", nil, time.Minute, 5},
		{"20 ms service", slower(), time.Minute, 5},
		{"noisy service", &noisy, time.Minute, 5},
		// A minute holds two of its slow spells: too few to know its p99 by.
		{"service with a slow spell every half minute", &bursty, time.Minute, 100},
		{"the same with a baseline of 10 min", &bursty, 10 * time.Minute, 5},
	} {
		got := judgeMany(n, synth.Options{Profile: x.profile, Rate: 200, Baseline: x.baseline, Upgrade: max(3*time.Minute, x.baseline)}, time.Second, nil)
		report(t, figure{fmt.Sprintf("%s, %d unchanged upgrades: NO-GO", x.name, n), share(got.noGo, n), got.simpler(), "≤ 1%", got.noGo*100 <= n})
		limit := fmt.Sprintf("≤ %d%%", x.open)
		if x.open == 100 {
			limit = "no target"
		}
		report(t, figure{fmt.Sprintf("%s, %d unchanged upgrades: INCONCLUSIVE", x.name, n), share(got.undecided, n), "", limit, got.undecided*100 <= x.open*n})
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
		{"slowest tenth × 1.5, baseline of 1 min at 100/s", synth.Fault{Kind: synth.SlowTail, Length: whole, Factor: 1.5}, time.Second, "p99/new", 0},
		{"1 s of all requests refused, 0.5 s allowed", synth.Fault{Start: 70*time.Second + 3*time.Millisecond, Length: time.Second}, 500 * time.Millisecond, "outage/new", 99},
		{"3 s of every second request failing", synth.Fault{Start: 70 * time.Second, Length: 3 * time.Second, Share: 0.5, Class: record.HTTP5xx}, time.Second, "outage/new", 99},
		{"30 s of 5% failing", synth.Fault{Start: 70 * time.Second, Length: 30 * time.Second, Share: 0.05, Class: record.Reset}, time.Second, "outage/new", 99},
	} {
		got := judgeMany(n, synth.Options{Profile: slower(), Faults: []synth.Fault{x.fault}}, x.limit, failed(x.id))
		limit := fmt.Sprintf("≥ %d%%", x.least)
		if x.least == 0 {
			limit = "no target"
		}
		report(t, figure{fmt.Sprintf("%s, %d upgrades: %s fails", x.name, n, x.id), share(got.detected, n), "", limit, got.detected*100 >= x.least*n})
		t.Logf("%s: %v", x.name, got.reasons)
	}
	// A p99 needs more evidence than a minute at 100 requests a second: 600
	// requests beyond it on each side here, 60 there.
	o := synth.Options{
		Profile: slower(), Rate: 200, Baseline: 5 * time.Minute, Upgrade: 5 * time.Minute,
		Faults: []synth.Fault{{Kind: synth.SlowTail, Length: 6 * time.Minute, Factor: 1.5}},
	}
	n = pairs(t, 6)
	got := judgeMany(n, o, time.Second, failed("p99/new"))
	report(t, figure{fmt.Sprintf("slowest tenth × 1.5, baseline of 5 min at 200/s, %d upgrades: p99/new fails", n), share(got.detected, n), "", "≥ 90%", got.detected*100 >= 90*n})
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
		report(t, figure{fmt.Sprintf("runner's CPU burnt, latency × %g on every lane, %d upgrades: NO-GO", factor, n), share(got.noGo, n), got.simpler(), "0%", got.noGo == 0})
		t.Logf("× %g: %v", factor, got.reasons)
	}
}

// TestProofOverloadedRunner overloads the machine that sends, so that slots are
// not sent in many seconds, with usable ones beside them, and every lane loses
// requests in seconds of its own. The target is healthy: that must never be
// held against the upgrade. A real outage well away from it must be.
func TestProofOverloadedRunner(t *testing.T) {
	n := pairs(t, 20)
	for _, part := range []float64{0.03, 0.1, 0.25, 0.5, 0.75, 1} {
		o := synth.Options{Faults: []synth.Fault{{Kind: synth.Overload, Start: 10 * time.Second, Length: 150 * time.Second, Share: part}}}
		got := judgeMany(n, o, time.Second, nil)
		report(t, figure{fmt.Sprintf("runner overloaded in %.0f%% of 150 s, every lane losing requests, %d upgrades: NO-GO", 100*part, n), share(got.noGo, n), "", "0%", got.noGo == 0})
		report(t, figure{fmt.Sprintf("runner overloaded in %.0f%% of 150 s, %d upgrades: GO", 100*part, n), share(n-got.noGo-got.undecided, n), "", "0%", got.noGo+got.undecided == n})
		t.Logf("%.0f%%: %v", 100*part, got.reasons)
	}
	outage := synth.Fault{Start: 120*time.Second + 3*time.Millisecond, Length: 5 * time.Second}
	for _, x := range []struct {
		name   string
		faults []synth.Fault
	}{
		{"runner overloaded for 30 s, a real outage of 5 s 40 s later", []synth.Fault{outage, {Kind: synth.Overload, Start: 50 * time.Second, Length: 30 * time.Second}}},
		{"runner overloaded for 2 s, a real outage of 5 s right after it", []synth.Fault{outage, {Kind: synth.Overload, Start: 118 * time.Second, Length: 2 * time.Second}}},
		{"runner away for 150 ms in the middle of a real outage of 5 s", []synth.Fault{outage, {Kind: synth.Pause, Start: 122 * time.Second, Length: 150 * time.Millisecond}}},
	} {
		got := judgeMany(n, synth.Options{Faults: x.faults}, time.Second, failed("outage/new"))
		report(t, figure{fmt.Sprintf("%s, %d upgrades: outage/new fails", x.name, n), share(got.detected, n), "", "≥ 99%", got.detected*100 >= 99*n})
	}
}

func share(k, n int) string { return strconv.FormatFloat(100*float64(k)/float64(n), 'f', 1, 64) + "%" }

// figure is one line of docs/benchmarks.md, as test/bench reads it.
type figure struct {
	What      string `json:"what"`
	Ours      string `json:"ours"`
	Reference string `json:"reference"` // what simpler methods make of the same rehearsals
	Limit     string `json:"limit"`
	Met       bool   `json:"met"`
}

// report logs a figure, fails the test where its limit is not met, and appends
// it as a line of JSON to the file that REHEARSE_PROOF_ROWS names.
func report(t *testing.T, f figure) {
	t.Helper()
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s (%s) %s", f.What, f.Ours, f.Limit, f.Reference)
	if !f.Met {
		t.Errorf("target 8 not met: %s: %s, want %s", f.What, f.Ours, f.Limit)
	}
	path := os.Getenv("REHEARSE_PROOF_ROWS")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.Write(append(line, '\n'))
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Errorf("write the figure: %v", err)
	}
}
