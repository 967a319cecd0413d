package judge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// judgeLatency judges the growth of one quantile.
func (j *judgement) judgeLatency(c scenarios.Criterion, e *laneEvidence) (Criterion, float64) {
	q := "p" + strings.ReplaceAll(digits(c.Quantile*100, 4), ".", "")
	out := Criterion{ID: c.ID, Name: "Growth of " + q + " latency", Lane: c.Lane, Unit: "ratio", Threshold: ptr(c.Limit)}
	base, up := e.blocks(j.control)
	baseSecs, upSecs := len(e.base.usable(spoilsLatency)), len(e.up.usable(spoilsLatency))
	out.Samples = Samples{Baseline: base.lane.samples(), Upgrade: up.lane.samples(), Unusable: e.unusableLatency()}
	for _, s := range []struct {
		secs int
		n    uint64
		side *laneSide
		when string
	}{{baseSecs, out.Samples.Baseline, e.base, "in the baseline"}, {upSecs, out.Samples.Upgrade, e.up, "during the upgrade"}} {
		if s.secs >= minBlocks && s.n >= minSamples(c.Quantile) {
			continue
		}
		if x, ok := e.passesBusy(c, base, newRand(append(j.seed, c.ID, "busy")...)); ok && s.side == e.up {
			out.Estimate, out.Interval, out.PValue = ptr(x.growth), bounds(x.lower, x.upper), ptr(x.pAbove)
			out.Samples.Upgrade, out.Samples.Unusable = x.upgradeSamples, 0
			out.Result = Pass
			out.Explain = fmt.Sprintf("%s went from %s to %s (%s): within %s or %s even counting the seconds in which the runner was busy (%s).", q, duration(x.baseline*1000), duration(x.upgrade*1000), growth(x.growth), growth(c.Limit), duration(c.Floor), e.up.why(spoilsLatency))
			return out, x.pAbove
		}
		because := ""
		if w := s.side.why(spoilsLatency); w != "" {
			because = " (unusable: " + w + ")"
		}
		undecidedf(&out, "%s needs at least %s answered requests in %d usable seconds on each side; %s there are %s in %d s%s.", q, number(minSamples(c.Quantile)), minBlocks, s.when, number(s.n), s.secs, because)
		return out, 1
	}
	x := compareQuantile(base, up, c.Quantile, c.Limit, newRand(append(j.seed, c.ID)...))
	out.Estimate, out.Interval, out.PValue = ptr(x.growth), bounds(x.lower, x.upper), ptr(x.pAbove)
	if few := uint64(math.Round(100 / min(c.Quantile, 1-c.Quantile))); min(out.Samples.Baseline, out.Samples.Upgrade) < few {
		out.Warnings = append(out.Warnings, fmt.Sprintf("Fewer than 100 requests lie beyond %s on one side: %s requests a side make it steadier.", q, number(few)))
	}
	us := func(x float64) string { return duration(x * 1000) }
	from := fmt.Sprintf("%s went from %s to %s (%s)", q, us(x.baseline), us(x.upgrade), growth(x.growth))
	allowed := growth(c.Limit) + " is allowed"
	floorUS := c.Floor / 1000
	usable := e.up.usableShare(spoilsLatency)
	controlSlow := x.haveControl && x.control > c.Limit && x.controlDelta > floorUS
	busyPasses := false
	if usable < minUsableLatency {
		_, busyPasses = e.passesBusy(c, base, newRand(append(j.seed, c.ID, "busy")...))
	}
	within, belowFloor := x.upper <= c.Limit, x.deltaUpper <= floorUS
	slower := x.lower > c.Limit && x.upgrade-x.baseline > floorUS
	switch {
	case slower && j.control != nil && !x.haveControl:
		undecidedf(&out, "%s, but the control lane outside the cluster recorded nothing in the same seconds: whether the runner's machine was busy is not known.", from)
	case slower && controlSlow:
		undecidedf(&out, "%s, but the control lane outside the cluster changed by %s in the same seconds: the runner's machine was busy, and that is not the upgrade's doing.", from, growth(x.control))
	case slower && x.netLower <= c.Limit:
		undecidedf(&out, "%s, but the control lane outside the cluster changed by %s; what remains is too close to the %s allowed to tell.", from, growth(x.control), growth(c.Limit))
	case slower:
		out.Result = Fail
		out.Explain = fmt.Sprintf("%s, at least %s at 95%%; %s.", from, growth(x.lower), allowed)
	case !within && !belowFloor:
		undecidedf(&out, "%s, between %s and %s at 95%%: too uncertain to tell from the %s allowed. A longer baseline narrows it.", from, growth(x.lower), growth(x.upper), growth(c.Limit))
	case usable < minUsableLatency && busyPasses:
		out.Result = Pass
		out.Explain = fmt.Sprintf("%s, and it stays within %s or %s even counting the seconds in which the runner was busy (%s).", from, growth(c.Limit), duration(c.Floor), e.up.why(spoilsLatency))
	case usable < minUsableLatency:
		undecidedf(&out, "%s in the usable seconds, but only %s of the upgrade's seconds are usable (%s); %s are needed.", from, share(usable), e.up.why(spoilsLatency), share(minUsableLatency))
	case len(e.noPass) > 0:
		undecidedf(&out, "%s, but %s", from, e.noPass[0])
	case !within:
		out.Result = Pass
		out.Explain = fmt.Sprintf("%s, by at most %s at 95%%; growth of up to %s is never held against an upgrade.", from, us(max(0, x.deltaUpper)), duration(c.Floor))
	default:
		out.Result = Pass
		out.Explain = fmt.Sprintf("%s, at most %s at 95%%; %s.", from, growth(x.upper), allowed)
	}
	return out, x.pAbove
}

// passesBusy reports whether a latency criterion passes even when the seconds
// count in which the runner or the control lane was slow: that can only have
// added to the latency. The baseline stays clean, and seconds in which requests
// were not sent stay out, for those can hide a slow part.
func (e *laneEvidence) passesBusy(c scenarios.Criterion, base pair, rng *rand.Rand) (comparison, bool) {
	if len(e.noPass) > 0 || e.up.usableShare(omits) < minUsableLatency {
		return comparison{}, false
	}
	if len(e.base.usable(spoilsLatency)) < minBlocks || base.lane.samples() < minSamples(c.Quantile) {
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
