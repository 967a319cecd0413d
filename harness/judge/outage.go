package judge

import (
	"cmp"
	"math"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Outages are found by three detectors that complement each other: a run of
// consecutive failures (short and total), a CUSUM tuned to 5% of requests
// failing, and one tuned to 1% (long and partial). The record's spans then give
// the edges to within one slot.
//
// Sources: Page, "Continuous inspection schemes", Biometrika 41 (1954), 100–115,
// for the CUSUM; Wald, "Sequential Analysis" (1947), for its increments as
// log-likelihood ratios and the threshold ln(T/α).

// disturbance is a stretch of slots of one kind that were not served as due.
type disturbance struct {
	kind        record.SpanKind
	first, last int64  // due times of the first and the last slot
	count       uint64 // slots
	// hidden counts failed slots that lie near it but whose spans the record's
	// bound on spans has dropped.
	hidden uint64
}

// disturbances returns the stretches of a lane whose slots were due in
// [from, to), in order, those that continue across windows joined.
func disturbances(data *record.LaneData, from, to int64, period float64) []disturbance {
	if data == nil {
		return nil
	}
	var out []disturbance
	for i := range data.Windows {
		w := &data.Windows[i]
		if (w.Second+1)*secondNS <= from || w.Second*secondNS >= to {
			continue
		}
		longest, failed := -1, uint64(0)
		for _, s := range w.Spans {
			if s.Last < from || s.First >= to {
				failed += s.Count
				continue
			}
			d := disturbance{kind: s.Kind, first: s.First, last: s.Last, count: s.Count}
			if s.Kind == record.SpanFailed {
				failed += s.Count
			}
			if n := len(out); n > 0 && out[n-1].kind == d.kind && float64(d.first-out[n-1].last) <= 1.5*period {
				out[n-1].last, out[n-1].count = d.last, out[n-1].count+d.count
			} else {
				out = append(out, d)
			}
			if s.Kind == record.SpanFailed && (longest < 0 || s.Count >= out[longest].count) {
				longest = len(out) - 1
			}
		}
		if all := w.Failed(); all > failed && longest >= 0 {
			out[longest].hidden += all - failed
		}
	}
	return out
}

// detector holds the thresholds of one lane, learnt from its baseline.
type detector struct {
	rate   float64
	p0     float64    // share failing that counts as normal
	p1     [2]float64 // shares failing that the CUSUMs are tuned to
	h      [2]float64 // their alarm thresholds
	run    uint64     // consecutive failures that make an outage
	period float64    // ns between slots
}

// increment returns the log-likelihood ratio of e failures among n requests,
// share p1 against share p0.
func increment(e, n, p0, p1 float64) float64 {
	return e*math.Log(p1/p0) + (n-e)*math.Log((1-p1)/(1-p0))
}

// minNormal is the failing share below which a baseline is not taken to be
// cleaner: a few hundred requests without a failure do not prove 10⁻⁶.
const minNormal = 1e-3

// newDetector learns from a baseline what is normal, for judging seconds on the
// upgrade's side in which slots fall due.
func newDetector(baseline *laneSide, lane record.Lane, upgradeSeconds int, slots float64) *detector {
	d := &detector{rate: lane.Rate, period: 1e9 / max(lane.Rate, 1e-9), p0: minNormal}
	var e, n float64
	worst := 0.0
	var secs []trial
	for i := range baseline.secs {
		if w := baseline.secs[i].win; w != nil && baseline.secs[i].flaws&spoilsFailures == 0 {
			t := trial{float64(w.Failed()), float64(w.Sent())}
			secs = append(secs, t)
			e, n = e+t.e, n+t.n
		}
	}
	for i := 0; i < len(secs); i += 10 { // ten seconds, lest one failure weigh too much
		var b trial
		for _, t := range secs[i:min(i+10, len(secs))] {
			b.e, b.n = b.e+t.e, b.n+t.n
		}
		if b.n > 0 {
			worst = max(worst, b.e/b.n)
		}
	}
	if n > 0 {
		d.p0 = min(0.5, max(minNormal, e/n))
	}
	for i, p1 := range [2]float64{0.05, 0.01} {
		d.p1[i] = min(0.9, max(p1, 3*d.p0))
		peak := 0.0
		s := 0.0
		for _, t := range secs {
			s = max(0, s+increment(t.e, t.n, d.p0, d.p1[i]))
			peak = max(peak, s)
		}
		d.h[i] = max(math.Log(float64(max(upgradeSeconds, 1))/0.01), 3*peak)
	}
	// A run so long that chance makes one in at most 1% of such upgrades.
	pMax := min(0.9, max(minNormal, worst))
	d.run = max(5, uint64(math.Ceil(math.Log(0.01/max(slots, 1))/math.Log(pMax))))
	if baseline.data != nil {
		for _, x := range disturbances(baseline.data, baseline.side.start(), baseline.side.end(), d.period) {
			if x.kind == record.SpanFailed {
				d.run = max(d.run, 3*x.count)
			}
		}
	}
	return d
}

// resolution returns the length in nanoseconds from which on a total outage is
// sure to be found: as many slots as make a run.
func (d *detector) resolution() float64 { return max(50e6, float64(d.run)*d.period) }

// alarms returns the stretches of seconds in which a CUSUM raised an alarm:
// from the second in which it left zero to the one in which it peaked.
func (d *detector) alarms(secs []second) []Stretch {
	failed := func(w *record.Window) trial { return trial{float64(w.Failed()), float64(w.Sent())} }
	var out []Stretch
	for i := range d.p1 {
		out = append(out, cusum(secs, failed, d.p0, d.p1[i], d.h[i])...)
	}
	slices.SortFunc(out, func(a, b Stretch) int { return cmp.Compare(a.Start, b.Start) })
	var joined []Stretch
	for _, a := range out {
		joined = appendStretch(joined, a, 0)
	}
	return joined
}

// cusum returns the stretches in which the sum that is tuned to share p1 of the
// requests being bad, where p0 is normal, reached h. Bad counts those of a window.
func cusum(secs []second, bad func(*record.Window) trial, p0, p1, h float64) []Stretch {
	var out []Stretch
	s, peak := 0.0, 0.0
	var start, top int64
	flush := func() {
		if peak >= h {
			out = append(out, Stretch{start * secondNS, (top + 1) * secondNS})
		}
		s, peak = 0, 0
	}
	for _, sec := range secs {
		if sec.win == nil {
			continue
		}
		if s == 0 {
			start = sec.at
		}
		t := bad(sec.win)
		s = max(0, s+increment(t.e, t.n, p0, p1))
		if s > peak {
			peak, top = s, sec.at
		}
		// As much evidence against a fault as an alarm needs for one: it is
		// over, and a second one must not hide in the first one's shadow.
		if s == 0 || s <= peak-h {
			flush()
		}
	}
	flush()
	return out
}

// burst is a group of failed stretches that belong together.
type burst []disturbance

func (b burst) first() int64 { return b[0].first }
func (b burst) last() int64  { return b[len(b)-1].last }
func (b burst) failed() (n uint64) {
	for _, d := range b {
		n += d.count + d.hidden
	}
	return n
}

// slots returns how many slots fell due from the burst's first to its last.
func (b burst) slots(period float64) float64 {
	return max(float64(b.failed()), math.Round(float64(b.last()-b.first())/period)+1)
}

// split cuts a burst wherever so many requests in a row were served that, at
// the burst's own failing share, any such row had a chance below 1%: there the
// fault had ended and another one began.
func split(b burst, period float64) []burst {
	e, n := float64(b.failed()), b.slots(period)
	served := 1 - e/n
	least := 1.0
	if served > 0 {
		least = max(1, math.Log(0.01/e)/math.Log(served))
	}
	var parts []burst
	from := 0
	for i := 1; i < len(b); i++ {
		gap := math.Round(float64(b[i].first-b[i-1].last)/period) - 1 - float64(b[i].hidden)
		if gap >= least {
			parts = append(parts, b[from:i])
			from = i
		}
	}
	if from == 0 {
		return []burst{b}
	}
	parts = append(parts, b[from:])
	var out []burst
	for _, p := range parts {
		out = append(out, split(p, period)...)
	}
	return out
}

// conclusive reports whether a burst alone would raise an alarm.
func (d *detector) conclusive(b burst) bool {
	for _, x := range b {
		if x.count >= d.run {
			return true
		}
	}
	e, n := float64(b.failed()), b.slots(d.period)
	return increment(e, n, d.p0, d.p1[0]) >= d.h[0] || increment(e, n, d.p0, d.p1[1]) >= d.h[1]
}

// bursts returns the outages of a lane that show as failures.
func (d *detector) bursts(secs []second, all []disturbance) []burst {
	var failed []disturbance
	for _, x := range all {
		if x.kind == record.SpanFailed {
			failed = append(failed, x)
		}
	}
	var out []burst
	taken := make([]bool, len(failed))
	for _, a := range d.alarms(secs) {
		// The peak's second is the last that was mostly bad; what failed of the
		// next one belongs to it, and split cuts off what does not.
		a = Stretch{a.Start - secondNS, a.End + secondNS}
		var b burst
		from, _ := slices.BinarySearchFunc(failed, a.Start, func(x disturbance, t int64) int { return cmp.Compare(x.last, t) })
		for i := from; i < len(failed) && failed[i].first < a.End; i++ {
			if !taken[i] {
				b, taken[i] = append(b, failed[i]), true
			}
		}
		if len(b) == 0 {
			continue
		}
		parts := split(b, d.period)
		found := false
		for _, p := range parts {
			if d.conclusive(p) {
				out, found = append(out, p), true
			}
		}
		if !found {
			// Only together they raise the alarm; show the worst of them.
			out = append(out, slices.MaxFunc(parts, func(x, y burst) int { return cmp.Compare(x.failed(), y.failed()) }))
		}
	}
	for i, x := range failed {
		if !taken[i] && x.count >= d.run {
			out = append(out, burst{x})
		}
	}
	slices.SortFunc(out, func(a, b burst) int { return cmp.Compare(a.first(), b.first()) })
	return joinFlapping(out, d.period)
}

// joinFlapping joins outages that are less than a second apart and closer to
// each other than the longer of them lasted: a service that comes back for a
// moment between two outages has not recovered.
func joinFlapping(in []burst, period float64) []burst {
	var out []burst
	for _, b := range in {
		if n := len(out); n > 0 {
			a := out[n-1]
			gap := float64(b.first() - a.last())
			longer := max(a.last()-a.first(), b.last()-b.first())
			if gap < 1e9 && gap <= float64(longer)+2*period {
				out[n-1] = append(slices.Clone(a), b...)
				continue
			}
		}
		out = append(out, b)
	}
	return out
}
