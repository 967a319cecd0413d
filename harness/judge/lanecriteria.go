package judge

import (
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func ptr(x float64) *float64 {
	x = significant(x)
	return &x
}

func bounds(lower, upper float64) *[2]float64 {
	return &[2]float64{significant(lower), significant(upper)}
}

// judgeOutage judges the longest outage of a lane.
func (j *judgement) judgeOutage(c scenarios.Criterion, e *laneEvidence) Criterion {
	out := Criterion{ID: c.ID, Name: "Longest outage", Lane: c.Lane, Unit: "ms", Threshold: ptr(c.Limit / 1e6)}
	out.Samples = Samples{Baseline: e.base.sent(), Upgrade: e.up.sent()}
	if !e.up.hasWindows() {
		return undecided(out, fmt.Sprintf("Nothing was recorded of lane %s during the upgrade.", c.Lane))
	}
	var worst, highest, open, vague *Outage
	usable := 0
	for i := range e.outages {
		o := &e.outages[i]
		if !o.Usable && o.minor {
			continue
		}
		if !o.Usable {
			out.Samples.Unusable += o.Sent
			out.Warnings = append(out.Warnings, fmt.Sprintf("An outage of %s %s is not counted: the control lane suffered as well, or the runner was far behind or overloaded.", duration(float64(o.LowerNS)), at(o.Start)))
			continue
		}
		if !o.minor {
			usable++
		}
		if worst == nil || o.sureNS > worst.sureNS || o.sureNS == worst.sureNS && o.LowerNS > worst.LowerNS {
			worst = o
		}
		if o.sureNS < o.LowerNS && (vague == nil || o.LowerNS > vague.LowerNS) {
			vague = o
		}
		if highest == nil || o.UpperNS > highest.UpperNS {
			highest = o
		}
		if o.Open {
			open = o
		}
	}
	allowed := duration(c.Limit) + " is allowed"
	blind := longestBlind(e.up.blindStretches(e.outages, c.Limit))
	blindFor := float64(blind.End - blind.Start)
	if blindFor > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("For %s, %s, an outage could not have been seen: %s.", duration(blindFor), at(blind.Start), strings.Join(blind.why, " and ")))
	}
	seen := fmt.Sprintf("No outage among %s requests in %s; one of %s or more would have been seen; %s.", english.Number(out.Samples.Upgrade), duration(float64(e.up.side.duration())), duration(e.detector.resolution()), allowed)
	out.Estimate, out.Interval = ptr(0), bounds(0, e.detector.resolution()/1e6)
	if worst != nil && !worst.minor {
		out.Estimate, out.Interval = ptr(float64(worst.LowerNS)/1e6), bounds(float64(worst.LowerNS)/1e6, float64(worst.UpperNS)/1e6)
		seen = fmt.Sprintf("%s %s; %s.", theOutage(usable), describe(worst), allowed)
	}
	switch {
	case worst != nil && float64(worst.sureNS) > c.Limit:
		out.Result, out.Explain = Fail, seen
	case j.baselineAway(e, c.Limit) != nil:
		o := j.baselineAway(e, c.Limit)
		undecidedf(&out, "Lane %s was away for %s already in the baseline, %s, before anything was upgraded: repair that first.", c.Lane, duration(float64(o.LowerNS)), at(o.Start))
	case blindFor > c.Limit:
		undecidedf(&out, "For %s, %s, an outage could not have been seen, because %s; %s.", duration(blindFor), at(blind.Start), strings.Join(blind.why, " and "), allowed)
	case vague != nil && float64(vague.LowerNS) > c.Limit:
		undecidedf(&out, "An outage that began %s lasted at least %s, but the runner was overloaded in some of it, and only %s in one piece are certain; %s.", at(vague.Start), duration(float64(vague.LowerNS)), duration(float64(vague.sureNS)), allowed)
	case open != nil:
		undecidedf(&out, "An outage that began %s had lasted %s, and was not over, when the load ended: load must run on until it is; %s.", at(open.Start), duration(float64(open.LowerNS)), allowed)
	case highest != nil && float64(highest.UpperNS) > c.Limit:
		undecidedf(&out, "An outage lasted at least %s and at most %s, %s: too close to the %s allowed to tell.", duration(float64(highest.LowerNS)), duration(float64(highest.UpperNS)), at(highest.Start), duration(c.Limit))
	case e.detector.resolution() > c.Limit && c.Limit > 0:
		undecidedf(&out, "Only an outage of %s or more would have been seen at %s requests a second; %s. Raise the rate.", duration(e.detector.resolution()), digits(e.lane.Rate, 3), allowed)
	default:
		out.Result, out.Explain = Pass, seen
	}
	return out
}

// baselineAway returns the baseline's first usable outage longer than limit.
func (j *judgement) baselineAway(e *laneEvidence, limit float64) *Outage {
	for i := range e.before {
		if o := &e.before[i]; o.Usable && float64(o.sureNS) > limit {
			return o
		}
	}
	return nil
}

func theOutage(n int) string {
	if n == 1 {
		return "The only outage"
	}
	return fmt.Sprintf("The longest of %s", english.Count(n, "outage"))
}

func describe(o *Outage) string {
	what := fmt.Sprintf("%s of %s requests failed (%s)", english.Number(o.Failed), english.Number(o.Sent), tally(o.Classes))
	if o.Failed == 0 {
		what = fmt.Sprintf("%s requests were answered only when it was over", english.Number(o.Classes[stalled]))
	}
	most := "at most " + duration(float64(o.UpperNS))
	if o.Open {
		most = "was not over when the load ended"
	}
	return fmt.Sprintf("lasted at least %s and %s, from %s on in the %s phase: %s", duration(float64(o.LowerNS)), most, offset(o.Start), o.Phase, what)
}

// failures counts requests and failures of a side's usable seconds, and the
// requests of the others.
func (l *laneSide) failures() (t trial, unusable uint64) {
	for i := range l.secs {
		s := &l.secs[i]
		switch {
		case s.win == nil:
		case s.flaws&spoilsFailures != 0:
			unusable += s.win.Sent()
		default:
			t.e, t.n = t.e+float64(s.win.Failed()), t.n+float64(s.win.Sent())
		}
	}
	return t, unusable
}

// everyFailure counts requests and failures of all of a side's seconds.
func (l *laneSide) everyFailure() (t trial) {
	for i := range l.secs {
		if w := l.secs[i].win; w != nil {
			t.e, t.n = t.e+float64(w.Failed()), t.n+float64(w.Sent())
		}
	}
	return t
}

func lowerBound(e, n float64) float64 {
	l, _ := wilson(max(0, e), n, z95)
	return l
}

func upperBound(e, n float64) float64 {
	_, u := wilson(e, n, z95)
	return u
}

// lowerDifference and upperDifference return the bounds of the increase of the
// error rate, counts divided by the overdispersion phi.
func lowerDifference(base, up trial, phi float64) float64 {
	l, _ := newcombe(base.e/phi, base.n/phi, up.e/phi, up.n/phi, z95)
	return l
}

func upperDifference(base, up trial, phi float64) float64 {
	_, u := newcombe(base.e/phi, base.n/phi, up.e/phi, up.n/phi, z95)
	return u
}

// usableShare returns the share of a side's seconds that no flaw of mask spoils.
func (l *laneSide) usableShare(mask flaw) float64 {
	if len(l.secs) == 0 {
		return 0
	}
	return float64(l.countUsable(mask)) / float64(len(l.secs))
}

// judgeSuccess judges the share of requests that were served.
func (j *judgement) judgeSuccess(c scenarios.Criterion, e *laneEvidence) (Criterion, float64) {
	out := Criterion{ID: c.ID, Name: "Requests served", Lane: c.Lane, Unit: "ratio", Threshold: ptr(c.Limit)}
	t, unusable := e.up.failures()
	out.Samples = Samples{Upgrade: uint64(t.n), Unusable: unusable}
	if t.n == 0 {
		return undecided(out, fmt.Sprintf("Lane %s has no usable request during the upgrade.", c.Lane)), 1
	}
	all := e.up.everyFailure()
	low, high := wilson(t.e, t.n, z95)
	served := 1 - t.e/t.n
	out.Estimate, out.Interval = ptr(served), bounds(1-high, 1-low)
	p := scoreP(t.e, t.n, 1-c.Limit)
	out.PValue = ptr(p)
	required := share(c.Limit) + " is required"
	ok := fmt.Sprintf("%s of %s requests were served", english.Number(uint64(t.n-t.e)), english.Number(uint64(t.n)))
	switch {
	case 1-low < c.Limit && e.up.excused > 0 && 1-lowerBound(t.e-e.up.excused, t.n) >= c.Limit:
		undecidedf(&out, "%s of %s requests failed, but %s failed on the control lane outside the cluster within %d s of them: what remains is too little to blame on the upgrade.", english.Number(uint64(t.e)), english.Number(uint64(t.n)), english.Number(uint64(e.up.excused)), controlNear)
	case 1-low < c.Limit:
		out.Result = Fail
		out.Explain = fmt.Sprintf("%s of %s requests failed: %s were served, at most %s at 95%%; %s.", english.Number(uint64(t.e)), english.Number(uint64(t.n)), share(served), share(1-low), required)
	case 1-high < c.Limit:
		undecidedf(&out, "%s, between %s and %s at 95%%: too few requests to tell from the %s required.", ok, share(1-high), share(1-low), share(c.Limit))
	case e.up.usableShare(spoilsFailures) < minUsableFailures:
		undecidedf(&out, "%s in the usable seconds, but only %s of the seconds are usable (%s); %s are needed.", ok, share(e.up.usableShare(spoilsFailures)), e.up.why(spoilsFailures), share(minUsableFailures))
	case e.noPass != "":
		undecidedf(&out, "%s, but %s", ok, e.noPass)
	case 1-upperBound(all.e, all.n) < c.Limit:
		undecidedf(&out, "%s in the usable seconds; in the others (%s) %s of %s failed, and why is not known.", ok, e.up.why(spoilsFailures), english.Number(uint64(all.e-t.e)), english.Number(uint64(all.n-t.n)))
	default:
		out.Result = Pass
		out.Explain = fmt.Sprintf("%s, at least %s at 95%%; %s.", ok, share(1-high), required)
	}
	return out, p
}

// judgeErrors judges the increase of the error rate over the baseline's.
func (j *judgement) judgeErrors(c scenarios.Criterion, e *laneEvidence) (Criterion, float64) {
	out := Criterion{ID: c.ID, Name: "Increase of the error rate", Lane: c.Lane, Unit: "ratio", Threshold: ptr(c.Limit)}
	b, lost := e.base.failures()
	u, unusable := e.up.failures()
	out.Samples = Samples{Baseline: uint64(b.n), Upgrade: uint64(u.n), Unusable: lost + unusable}
	if b.n == 0 || u.n == 0 {
		return undecided(out, fmt.Sprintf("Lane %s has no usable request %s.", c.Lane, missingSide(b.n == 0))), 1
	}
	phi := e.base.phi()
	if phi > 1 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("The baseline's errors come in clusters: counts are taken %s times less certain than independent ones.", digits(phi, 2)))
	}
	lower, upper := newcombe(b.e/phi, b.n/phi, u.e/phi, u.n/phi, z95)
	p := newcombeP(b.e/phi, b.n/phi, u.e/phi, u.n/phi, c.Limit)
	d := u.e/u.n - b.e/b.n
	out.Estimate, out.Interval, out.PValue = ptr(d), bounds(lower, upper), ptr(p)
	from := fmt.Sprintf("The error rate went from %s to %s", share(b.e/b.n), share(u.e/u.n))
	allowed := fmt.Sprintf("%s points are allowed", digits(c.Limit*100, 3))
	switch {
	case lower > c.Limit && e.up.excused > 0 && lowerDifference(b, trial{max(0, u.e-e.up.excused), u.n}, phi) <= c.Limit:
		undecidedf(&out, "%s, but %s requests failed on the control lane outside the cluster within %d s of those that did: what remains is too little to blame on the upgrade.", from, english.Number(uint64(e.up.excused)), controlNear)
	case lower > c.Limit:
		out.Result = Fail
		out.Explain = fmt.Sprintf("%s: by at least %s points at 95%%; %s.", from, digits(lower*100, 3), allowed)
	case upper > c.Limit && !(c.Limit == 0 && u.e == 0):
		undecidedf(&out, "%s, a change between %s and %s points at 95%%: too few requests to tell from the %s points allowed.", from, digits(lower*100, 3), digits(upper*100, 3), digits(c.Limit*100, 3))
	case e.up.usableShare(spoilsFailures) < minUsableFailures:
		undecidedf(&out, "%s in the usable seconds, but only %s of the seconds are usable (%s); %s are needed.", from, share(e.up.usableShare(spoilsFailures)), e.up.why(spoilsFailures), share(minUsableFailures))
	case e.noPass != "":
		undecidedf(&out, "%s, but %s", from, e.noPass)
	case unusable > 0 && upperDifference(b, e.up.everyFailure(), phi) > c.Limit:
		undecidedf(&out, "%s in the usable seconds; what failed in the others (%s) would be too much, and why it did is not known.", from, e.up.why(spoilsFailures))
	default:
		out.Result = Pass
		out.Explain = fmt.Sprintf("%s: by at most %s points at 95%%; %s.", from, digits(upper*100, 3), allowed)
	}
	return out, p
}

// phi returns the overdispersion of a side's failures over ten-second blocks.
func (l *laneSide) phi() float64 {
	var blocks []trial
	windows := l.usable(spoilsFailures)
	for i := 0; i < len(windows); i += 10 {
		var t trial
		for _, w := range windows[i:min(i+10, len(windows))] {
			t.e, t.n = t.e+float64(w.Failed()), t.n+float64(w.Sent())
		}
		blocks = append(blocks, t)
	}
	return overdispersion(blocks)
}

func missingSide(baseline bool) string {
	if baseline {
		return "in the baseline"
	}
	return "during the upgrade"
}

// why names the flaws that spoil seconds of a side, with their number.
func (l *laneSide) why(mask flaw) string {
	names := []struct {
		flaw flaw
		name string
	}{
		{flawGap, "not recorded"},
		{flawUnsent, "requests not sent"},
		{flawShort, "requests missing"},
		{flawLag, "sent late"},
		{flawLateTimeout, "timeouts of a late runner"},
		{flawOverload, "failures of an overloaded runner"},
		{flawControlFailed, "control lane failing"},
		{flawControlSlow, "control lane slow"},
	}
	var out []string
	for _, n := range names {
		count := 0
		for i := range l.secs {
			if l.secs[i].flaws&mask&n.flaw != 0 {
				count++
			}
		}
		if count > 0 {
			out = append(out, fmt.Sprintf("%s %d s", n.name, count))
		}
	}
	return strings.Join(out, ", ")
}

func undecided(c Criterion, explain string) Criterion {
	c.Result, c.Explain = Undecided, explain
	return c
}

func undecidedf(c *Criterion, format string, args ...any) {
	c.Result, c.Explain = Undecided, fmt.Sprintf(format, args...)
}
