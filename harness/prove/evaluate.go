package prove

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Evaluate compares what a verdict says with what was planted. It is pure: the
// same trial gives the same row.
func Evaluate(f Fault, t *Trial) record.ProofOfOne {
	e := &evaluation{fault: f, trial: t}
	e.from, e.to = e.planted()
	e.outcome()
	e.criteria()
	e.rules()
	if o := f.Expect.Outage; o != nil {
		for _, lane := range o.Lanes {
			e.outage(o, lane)
		}
	}
	if p := f.Expect.Probe; p != nil {
		e.probe(p)
	}
	e.names()
	return e.row()
}

// Failed is the row of a fault whose rehearsal could not be carried out.
func Failed(f Fault, err error) record.ProofOfOne {
	return record.ProofOfOne{
		Fault: f.Name, What: f.What, Clean: f.Clean, Expected: f.Expect.String(), Attempts: 1,
		WhyNot: []string{"The rehearsal could not be carried out: " + err.Error() + "."},
	}
}

type evaluation struct {
	fault    Fault
	trial    *Trial
	from, to int64 // when the fault was there, ns from the run's start
	found    []finding
	whyNot   []string
}

func (e *evaluation) miss(format string, args ...any) {
	e.whyNot = append(e.whyNot, fmt.Sprintf(format, args...))
}

func (e *evaluation) planted() (from, to int64) {
	r, p := e.trial.Record, e.trial.Planted
	from, to = begin(r), end(r)
	if !p.From.IsZero() {
		from = int64(p.From.Sub(r.Run.Started))
	}
	if !p.To.IsZero() {
		to = int64(p.To.Sub(r.Run.Started))
	}
	return from, to
}

func (e *evaluation) outcome() {
	want := e.fault.Expect.Outcomes
	if got := e.trial.Verdict.Outcome; !slices.Contains(want, got) {
		e.miss("The verdict is %s and not %s: %s", got, Outcomes(want), e.trial.Verdict.Summary)
	}
}

func (e *evaluation) criteria() {
	all := e.trial.Verdict.Criteria
	for _, pattern := range e.fault.Expect.Failed {
		found := false
		for _, c := range matching(all, pattern) {
			if c.Result != judge.Fail {
				continue
			}
			found = true
			text := c.Explain
			if c.Lane != "" && strings.HasPrefix(c.ID, "outage/") {
				if o := outageAt(e.trial, c.Lane, e.from, e.to); o != nil {
					text = blamed(o.Cause)
				}
			}
			e.found = append(e.found, finding{evidence(e.trial, c, e.from, e.to), text})
			e.growth(c)
		}
		if !found {
			e.miss("Criterion %s did not fail%s.", pattern, said(matching(all, pattern)))
		}
	}
	for _, pattern := range e.fault.Expect.Warned {
		e.warned(pattern)
	}
	for _, pattern := range e.fault.Expect.Spared {
		for _, c := range matching(all, pattern) {
			if c.Result == judge.Fail {
				e.miss("Criterion %s failed as well, which the fault does not touch: %s", c.ID, c.Explain)
			}
		}
	}
}

// blamed returns what a cause blames. One that is unattributed may add which
// event is the closest, which is no attribution.
func blamed(cause string) string {
	if strings.HasPrefix(cause, "unattributed") {
		cause, _, _ = strings.Cut(cause, " (the closest is ")
	}
	return cause
}

// said writes what criteria say that should have failed.
func said(list []judge.Criterion) string {
	if len(list) == 0 {
		return ": the verdict has none of that name"
	}
	return fmt.Sprintf(": %s, %s", list[0].Result, strings.TrimSuffix(list[0].Explain, "."))
}

func (e *evaluation) warned(pattern string) {
	for _, c := range matching(e.trial.Verdict.Criteria, pattern) {
		for _, w := range c.Warnings {
			if e.namesAll(w) {
				e.found = append(e.found, finding{evidence(e.trial, c, e.from, e.to), w})
				return
			}
		}
	}
	e.miss("No warning of criterion %s names %s.", pattern, strings.Join(e.wanted(), ", "))
}

func (e *evaluation) growth(c judge.Criterion) {
	g := e.fault.Expect.Growth
	if g == nil {
		return
	}
	if c.Interval == nil {
		e.miss("Criterion %s has no bounds.", c.ID)
		return
	}
	if b := *c.Interval; b[0] > g.Truth+g.Within || b[1] < g.Truth-g.Within {
		e.miss("Criterion %s puts the growth between %.3g and %.3g; it was %.3g, give or take %.2g.", c.ID, b[0], b[1], g.Truth, g.Within)
	}
}

func (e *evaluation) rules() {
	for _, name := range e.fault.Expect.Rules {
		found := false
		for _, v := range e.trial.Verdict.Validity {
			if v.Rule == name && v.Result == judge.Fail && touches(v.Unusable, e.from, e.to) {
				found = true
				e.found = append(e.found, finding{ruleEvidence(e.trial, v, e.from), v.Explain})
			}
		}
		if !found {
			e.miss("The validity rule %s was not broken while the fault was there.", name)
		}
	}
}

// outage checks the bounds of a lane's outages where the fault was.
func (e *evaluation) outage(want *Outage, lane string) {
	o := outageAt(e.trial, lane, e.from, e.to)
	if o == nil {
		e.miss("No outage was found on lane %s while the fault was there.", lane)
		return
	}
	tol, truth := tolerance(e.trial.Record, lane, e.from, e.to), e.to-e.from
	adds, hides := int64(want.Adds), int64(want.Hides)
	e.bounded("The outage on lane "+lane, bounds{
		start: o.Start, end: o.End, lower: o.LowerNS, upper: o.UpperNS, open: o.Open,
	}, truth, tol, adds, hides)
}

// bounds are those that the product gives for something that was away.
type bounds struct {
	start, end   int64 // first and last sign
	lower, upper int64
	open         bool // no upper bound
}

// bounded checks bounds against the truth.
func (e *evaluation) bounded(what string, b bounds, truth, tol, adds, hides int64) {
	switch {
	case b.start < e.from-tol:
		e.miss("%s begins %s before the fault; %s is the tolerance.", what, ms(e.from-b.start), ms(tol))
	case b.start > e.from+hides+tol:
		e.miss("%s begins only %s after the fault; %s is the tolerance.", what, ms(b.start-e.from), ms(hides+tol))
	}
	if b.end > e.to+adds+tol {
		e.miss("%s goes on for %s after the fault's end; %s is the tolerance.", what, ms(b.end-e.to), ms(adds+tol))
	}
	if b.lower > truth+adds+tol {
		e.miss("%s lasted at least %s, it says; the fault lasted %s, and %s is the tolerance.", what, ms(b.lower), ms(truth), ms(adds+tol))
	}
	if !b.open && b.upper < truth-2*hides-tol {
		e.miss("%s lasted at most %s, it says; the fault lasted %s, and %s is the tolerance.", what, ms(b.upper), ms(truth), ms(2*hides+tol))
	}
}

// tolerance is 2/rate, the longest that a request around the edges of a fault
// was on its way (one that was due before it may arrive within), and the 3 ms to
// which the fault's own times are known. It never exceeds half of the fault, or
// 50 ms: on a machine so busy that it would, nothing is bounded.
func tolerance(r *record.Record, lane string, from, to int64) int64 {
	tol := int64(3 * time.Millisecond)
	for i := range r.Lanes {
		l := &r.Lanes[i]
		if l.Lane.Name != lane {
			continue
		}
		if l.Lane.Rate > 0 {
			tol += int64(2e9 / l.Lane.Rate)
		}
		onWay := uint64(0)
		for j := range l.Windows {
			w := &l.Windows[j]
			for _, edge := range []int64{from, to} {
				if at := edge / int64(time.Second); w.Second >= at-1 && w.Second <= at+1 {
					onWay = max(onWay, w.SendLag.Max(), w.Latency.Max())
				}
			}
		}
		tol += max(int64(onWay)*1000, longestOnWay(l.Requests, from))
	}
	return min(tol, max((to-from)/2, int64(50*time.Millisecond)))
}

// longestOnWay returns for how long the longest of the failed requests that were
// on their way at an instant had been due.
func longestOnWay(failed []record.Request, at int64) (longest int64) {
	for i := range failed {
		if r := &failed[i]; r.Due <= at && r.Due+r.Latency >= at {
			longest = max(longest, at-r.Due)
		}
	}
	return longest
}

// names requires that each name stands in some text of what was found.
func (e *evaluation) names() {
	if len(e.found) == 0 || len(e.fault.Expect.Warned) > 0 {
		return // said already
	}
	for _, name := range e.wanted() {
		if !slices.ContainsFunc(e.found, func(x finding) bool { return strings.Contains(x.text, name) }) {
			e.miss("It is not attributed to %q but to: %s", name, e.attribution())
		}
	}
}

func (e *evaluation) wanted() []string {
	var out []string
	for _, n := range e.fault.Expect.Names {
		if strings.Contains(n, "{object}") && e.trial.Planted.Object == "" {
			continue
		}
		out = append(out, strings.ReplaceAll(n, "{object}", e.trial.Planted.Object))
	}
	return out
}

func (e *evaluation) namesAll(text string) bool {
	for _, n := range e.wanted() {
		if !strings.Contains(text, n) {
			return false
		}
	}
	return true
}

// attribution returns the text that gives the most of the names, the first of
// those that give as many.
func (e *evaluation) attribution() string {
	best, most := "", -1
	for _, x := range e.found {
		n := 0
		for _, name := range e.wanted() {
			if strings.Contains(x.text, name) {
				n++
			}
		}
		if n > most && x.text != "" {
			best, most = x.text, n
		}
	}
	return best
}

func (e *evaluation) row() record.ProofOfOne {
	out := record.ProofOfOne{
		Fault: e.fault.Name, What: e.fault.What, Clean: e.fault.Clean, Expected: e.fault.Expect.String(),
		Verdict: string(e.trial.Verdict.Outcome), AttributedTo: e.attribution(),
		Found: len(e.whyNot) == 0, WhyNot: e.whyNot, Attempts: 1,
	}
	if len(e.found) > 0 {
		at := slices.MinFunc(e.found, func(a, b finding) int { return int(a.at - b.at) }).at
		after := max(0, at-e.from)
		out.DetectedAfterNS = &after
	}
	return out
}

func ms(ns int64) string { return time.Duration(ns).Round(time.Millisecond).String() }
