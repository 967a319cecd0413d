package judge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// anyOptions returns a short rehearsal, of a second a phase and upwards, with up
// to four faults anywhere.
func anyOptions(rng *rand.Rand) synth.Options {
	seconds := func(least, below int) time.Duration { return time.Duration(least+rng.IntN(below)) * time.Second }
	o := synth.Options{
		Seed: rng.Uint64(), Rate: []float64{0.5, 7, 20, 50}[rng.IntN(4)],
		Warmup: sec, Baseline: seconds(1, 50), Upgrade: seconds(1, 50), Settle: seconds(1, 5), ControlPlanes: 1 + 2*rng.IntN(2),
	}
	if rng.IntN(4) == 0 {
		o.Lanes = []string{[]string{scenarios.LaneNew, scenarios.LaneReused, scenarios.LaneStream}[rng.IntN(3)]}
	}
	for range rng.IntN(5) {
		o.Faults = append(o.Faults, synth.Fault{
			Kind: synth.FaultKind(rng.IntN(int(synth.Overload) + 1)), Lane: []string{"", "", "new", "reused", "control"}[rng.IntN(5)],
			Start: seconds(-20, 60), Length: time.Duration(1 + rng.Int64N(int64(20*sec))), Share: rng.Float64(),
			Class: record.Class(1 + rng.IntN(int(record.Unsent)-1)), Factor: 1 + 10*rng.Float64(),
		})
	}
	return o
}

// harm is what may be wrong with a record beside what its rehearsal met.
type harm struct {
	name string
	do   func(r *record.Record, rng *rand.Rand)
}

func harms() []harm {
	someLane := func(r *record.Record, rng *rand.Rand) *record.LaneData { return &r.Lanes[rng.IntN(len(r.Lanes))] }
	phase := func(r *record.Record, name string, do func(*record.Window)) {
		p, _ := r.Phase(name)
		for i := range r.Lanes {
			for k := range r.Lanes[i].Windows {
				if w := &r.Lanes[i].Windows[k]; w.Second*1e9 >= p.Start && w.Second*1e9 < p.End {
					do(w)
				}
			}
		}
	}
	empty := func(w *record.Window) { *w = record.Window{Second: w.Second} }
	unsent := func(w *record.Window) {
		n := w.Due()
		empty(w)
		w.Counts[record.Unsent] = n
	}
	return []harm{
		{"nothing", func(*record.Record, *rand.Rand) {}},
		{"a lane that sent nothing", func(r *record.Record, rng *rand.Rand) {
			for d, i := someLane(r, rng), 0; i < len(d.Windows); i++ {
				empty(&d.Windows[i])
			}
		}},
		{"a lane of which all is unsent", func(r *record.Record, rng *rand.Rand) {
			for d, i := someLane(r, rng), 0; i < len(d.Windows); i++ {
				unsent(&d.Windows[i])
			}
		}},
		{"a lane without windows", func(r *record.Record, rng *rand.Rand) { someLane(r, rng).Windows = nil }},
		{"a lane of a single second", func(r *record.Record, rng *rand.Rand) {
			d := someLane(r, rng)
			d.Windows = d.Windows[rng.IntN(len(d.Windows)):][:1]
		}},
		{"no baseline requests", func(r *record.Record, _ *rand.Rand) { phase(r, "baseline", empty) }},
		{"no requests in the upgrade", func(r *record.Record, _ *rand.Rand) { phase(r, "upgrade", empty) }},
		{"all unsent", func(r *record.Record, _ *rand.Rand) {
			phase(r, "baseline", unsent)
			phase(r, "upgrade", unsent)
		}},
		{"no control lane", func(r *record.Record, _ *rand.Rand) {
			r.Lanes = without(r.Lanes, func(d record.LaneData) bool { return d.Lane.Control })
			r.Run.Lanes = without(r.Run.Lanes, func(l record.Lane) bool { return l.Control })
		}},
		{"gaps", func(r *record.Record, rng *rand.Rand) {
			d := someLane(r, rng)
			d.Windows = without(d.Windows, func(record.Window) bool { return rng.IntN(3) == 0 })
		}},
		{"no events but the phases", func(r *record.Record, _ *rand.Rand) { r.Events = r.Events[:0:0] }},
		{"no rate", func(r *record.Record, _ *rand.Rand) {
			for i := range r.Run.Lanes {
				r.Run.Lanes[i].Rate = 0
			}
		}},
		{"no snapshots and no probes", func(r *record.Record, _ *rand.Rand) { r.Before, r.After, r.Probes = nil, nil, nil }},
		{"probes out of order", func(r *record.Record, rng *rand.Rand) {
			for i := range r.Probes {
				s := r.Probes[i].Samples
				rng.Shuffle(len(s), func(a, b int) { s[a], s[b] = s[b], s[a] })
			}
		}},
		{"probes that never answered", func(r *record.Record, _ *rand.Rand) {
			for i := range r.Probes {
				for k := range r.Probes[i].Samples {
					r.Probes[i].Samples[k].OK = false
				}
			}
		}},
		{"the largest latencies and counts", func(r *record.Record, rng *rand.Rand) {
			w := &someLane(r, rng).Windows[0]
			w.Latency.AddN(math.MaxUint64, math.MaxUint32)
			w.SendLag.AddN(math.MaxUint64, math.MaxUint32)
			w.Counts[record.OK] += math.MaxUint32
		}},
	}
}

// anyRecord makes the same record of the same seed, and says how.
func anyRecord(seed uint64) (r *record.Record, criteria []scenarios.Criterion, how string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	o := anyOptions(rng)
	r = synth.Record(o)
	all := harms()
	h := all[int(seed)%len(all)] // each comes up
	h.do(r, rng)
	s := o.Scenario()
	s.Thresholds.LongestOutage = scenarios.D([]time.Duration{0, sec, 10 * sec}[rng.IntN(3)])
	how = fmt.Sprintf("seed %d: %s; %g/s, lanes %q, %s + %s + %s, faults %+v", seed, h.name, o.Rate, o.Lanes, o.Baseline, o.Upgrade, o.Settle, o.Faults)
	return r, s.Criteria(), how
}

// notANumber finds what a formula makes that was not thought to its end, in words
// too; encoding/json refuses such numbers by itself.
var notANumber = regexp.MustCompile(`NaN|[+-]Inf\b|-9223372036854775808|%!`)

// TestAnyRecordIsJudged holds that every record, however little it holds, has a
// verdict of finite figures, which is the same each time, and is not changed by
// it; that shares are shares; and that bounds are about their estimate.
func TestAnyRecordIsJudged(t *testing.T) {
	t.Parallel()
	outcomes := map[judge.Outcome]int{}
	for seed := range uint64(pairs(t, 48)) {
		r, criteria, how := anyRecord(seed)
		v := judge.Judge(r, criteria)
		outcomes[v.Outcome]++
		got, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s: %v", how, err)
			continue
		}
		if odd := notANumber.FindIndex(got); odd != nil {
			t.Errorf("%s: the verdict holds …%s…", how, got[max(0, odd[0]-120):min(len(got), odd[1]+40)])
		}
		again, _, _ := anyRecord(seed)
		if !reflect.DeepEqual(r, again) {
			t.Errorf("%s: judging changed the record", how)
		}
		if x, err := json.Marshal(judge.Judge(again, criteria)); err != nil || !bytes.Equal(x, got) {
			t.Errorf("%s: judged twice, two verdicts", how)
		}
		for _, c := range v.Criteria {
			if p := c.PValue; p != nil && (*p < 0 || *p > 1) {
				t.Errorf("%s: %s has p = %g", how, c.ID, *p)
			}
			if b := c.Interval; b != nil && b[0] > b[1] {
				t.Errorf("%s: %s lies between %g and %g", how, c.ID, b[0], b[1])
			}
			if e := c.Estimate; e != nil && (strings.HasPrefix(c.ID, "success/") || c.ID == "api") && (*e < 0 || *e > 1) {
				t.Errorf("%s: %s is %g", how, c.ID, *e)
			}
		}
		for _, o := range v.Outages {
			if o.LowerNS < 0 || o.UpperNS < o.LowerNS || o.End < o.Start || o.Failed > o.Sent {
				t.Errorf("%s: an outage of %d to %d ns, from %d to %d, with %d of %d failed", how, o.LowerNS, o.UpperNS, o.Start, o.End, o.Failed, o.Sent)
			}
		}
	}
	t.Log(outcomes)
}

// lose turns requests of a lane that were served in its phase upgrade into
// failures, with their spans: the fastest ones of some of its seconds, at most
// most of each.
func lose(r *record.Record, rng *rand.Rand, most int64) {
	d := &r.Lanes[rng.IntN(len(r.Lanes)-1)] // the last one is control
	p, _ := r.Phase("upgrade")
	period := 1e9 / d.Lane.Rate
	class := []record.Class{record.Refused, record.Reset, record.HTTP5xx}[rng.IntN(3)]
	from := p.Start/1e9 + rng.Int64N((p.End-p.Start)/1e9)
	to := from + 1 + rng.Int64N(8)
	for i := range d.Windows {
		w := &d.Windows[i]
		if w.Second < from || w.Second >= to || (w.Second+1)*1e9 > p.End || len(w.Spans) > 0 || w.Counts[record.OK] != w.Due() || w.Due() == 0 {
			continue
		}
		n := uint64(1 + rng.Int64N(min(most, int64(w.Due()))))
		w.Counts[record.OK] -= n
		w.Counts[class] += n
		first := w.Second * 1e9
		w.Spans = []record.Span{{Kind: record.SpanFailed, First: first, Last: first + int64(float64(n-1)*period), Count: n}}
		w.Latency = withoutFastest(&w.Latency, n)
	}
}

// withoutFastest returns h without its n smallest values.
func withoutFastest(h *record.Histogram, n uint64) (out record.Histogram) {
	h.ForEach(func(value, count uint64) {
		skip := min(n, count)
		n -= skip
		out.AddN(value, count-skip)
	})
	return out
}

// badness orders outcomes from the best to the worst.
var badness = []judge.Outcome{judge.Go, judge.Inconclusive, judge.NoGo}

// TestMoreLossesAreNeverBetter holds that an upgrade which loses more requests
// never has the better outcome, where the runner sends all and the control lane is
// served: otherwise what is lost beside the machine's own trouble may be put down
// to it, and no criterion fails on it.
func TestMoreLossesAreNeverBetter(t *testing.T) {
	t.Parallel()
	type change struct{ from, to judge.Outcome }
	seen := map[change]int{}
	for seed := range uint64(pairs(t, 24)) {
		rng := rand.New(rand.NewPCG(seed, 2))
		// Long enough for a GO, unless a fault is in its way.
		o := synth.Options{Seed: seed, Upgrade: 90 * sec}
		machine := seed%3 == 0 // whose trouble is the machine's as well
		if seed%2 == 0 {
			o.Faults = slices.DeleteFunc(anyOptions(rng).Faults, func(f synth.Fault) bool {
				return machine != (f.Kind == synth.Pause || f.Kind == synth.Busy || f.Kind == synth.Overload || f.Lane == "control")
			})
		}
		s := o.Scenario()
		s.Thresholds.LongestOutage = scenarios.D(time.Duration(1+rng.IntN(5)) * sec)
		r := synth.Record(o)
		before := judge.Judge(r, s.Criteria())
		for _, most := range []int64{1, 3, 100} {
			lose(r, rng, most)
			after := judge.Judge(r, s.Criteria())
			seen[change{before.Outcome, after.Outcome}]++
			better := slices.Index(badness, after.Outcome) < slices.Index(badness, before.Outcome)
			if machine {
				better = better && after.Outcome == judge.Go
			}
			if better {
				t.Errorf("seed %d, faults %+v: more losses made %s (%s) %s (%s)", seed, o.Faults, before.Outcome, before.Summary, after.Outcome, after.Summary)
			}
			before = after
		}
	}
	t.Log(seen)
}
