package judge

import (
	"cmp"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// lostBursts groups the lost requests that are in no outage: those at most a
// second apart together, cut where so many in a row were served that chance would
// not bring it about (see split).
func (b *bookkeeper) lostBursts(e *laneEvidence, loose []disturbance) []*entry {
	if len(loose) == 0 {
		return nil
	}
	slices.SortFunc(loose, func(x, y disturbance) int { return cmp.Compare(x.first, y.first) })
	period := e.up.period()
	var groups []burst
	for _, d := range loose {
		if n := len(groups); n > 0 && d.first-groups[n-1].last() <= lostApart {
			groups[n-1] = append(groups[n-1], d)
			continue
		}
		groups = append(groups, burst{d})
	}
	windows := e.up.data.Windows
	first, last := windows[0].Second*secondNS, (windows[len(windows)-1].Second+1)*secondNS
	all := disturbances(e.up.data, first, last, period)
	bad := notGood(e.up, all, period)
	all = slices.DeleteFunc(all, func(d disturbance) bool { return d.kind != record.SpanUnsent })
	failures := failuresByDue(e.up.data)
	flaws := b.flawsOf(e)
	var out []*entry
	for _, g := range groups {
		for _, p := range split(g, period) {
			o := &Outage{Lane: e.lane.Name, Start: p.first(), End: p.last(), LowerNS: p.last() - p.first(), Failed: p.failed(), Usable: true}
			from, _ := slices.BinarySearchFunc(bad, o.Start, func(s Stretch, t int64) int { return cmp.Compare(s.End, t) })
			to, _ := slices.BinarySearchFunc(bad, o.End+1, func(s Stretch, t int64) int { return cmp.Compare(s.Start, t) })
			before, after := goodAround(bad[from:max(from, to)], o.Start, o.End, period)
			o.UpperNS = after - before
			o.Sent = max(o.Failed, sentBetween(all, o.Start, o.End, period))
			o.Classes = e.up.classes(failures, *o)
			x := &entry{outage: o, lane: e, Burst: Burst{
				Kind: BurstLost, Lane: o.Lane, Phase: b.phaseAt(o.Start), Start: o.Start, End: o.End, LowerNS: o.LowerNS, UpperNS: o.UpperNS,
				Lost: o.Failed, Sent: o.Sent, Classes: o.Classes, Usable: true,
			}}
			x.spoiled(flaws)
			out = append(out, x)
		}
	}
	return out
}

// phaseAt returns the name of the phase that t falls into, or the one before it.
func (b *bookkeeper) phaseAt(t int64) string {
	name := ""
	for _, p := range b.phases {
		if name == "" || t >= p.Start {
			name = p.Name
		}
	}
	return name
}

// flawsOf returns the flaws of a lane's seconds.
func (b *bookkeeper) flawsOf(e *laneEvidence) map[int64]flaw {
	out := map[int64]flaw{}
	sides := []*laneSide{e.up}
	if b.base.rec == b.up.rec {
		sides = append(sides, e.base)
	}
	for _, l := range sides {
		for i := range l.secs {
			if s := &l.secs[i]; s.flaws != 0 {
				out[s.at] = s.flaws
			}
		}
	}
	return out
}

// spoiled puts a burst of lost requests down to the machine where all of its
// seconds are no evidence against the target.
func (x *entry) spoiled(flaws map[int64]flaw) {
	var seen flaw
	for at := x.Start / secondNS; at <= x.End/secondNS; at++ {
		f := flaws[at] & spoilsFailures &^ flawGap
		if f == 0 {
			return
		}
		seen |= f
	}
	x.Usable = false
	switch {
	case seen&flawOverload != 0:
		x.machine = "the runner was overloaded"
	case seen&flawControlFailed != 0:
		x.machine = "the control lane outside the cluster failed"
	default:
		x.machine = "the runner was far behind"
	}
}

// apiBursts adds the stretches in which the API server did not answer at its
// common address; what several probes saw together is one.
func (b *bookkeeper) apiBursts() {
	r := b.up.rec
	if len(b.phases) == 0 {
		return
	}
	from, to := b.phases[0].Start, b.phases[len(b.phases)-1].End
	type away struct {
		downtime
		end     int64
		seen    uint64
		classes map[string]uint64
	}
	var all []away
	for _, p := range r.Run.Probes {
		if !common(p.Name) {
			continue
		}
		samples := probeSamples(r, p.Name)
		a := b.up.observeWithin(p.Name, samples, from, to)
		for _, d := range a.downs {
			x := away{downtime: d, end: d.start + d.lower, classes: map[string]uint64{}}
			for i := range samples {
				if s := &samples[i]; s.T >= d.start && s.T <= x.end {
					x.seen++
					if !s.OK && s.Class != "" {
						x.classes[s.Class]++
					}
				}
			}
			all = append(all, x)
		}
	}
	slices.SortStableFunc(all, func(x, y away) int { return cmp.Compare(x.start, y.start) })
	var joined []away
	for _, x := range all {
		if n := len(joined); n > 0 && x.start <= joined[n-1].end+secondNS {
			y := &joined[n-1]
			y.lower, y.upper = max(y.end, x.end)-y.start, max(y.upper, x.start+x.upper-y.start)
			y.end, y.failed, y.seen = max(y.end, x.end), y.failed+x.failed, y.seen+x.seen
			for c, n := range x.classes {
				y.classes[c] += n
			}
			continue
		}
		joined = append(joined, x)
	}
	for _, x := range joined {
		o := &Outage{
			Lane: apiAway, Start: x.start, End: x.end, LowerNS: x.lower, UpperNS: x.upper,
			Failed: uint64(x.failed), Sent: max(x.seen, uint64(x.failed)), Classes: map[string]uint64{apiAway: uint64(x.failed)}, Usable: true,
		}
		e := &entry{outage: o, Burst: Burst{
			Kind: BurstAPI, Lane: apiAway, Phase: b.phaseAt(x.start), Start: o.Start, End: o.End, LowerNS: o.LowerNS, UpperNS: o.UpperNS,
			Lost: o.Failed, Sent: o.Sent, Classes: x.classes, Usable: true,
		}}
		if len(b.up.witnessed(o.Start, o.End)) == 0 {
			e.machine, e.Usable = "the runner was overloaded", false
		}
		b.entries = append(b.entries, e)
	}
}

// lanesSuffered returns the lanes that lost requests while another entry lasted.
func (b *bookkeeper) lanesSuffered(x *entry) []string {
	var out []string
	for _, y := range b.entries {
		if y.lane != nil && y.Kind != BurstSlow && y.Lost > 0 && y.Start <= x.End+secondNS && y.End >= x.Start-secondNS && !slices.Contains(out, y.Lane) {
			out = append(out, y.Lane)
		}
	}
	slices.Sort(out)
	return out
}

// status returns the HTTP status that most of the entry's lost requests were
// answered with, or 0.
func (x *entry) status(s *side) int {
	counts := map[int]int{}
	best := 0
	d := laneData(s.rec, x.Lane)
	if d == nil {
		return 0
	}
	for i := range d.Requests {
		r := &d.Requests[i]
		if r.Class != record.HTTP5xx.String() || r.Due < x.Start || r.Due > x.End {
			continue
		}
		counts[r.Status]++
		if counts[r.Status] > counts[best] || counts[r.Status] == counts[best] && r.Status < best {
			best = r.Status
		}
	}
	return best
}
