package judge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// judgeLatency judges the growth of one quantile; the second result is the
// p-value of "the growth is within its limit".
func (j *judgement) judgeLatency(c scenarios.Criterion, e *laneEvidence) (Criterion, float64) {
	q := "p" + strings.ReplaceAll(digits(c.Quantile*100, 4), ".", "")
	out := Criterion{ID: c.ID, Name: "Growth of " + q + " latency", Lane: c.Lane, Unit: "ratio", Threshold: ptr(c.Limit)}
	base, up := e.blocks(j.control)
	out.Samples = Samples{Baseline: base.lane.samples(), Upgrade: up.lane.samples(), Unusable: e.unusableLatency()}
	busyRand := newRand(append(j.seed, c.ID, "busy")...)
	if short := e.latencyShortage(q, c.Quantile, out.Samples); short != "" {
		if x, ok := e.passesBusy(c, base, busyRand); ok {
			x.show(&out)
			out.Samples.Upgrade, out.Samples.Unusable = x.upgradeSamples, 0
			out.Result = Pass
			out.Explain = fmt.Sprintf("%s: within %s or %s even counting the seconds in which the runner was busy (%s).", x.went(q), growth(c.Limit), duration(c.Floor), e.up.why(spoilsLatency))
			return out, x.pAbove
		}
		out.Result, out.Explain = Undecided, short
		// A figure nevertheless, for who only wants to see it.
		if b, u := e.base.rawQuantile(c.Quantile), e.up.rawQuantile(c.Quantile); b > 0 && u > 0 {
			x := comparison{baseline: b, upgrade: u, growth: ratio(u, b) - 1}
			out.Estimate = ptr(x.growth)
			out.Explain += fmt.Sprintf(" Counting every second, %s.", x.went(q))
		}
		return out, 1
	}
	x := compareQuantile(base, up, c.Quantile, c.Limit, newRand(append(j.seed, c.ID)...))
	x.show(&out)
	if few := uint64(math.Round(100 / min(c.Quantile, 1-c.Quantile))); min(out.Samples.Baseline, out.Samples.Upgrade) < few {
		out.Warnings = append(out.Warnings, fmt.Sprintf("Fewer than 100 requests lie beyond %s on one side: %s requests a side make it steadier.", q, english.Number(few)))
	}
	out.Result, out.Explain = j.decideLatency(c, e, x, q, func() bool {
		_, ok := e.passesBusy(c, base, busyRand)
		return ok
	})
	return out, x.pAbove
}

// decideLatency applies the rules of docs/decisions/0040 to a comparison. Busy
// tells whether the criterion passes even on seconds that are not usable.
func (j *judgement) decideLatency(c scenarios.Criterion, e *laneEvidence, x comparison, q string, busy func() bool) (Result, string) {
	went, floorUS := x.went(q), c.Floor/1000
	slower := x.lower > c.Limit && x.upgrade-x.baseline > floorUS
	within, belowFloor := x.upper <= c.Limit, x.deltaUpper <= floorUS
	usable := e.up.usableShare(spoilsLatency)
	if slower {
		switch {
		case j.control != nil && !x.haveControl:
			return Undecided, went + ", but the control lane outside the cluster recorded nothing in the same seconds: whether the runner's machine was busy is not known."
		case x.haveControl && x.control > c.Limit && x.controlDelta > floorUS:
			return Undecided, fmt.Sprintf("%s, but the control lane outside the cluster changed by %s in the same seconds: the runner's machine was busy, and that is not the upgrade's doing.", went, growth(x.control))
		case x.netLower <= c.Limit:
			return Undecided, fmt.Sprintf("%s, but the control lane outside the cluster changed by %s; what remains is too close to the %s allowed to tell.", went, growth(x.control), growth(c.Limit))
		}
		return Fail, fmt.Sprintf("%s, at least %s at 95%%; %s is allowed.", went, growth(x.lower), growth(c.Limit))
	}
	switch {
	case !within && !belowFloor:
		return Undecided, fmt.Sprintf("%s, between %s and %s at 95%%: too uncertain to tell from the %s allowed. A longer baseline narrows it.", went, growth(x.lower), growth(x.upper), growth(c.Limit))
	case usable < minUsableLatency && busy():
		return Pass, fmt.Sprintf("%s, and it stays within %s or %s even counting the seconds in which the runner was busy (%s).", went, growth(c.Limit), duration(c.Floor), e.up.why(spoilsLatency))
	case usable < minUsableLatency:
		return Undecided, fmt.Sprintf("%s in the usable seconds, but only %s of the upgrade's seconds are usable (%s); %s are needed.", went, share(usable), e.up.why(spoilsLatency), share(minUsableLatency))
	case e.noPass != "":
		return Undecided, fmt.Sprintf("%s, but %s", went, e.noPass)
	case !within:
		return Pass, fmt.Sprintf("%s, by at most %s at 95%%; growth of up to %s is never held against an upgrade.", went, duration(max(0, x.deltaUpper)*1000), duration(c.Floor))
	}
	return Pass, fmt.Sprintf("%s, at most %s at 95%%; %s is allowed.", went, growth(x.upper), growth(c.Limit))
}

// show puts a comparison's figures into a criterion.
func (x *comparison) show(out *Criterion) {
	out.Estimate, out.Interval, out.PValue = ptr(x.growth), bounds(x.lower, x.upper), ptr(x.pAbove)
}

// went writes what became of the quantile: "p99 went from 12 ms to 15 ms (+25%)".
func (x *comparison) went(q string) string {
	return fmt.Sprintf("%s went from %s to %s (%s)", q, duration(x.baseline*1000), duration(x.upgrade*1000), growth(x.growth))
}

// latencyShortage says which side has too little usable evidence, or nothing.
func (e *laneEvidence) latencyShortage(name string, q float64, n Samples) string {
	for _, s := range []struct {
		n    uint64
		side *laneSide
		when string
	}{{n.Baseline, e.base, "in the baseline"}, {n.Upgrade, e.up, "during the upgrade"}} {
		secs := s.side.countUsable(spoilsLatency)
		if secs >= minBlocks && s.n >= minSamples(q) {
			continue
		}
		because := ""
		if w := s.side.why(spoilsLatency); w != "" {
			because = " (unusable: " + w + ")"
		}
		return fmt.Sprintf("%s needs at least %s answered requests in %d usable seconds on each side; %s there are %s in %d s%s.", name, english.Number(minSamples(q)), minBlocks, s.when, english.Number(s.n), secs, because)
	}
	return ""
}

// rawQuantile returns a side's latency quantile over all of its seconds, in µs.
func (l *laneSide) rawQuantile(q float64) float64 {
	var d record.Dense
	for _, w := range l.usable(0) {
		d.Merge(&w.Latency, 1)
	}
	return float64(d.Quantile(q))
}

// passesBusy reports whether a latency criterion passes even when the seconds
// count in which the runner or the control lane was slow: that can only have
// added to the latency. The baseline stays clean, and seconds in which requests
// were not sent stay out, for those can hide a slow part.
func (e *laneEvidence) passesBusy(c scenarios.Criterion, base pair, rng *rand.Rand) (comparison, bool) {
	if e.noPass != "" || e.up.usableShare(omits) < minUsableLatency {
		return comparison{}, false
	}
	if e.base.countUsable(spoilsLatency) < minBlocks || base.lane.samples() < minSamples(c.Quantile) {
		return comparison{}, false
	}
	up := newBlocks(e.up.usable(omits), e.size)
	if up.samples() < minSamples(c.Quantile) {
		return comparison{}, false
	}
	x := compareQuantile(pair{lane: base.lane}, pair{lane: up}, c.Quantile, c.Limit, rng)
	x.upgradeSamples = up.samples()
	return x, x.upper <= c.Limit || x.deltaUpper <= c.Floor/1000
}

// unusableLatency counts the answered requests that latency may not use.
func (e *laneEvidence) unusableLatency() (n uint64) {
	for _, l := range []*laneSide{e.base, e.up} {
		for i := range l.secs {
			if s := &l.secs[i]; s.win != nil && s.flaws&spoilsLatency != 0 {
				n += s.win.Counts[record.OK]
			}
		}
	}
	return n
}
