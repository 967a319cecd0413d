package judge

import (
	"cmp"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

const (
	// maxBursts bounds the ledger: 100 entries are about 150 KB of verdict.json.
	maxBursts = 100
	// lostApart is how far apart lost requests may be and be one burst, and
	// slowApart the same for seconds with slow ones; as outages are joined.
	lostApart = secondNS
	slowApart = secondNS
	// slow and apiAway are the classes of bursts without failures of a lane.
	slow    = "slow"
	apiAway = "api"
)

// entry is a burst in the making: what attribution needs beside it.
type entry struct {
	Burst
	outage  *Outage // as it is explained
	lane    *laneEvidence
	machine string // what of the machine suffered at the same time, or nothing
}

// ledger makes the ledger; outages are the verdict's, explained.
func (j *judgement) ledger(outages []Outage) Ledger {
	phases := j.up.rec.Phases()
	if j.compare {
		phases = j.up.phases
	}
	b := &bookkeeper{judgement: j, phases: phases, outages: outages}
	b.out = Ledger{Lanes: []LaneLedger{}, Bursts: []Burst{}}
	b.slowness = map[*laneEvidence]*slowness{}
	for _, e := range append(slices.Clone(j.lanes), j.control) {
		if e != nil {
			b.slowness[e] = newSlowness(e)
		}
	}
	for _, e := range j.lanes {
		b.account(e)
	}
	b.apiBursts()
	kept := b.cap()
	b.attributeAll(kept)
	for _, x := range kept {
		b.out.Bursts = append(b.out.Bursts, x.Burst)
	}
	b.out.Summary = b.out.summary()
	return b.out
}

// bookkeeper fills a ledger in.
type bookkeeper struct {
	*judgement
	phases   []record.Interval
	outages  []Outage
	slowness map[*laneEvidence]*slowness
	entries  []*entry
	out      Ledger
}

// phaseOf returns the phase that a window belongs to, as sums does: that in which
// its middle lies.
func (b *bookkeeper) phaseOf(w *record.Window) (string, bool) {
	for _, p := range b.phases {
		if mid := w.Second*secondNS + secondNS/2; mid >= p.Start && mid < p.End {
			return p.Name, true
		}
	}
	return "", false
}

// account puts every lost and every slow request of a lane into an entry.
func (b *bookkeeper) account(e *laneEvidence) {
	s := b.slowness[e]
	sum := LaneLedger{Lane: e.lane.Name, SlowMS: significant(float64(s.limitUS) / 1000), Explain: s.explain}
	if e.up.data == nil {
		b.out.Lanes = append(b.out.Lanes, sum)
		return
	}
	var own []*entry
	for i := range b.outages {
		if o := &b.outages[i]; o.Lane == e.lane.Name {
			own = append(own, outageEntry(e, o))
		}
	}
	slices.SortStableFunc(own, func(x, y *entry) int { return cmp.Compare(x.Start, y.Start) })
	// Of an outage are the slow requests of the seconds that it touches, and of the
	// one after: what has queued up is answered then.
	touching := func(second int64) *entry {
		i, _ := slices.BinarySearchFunc(own, second*secondNS, func(x *entry, t int64) int { return cmp.Compare(x.End+secondNS, t) })
		if i < len(own) && own[i].Start < (second+1)*secondNS {
			return own[i]
		}
		return nil
	}
	var loose []disturbance
	single := map[int64]uint64{} // slow requests of seconds that no outage has
	for i := range e.up.data.Windows {
		w := &e.up.data.Windows[i]
		if _, in := b.phaseOf(w); !in {
			continue
		}
		sum.Lost += w.Failed()
		loose = b.lostOf(e, w, own, loose)
		if n := w.Latency.CountAbove(s.limitUS); n > 0 && s.limitUS > 0 {
			sum.Slow += n
			if x := touching(w.Second); x != nil {
				x.Slow += n
				x.WorstMS = max(x.WorstMS, significant(float64(w.Latency.Max())/1000))
			} else {
				single[w.Second] = n
			}
		}
	}
	b.out.Lanes = append(b.out.Lanes, sum)
	b.entries = append(b.entries, own...)
	b.entries = append(b.entries, b.lostBursts(e, loose)...)
	b.entries = append(b.entries, b.slowBursts(e, s, single)...)
}

func outageEntry(e *laneEvidence, o *Outage) *entry {
	x := &entry{outage: o, lane: e, Burst: Burst{
		Kind: BurstOutage, Lane: o.Lane, Phase: o.Phase, Start: o.Start, End: o.End,
		LowerNS: o.LowerNS, UpperNS: o.UpperNS, Sent: o.Sent, Classes: o.Classes, Usable: o.Usable,
	}}
	switch {
	case o.overload:
		x.machine = "the runner was overloaded"
	case !o.Usable:
		x.machine = "the control lane outside the cluster suffered, or the runner was far behind,"
	}
	return x
}

// lostOf gives the lost requests of a window to the outages that they fell into,
// and appends the others to loose.
func (b *bookkeeper) lostOf(e *laneEvidence, w *record.Window, own []*entry, loose []disturbance) []disturbance {
	left := w.Failed()
	for i := range w.Spans {
		s := &w.Spans[i]
		if s.Kind != record.SpanFailed || left == 0 {
			continue
		}
		n := min(s.Count, left)
		left -= n
		k, _ := slices.BinarySearchFunc(own, s.First, func(x *entry, t int64) int { return cmp.Compare(x.End, t) })
		if k < len(own) && own[k].Start <= s.Last {
			own[k].Lost += n
		} else {
			loose = append(loose, disturbance{first: s.First, last: s.Last, count: n})
		}
	}
	if left == 0 {
		return loose
	}
	// The bound on a window's spans has dropped where these were: of an outage, if
	// one lost requests in this second.
	first, last := w.Second*secondNS, (w.Second+1)*secondNS-int64(e.up.period())
	for _, x := range own {
		if x.outage.Failed > 0 && x.Start <= last && x.End >= first {
			x.Lost += left
			return loose
		}
	}
	return append(loose, disturbance{first: first, last: last, count: left})
}

// rank puts what is judged before what is not, and outages of a second or more
// first: a busy machine has hundreds that are shorter.
func (x *entry) rank() int {
	switch {
	case !x.Usable:
		return 2
	case x.Kind == BurstOutage && x.LowerNS >= secondNS:
		return 0
	}
	return 1
}

// weight is how many requests suffered, a lost one as much as ten slow ones.
func (x *entry) weight() uint64 {
	if x.Kind == BurstAPI {
		return x.Lost // observations
	}
	return 10*x.Lost + max(x.Slow, x.Classes[stalled])
}

// cap returns the entries to list, in order of Start, and sums the others up.
func (b *bookkeeper) cap() []*entry {
	slices.SortStableFunc(b.entries, func(x, y *entry) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(y.weight(), x.weight()), cmp.Compare(y.LowerNS, x.LowerNS), cmp.Compare(x.Start, y.Start))
	})
	kept := b.entries
	if len(kept) > maxBursts {
		kept = b.entries[:maxBursts:maxBursts]
		type key struct{ lane, kind string }
		at := map[key]int{}
		for _, x := range b.entries[maxBursts:] {
			k := key{x.Lane, x.Kind}
			i, seen := at[k]
			if !seen {
				i = len(b.out.Rest)
				at[k] = i
				b.out.Rest = append(b.out.Rest, Rest{Lane: x.Lane, Kind: x.Kind, Start: x.Start, Cause: unattributed + ": smaller than those that are listed, and not looked at one by one"})
			}
			r := &b.out.Rest[i]
			r.Bursts, r.Lost, r.Slow = r.Bursts+1, r.Lost+x.Lost, r.Slow+x.Slow
			r.Start, r.End = min(r.Start, x.Start), max(r.End, x.End)
		}
	}
	slices.SortStableFunc(kept, func(x, y *entry) int { return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.Lane, y.Lane)) })
	return kept
}
