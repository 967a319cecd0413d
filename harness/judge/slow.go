package judge

import (
	"fmt"
	"math"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// A request is slow when its corrected latency is above what the baseline
// supports: half as much again as the baseline's p99, and at least 2 ms more. In
// measurements of an unchanged service a p99 higher by a quarter came about by
// chance in 32.7% of comparisons, one higher by half in 0.2% (docs/decisions/0141).
//
// Slow requests are a burst where a CUSUM over seconds (Page 1954), tuned to 5%
// of requests being slow against the share that the baseline itself has above the
// limit, raises an alarm; the threshold is that of outages: max(ln(T/0.01), three
// times the baseline's largest sum), T the seconds of the upgrade. Seconds at its
// edges that have less than a tenth of the worst second's slow requests do not
// belong to it.
const (
	slowQuantile = 0.99
	slowFactor   = 1.5
	slowFloorUS  = 2000
	slowShare    = 0.05
	slowEdge     = 10   // of the worst second's slow requests, an edge has one in so many
	minAnswers   = 1000 // of the baseline: ten are beyond its p99
)

// slowness is what counts as slow on a lane, learnt from its baseline.
type slowness struct {
	limitUS   uint64 // 0 where the baseline holds too little
	p0, p1, h float64
	explain   string
}

func newSlowness(e *laneEvidence) *slowness {
	windows := e.base.usable(spoilsLatency)
	var all record.Dense
	for _, w := range windows {
		all.Merge(&w.Latency, 1)
	}
	if all.Count() < minAnswers {
		// The runner was busy in the baseline: better a limit that is too high than none.
		windows = e.base.usable(0)
		all.Reset()
		for _, w := range windows {
			all.Merge(&w.Latency, 1)
		}
	}
	if n := all.Count(); n < minAnswers {
		return &slowness{explain: fmt.Sprintf("The baseline holds %s answered requests; from %s on it can tell which are slow.", english.Number(n), english.Number(minAnswers))}
	}
	p99 := all.Quantile(slowQuantile)
	s := &slowness{limitUS: max(uint64(slowFactor*float64(p99)), p99+slowFloorUS)}
	s.explain = fmt.Sprintf("An answer is slow above %s: half as much again as the baseline's p99 of %s, and at least 2 ms more.", duration(float64(s.limitUS)*1000), duration(float64(p99)*1000))
	var above, n float64
	for _, w := range windows {
		above, n = above+float64(w.Latency.CountAbove(s.limitUS)), n+float64(w.Latency.Count())
	}
	s.p0 = min(0.5, max(minNormal, above/n))
	s.p1 = min(0.9, max(slowShare, 3*s.p0))
	sum, peak := 0.0, 0.0
	for _, w := range windows {
		t := s.count(w)
		sum = max(0, sum+increment(t.e, t.n, s.p0, s.p1))
		peak = max(peak, sum)
	}
	s.h = max(math.Log(float64(max(len(e.up.secs), 1))/0.01), 3*peak)
	return s
}

// count returns the slow requests of a window, of those that were answered.
func (s *slowness) count(w *record.Window) trial {
	return trial{float64(w.Latency.CountAbove(s.limitUS)), float64(w.Latency.Count())}
}

// slowBursts makes entries of the slow requests of a lane, given those of each
// second that no outage has, and sums up those that are in no burst.
func (b *bookkeeper) slowBursts(e *laneEvidence, s *slowness, single map[int64]uint64) []*entry {
	if len(single) == 0 {
		return nil
	}
	var joined []Stretch
	for _, a := range cusum(e.up.secs, func(w *record.Window) trial {
		if single[w.Second] == 0 {
			return trial{0, float64(w.Latency.Count())}
		}
		return s.count(w)
	}, s.p0, s.p1, s.h) {
		joined = appendStretch(joined, a, slowApart)
	}
	flaws := b.flawsOf(e)
	var out []*entry
	for _, a := range joined {
		if x := b.slowBurst(e, s, a, single, flaws); x != nil {
			out = append(out, x)
		}
	}
	b.scattered(e, s, single)
	return out
}

// slowBurst makes one entry of the slow requests in a, and takes them out of
// single.
func (b *bookkeeper) slowBurst(e *laneEvidence, s *slowness, a Stretch, single map[int64]uint64, flaws map[int64]flaw) *entry {
	windows := e.up.windows()
	first, last := int64(-1), int64(-1)
	var late, seconds, sent uint64
	x := &entry{lane: e, Burst: Burst{Kind: BurstSlow, Lane: e.lane.Name, Usable: true}}
	var spoilt flaw
	from, to := a.Start/secondNS, a.End/secondNS-1
	worst := uint64(0)
	for at := from; at <= to; at++ {
		worst = max(worst, single[at])
	}
	for from < to && single[from]*slowEdge < worst {
		from++
	}
	for from < to && single[to]*slowEdge < worst {
		to--
	}
	for at := from; at <= to; at++ {
		w := windows.at(at)
		if w == nil || single[at] == 0 {
			continue
		}
		if first < 0 {
			first = at
		}
		last = at
		x.Slow += single[at]
		delete(single, at)
		x.WorstMS = max(x.WorstMS, significant(float64(w.Latency.Max())/1000))
		seconds++
		if flaws[at]&(flawControlSlow|flawLag|flawOverload) != 0 {
			late++
			spoilt |= flaws[at]
		}
	}
	if first < 0 {
		return nil
	}
	for at := first; at <= last; at++ {
		if w := windows.at(at); w != nil {
			sent += w.Sent()
		}
	}
	x.Sent = sent
	x.Start, x.End = first*secondNS, (last+1)*secondNS-int64(e.up.period())
	x.LowerNS, x.UpperNS = max(0, (last-first-1)*secondNS), (last-first+1)*secondNS
	grain := secondNS
	if from, to, ok := x.singles(s); ok {
		// Requests that were recorded singly tell the edges better.
		if from/secondNS == first {
			x.Start, grain = from, 0
		}
		if to/secondNS == last {
			x.End = to
		}
		x.LowerNS = max(x.LowerNS, to-from)
	}
	x.Phase = b.phaseAt(x.Start)
	x.outage = &Outage{Lane: x.Lane, Start: x.Start, End: x.End, LowerNS: x.LowerNS, UpperNS: x.UpperNS, Sent: x.Sent, Classes: map[string]uint64{slow: x.Slow}, Usable: true, grainNS: grain}
	switch {
	case b.controlSlow(x, first, last):
		x.machine = "the control lane outside the cluster was slow"
	case 2*late >= seconds && spoilt&flawControlSlow != 0:
		x.machine = "the control lane outside the cluster was slower than ever in its baseline"
	case 2*late >= seconds && late > 0:
		x.machine = "the runner sent its requests late"
	}
	x.Usable = x.machine == ""
	return x
}

// singles returns the due times of the first and last slow request of an entry
// that the record holds singly.
func (x *entry) singles(s *slowness) (from, to int64, ok bool) {
	for i := range x.lane.up.data.Requests {
		r := &x.lane.up.data.Requests[i]
		if r.Due < x.Start || r.Due > x.End || r.Class != record.OK.String() || r.Latency <= int64(s.limitUS)*1000 {
			continue
		}
		if !ok {
			from, to, ok = r.Due, r.Due, true
		}
		from, to = min(from, r.Due), max(to, r.Due)
	}
	return from, to, ok
}

// controlSlow reports whether, in the seconds of an entry, at least half as large
// a share of the control lane's requests was slow, by its own baseline.
func (b *bookkeeper) controlSlow(x *entry, first, last int64) bool {
	if b.control == nil || b.control.up.data == nil || b.slowness[b.control].limitUS == 0 {
		return false
	}
	var theirs trial
	for at := first; at <= last; at++ {
		if w := b.control.up.windows().at(at); w != nil {
			t := b.slowness[b.control].count(w)
			theirs.e, theirs.n = theirs.e+t.e, theirs.n+t.n
		}
	}
	return theirs.e > 1 && theirs.e/theirs.n >= controlShare*float64(x.Slow)/float64(max(x.Sent, 1))
}

// scattered sums up the slow requests that are in no burst, phase by phase.
func (b *bookkeeper) scattered(e *laneEvidence, s *slowness, single map[int64]uint64) {
	for _, p := range b.phases {
		r := Rest{Lane: e.lane.Name, Kind: BurstSlow, Phase: p.Name}
		for i := range e.up.data.Windows {
			w := &e.up.data.Windows[i]
			n := single[w.Second]
			if n == 0 {
				continue
			}
			if name, _ := b.phaseOf(w); name != p.Name {
				continue
			}
			if r.Slow == 0 {
				r.Start = w.Second * secondNS
			}
			r.Slow += n
			r.End = (w.Second + 1) * secondNS
			delete(single, w.Second)
		}
		if r.Slow == 0 {
			continue
		}
		switch {
		case p.End <= b.base.start() && b.base.rec == b.up.rec:
			r.Cause = unattributed + ": before the baseline"
		case p.End <= b.up.start():
			r.Cause = unattributed + ": in the baseline itself, by which slow is measured"
		default:
			r.Cause = unattributed + fmt.Sprintf(": scattered, never more at once than the baseline's share of %s supports", share(s.p0))
		}
		b.out.Rest = append(b.out.Rest, r)
	}
}
