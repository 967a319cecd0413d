package judge

import (
	"cmp"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// stalled is the key under which Outage.Classes counts requests that were
// answered, but only after a stretch in which nothing was.
const stalled = "stalled"

// findOutages returns the outage windows of a lane on one side, in order of
// Start: bursts of failures, and stalls that lasted at least the resolution.
func findOutages(l, control *laneSide, d *detector) []Outage {
	all := disturbances(l.data, l.side.start()-secondNS, l.side.end()+secondNS, d.period)
	start, end := l.side.start(), l.side.end()
	type found struct {
		first, last     int64
		failed, stalled uint64
	}
	var list []found
	for _, b := range d.bursts(l.secs, all) {
		list = append(list, found{first: b.first(), last: b.last(), failed: b.failed()})
	}
	least := max(50e6, 10*d.period) // as the engine counts a stall
	for _, x := range stalls(all, int64(d.resolution())) {
		if float64(x.last-x.first)+d.period >= least {
			list = append(list, found{first: x.first, last: x.last, stalled: x.count})
		}
	}
	slices.SortFunc(list, func(a, b found) int { return cmp.Compare(a.first, b.first) })
	var joined []found
	for _, f := range list {
		// A hang that ends in errors, or begins with them, is one outage.
		if n := len(joined); n > 0 && float64(f.first-joined[n-1].last) <= d.resolution() {
			j := &joined[n-1]
			j.last, j.failed, j.stalled = max(j.last, f.last), j.failed+f.failed, j.stalled+f.stalled
			continue
		}
		joined = append(joined, f)
	}

	bad := notGood(l, all, d.period)
	failures := failuresByDue(l.data)
	var out []Outage
	for _, f := range joined {
		// One that lasts from the baseline into the upgrade counts on both sides,
		// each with its part.
		f.first, f.last = max(f.first, start), min(f.last, end)
		if f.last < f.first {
			continue
		}
		o := Outage{
			Lane: l.lane.Name, Start: f.first, End: f.last, LowerNS: f.last - f.first,
			Failed: f.failed, Phase: l.side.phaseAt(f.first), Usable: true,
		}
		before, after := goodAround(bad, f.first, f.last, d.period)
		o.UpperNS = after - before
		o.Open = f.last+int64(1.5*d.period) >= l.lastDue()
		if f.failed == 0 {
			// A stall that the runner itself caused shows as send lag; only what
			// exceeds it is certain.
			o.LowerNS = max(0, o.LowerNS-l.lagAround(f.first, f.last))
			o.minor = float64(o.LowerNS)+d.period < least/2
		}
		o.Sent = sentBetween(all, f.first, f.last, d.period)
		o.Failed = min(o.Failed, o.Sent)
		o.Classes = l.classes(failures, o)
		if f.stalled > 0 {
			o.Classes[stalled] = f.stalled
		}
		var believed bool
		o.sureNS, believed = l.sure(&o, all, d)
		o.Usable, o.overload = believed && l.blamesTarget(control, o), !believed
		out = append(out, o)
	}
	return out
}

// lastDue returns when the last recorded slot of the lane fell due, give or
// take one.
func (l *laneSide) lastDue() int64 {
	w := l.windows()
	if len(w) == 0 {
		return 0
	}
	last := &w[len(w)-1]
	return last.Second*secondNS + int64(float64(last.Due())*l.period())
}

// stalls returns the stalled stretches, joined where at most slack nanoseconds
// are between them: a request that was sent late in a hang is not marked as
// stalled, and does not end it.
func stalls(all []disturbance, slack int64) []disturbance {
	var out []disturbance
	for _, x := range all {
		if x.kind != record.SpanStalled {
			continue
		}
		if n := len(out); n > 0 && x.first-out[n-1].last <= slack {
			out[n-1].last, out[n-1].count = x.last, out[n-1].count+x.count
			continue
		}
		out = append(out, x)
	}
	return out
}

// notGood returns the stretches in which no slot was served as due: every
// disturbance, and the seconds that were not recorded, in order, as first and
// last slot.
func notGood(l *laneSide, all []disturbance, period float64) []Stretch {
	var out []Stretch
	for _, x := range all {
		out = append(out, Stretch{x.first, x.last})
	}
	for i := range l.secs {
		if s := &l.secs[i]; s.win == nil {
			out = append(out, Stretch{s.at * secondNS, (s.at+1)*secondNS - int64(period)})
		}
	}
	slices.SortFunc(out, func(a, b Stretch) int { return cmp.Compare(a.Start, b.Start) })
	var joined []Stretch
	for _, s := range out {
		joined = appendStretch(joined, s, int64(1.5*period))
	}
	return joined
}

// goodAround returns the due times of the last good slot before first and of
// the first good slot after last.
func goodAround(bad []Stretch, first, last int64, period float64) (before, after int64) {
	before, after = first-int64(period), last+int64(period)
	for _, b := range bad {
		if b.Start <= first && b.End >= first {
			before = b.Start - int64(period)
		}
		if b.Start <= last && b.End >= last {
			after = b.End + int64(period)
		}
	}
	return before, after
}

// sentBetween returns how many requests due in [first, last] were sent.
func sentBetween(all []disturbance, first, last int64, period float64) uint64 {
	slots := float64(last-first)/period + 1.5
	for _, x := range all {
		if x.kind == record.SpanUnsent && x.last >= first && x.first <= last {
			slots -= float64(x.count)
		}
	}
	return uint64(max(1, slots))
}

// failuresByDue returns the failed requests of a lane that were recorded
// singly, in order of due time.
func failuresByDue(data *record.LaneData) []*record.Request {
	if data == nil {
		return nil
	}
	var out []*record.Request
	for i := range data.Requests {
		if r := &data.Requests[i]; r.Class != record.OK.String() && r.Class != record.Unsent.String() {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *record.Request) int { return cmp.Compare(a.Due, b.Due) })
	return out
}

func between(failures []*record.Request, first, last int64) []*record.Request {
	byDue := func(r *record.Request, t int64) int { return cmp.Compare(r.Due, t) }
	from, _ := slices.BinarySearchFunc(failures, first, byDue)
	to, _ := slices.BinarySearchFunc(failures, last+1, byDue)
	return failures[from:to]
}

// classes returns the failures of an outage by class: from the single requests
// where all were recorded, else from the windows that the outage touches.
func (l *laneSide) classes(failures []*record.Request, o Outage) map[string]uint64 {
	out := map[string]uint64{}
	if o.Failed == 0 {
		return out
	}
	if single := between(failures, o.Start, o.End); uint64(len(single)) == o.Failed {
		for _, r := range single {
			out[r.Class]++
		}
		return out
	}
	windows := l.data.Windows
	first, _ := slices.BinarySearchFunc(windows, o.Start/secondNS, func(w record.Window, s int64) int { return cmp.Compare(w.Second, s) })
	for i := first; i < len(windows) && windows[i].Second*secondNS <= o.End; i++ {
		for c, n := range windows[i].Counts {
			if class := record.Class(c); class.Failed() && n > 0 {
				out[class.String()] += n
			}
		}
	}
	return out
}

// lagAround returns the largest p99 of send lag, in nanoseconds, of the windows
// that [first, last] touches.
func (l *laneSide) lagAround(first, last int64) int64 {
	var lag int64
	for i := range l.data.Windows {
		if w := &l.data.Windows[i]; (w.Second+1)*secondNS > first && w.Second*secondNS <= last {
			lag = max(lag, int64(w.SendLag.Quantile(0.99))*1000)
		}
	}
	return lag
}

// blamesTarget reports whether an outage is evidence against the target. It is
// not where the control lane suffered at least half as much in the same seconds,
// or failed as much close to them, nor where all that failed are timeouts of a
// runner far behind.
func (l *laneSide) blamesTarget(control *laneSide, o Outage) bool {
	onlyLate := true
	for class := range o.Classes {
		onlyLate = onlyLate && (class == record.TimeoutConnect.String() || class == record.TimeoutResponse.String())
	}
	from, to := o.Start/secondNS, o.End/secondNS
	if onlyLate && len(o.Classes) > 0 {
		for i := range l.secs {
			if s := &l.secs[i]; s.at >= from && s.at <= to && s.flaws&flawLateTimeout != 0 {
				return false
			}
		}
	}
	if control == nil || control.data == nil {
		return true
	}
	suffered := func(data *record.LaneData, near int64, all bool) trial {
		var bad, due uint64
		for i := range data.Windows {
			w := &data.Windows[i]
			if w.Second < from-near || w.Second > to+near {
				continue
			}
			bad, due = bad+w.Failed(), due+w.Due()
			if all {
				bad += w.Counts[record.Unsent]
			}
			for _, s := range w.Spans {
				if all && s.Kind == record.SpanStalled {
					bad += s.Count
				}
			}
		}
		return trial{float64(bad), float64(max(due, 1))}
	}
	ours, theirs := suffered(l.data, 0, true), suffered(control.data, 0, true)
	if theirs.e > 0 && theirs.e/theirs.n >= controlShare*ours.e/ours.n {
		return false
	}
	// Close by only failures count, and a single one is coincidence.
	ours, theirs = suffered(l.data, outageNear, false), suffered(control.data, outageNear, false)
	return ours.e == 0 || theirs.e <= 1 || theirs.e/theirs.n < controlShare*ours.e/ours.n
}

// blind is a stretch in which an outage could not have been seen, and why.
type blind struct {
	Stretch
	why []string
}

// blindStretches returns the stretches in which an outage of the lane could not
// have been seen: seconds without a record, slots that were not sent, seconds in
// which most requests were sent later than limit nanoseconds, and outages that
// cannot be blamed on the target. That requests were sent late, or slowly
// answered, hides nothing: what was sent and answered proves that the lane was
// served.
func (l *laneSide) blindStretches(outages []Outage, limit float64) []blind {
	period := int64(l.period())
	var list []blind
	add := func(start, end int64, why string) {
		list = append(list, blind{Stretch{start, end}, []string{why}})
	}
	for i := range l.secs {
		s := &l.secs[i]
		start, end := s.at*secondNS, (s.at+1)*secondNS
		switch {
		case s.win == nil:
			add(start, end, "nothing was recorded")
		case s.sentLater(max(limit, 1e9), 0.5):
			add(start, end, "requests were sent too late")
		case l.short(s.win.Due()):
			missing := int64(float64(secondNS) * (1 - float64(s.win.Due())/l.lane.Rate))
			if i+1 < len(l.secs) && l.secs[i+1].win == nil { // those that nothing follows were the last
				start = end - missing
			}
			add(start, start+missing, "requests were missing")
		}
	}
	for _, x := range disturbances(l.data, l.side.start(), l.side.end(), l.period()) {
		if x.kind == record.SpanUnsent {
			add(x.first-period/2, x.last+period/2, "requests were not sent")
		}
	}
	for _, o := range outages {
		switch {
		case o.Usable:
		case o.overload:
			add(o.Start, o.End+1, "the runner was overloaded when requests failed or hung")
		default:
			add(o.Start, o.End+1, "requests failed or hung on the control lane as well")
		}
	}
	slices.SortStableFunc(list, func(a, b blind) int { return cmp.Compare(a.Start, b.Start) })
	var joined []blind
	for _, b := range list {
		if n := len(joined); n > 0 && b.Start <= joined[n-1].End+period/2 {
			j := &joined[n-1]
			j.End = max(j.End, b.End)
			if !slices.Contains(j.why, b.why[0]) {
				j.why = append(j.why, b.why[0])
			}
			continue
		}
		joined = append(joined, b)
	}
	return joined
}

// longestBlind returns the longest of the stretches, which has length 0 when
// there are none.
func longestBlind(list []blind) (longest blind) {
	for _, b := range list {
		if b.End-b.Start > longest.End-longest.Start {
			longest = b
		}
	}
	return longest
}
