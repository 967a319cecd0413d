package judge

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// FormatVersion is the version of verdict.json.
const FormatVersion = 1

// Judge compares the upgrade of a record with the baseline of the same record.
// It has no error: what the record lacks makes the verdict INCONCLUSIVE, and says
// so. It reads r and changes nothing; the same record and criteria give the same
// verdict. Of the result only Warnings may be nil.
//
// Precedence: evidence that a validity rule spoils is not used. A criterion
// fails only on usable evidence, and any failed criterion makes the verdict
// NO-GO. Otherwise a broken rule about the run as a whole, or a required
// criterion without enough usable evidence, makes it INCONCLUSIVE. Otherwise it
// is GO (docs/decisions/0041).
func Judge(r *record.Record, criteria []scenarios.Criterion) Verdict {
	j := &judgement{base: baselineSide(r, false), up: upgradeSide(r, false), seed: []string{r.Run.ID}}
	return j.run(criteria)
}

// Compare judges the upgrade that one record holds against the baseline that
// another holds. The records must have been made alike: it refuses, with an
// error that names the difference, records of different lanes, rates, targets or
// timeouts.
//
// A record need not know phases or a cluster: without an upgrade phase all but
// its warm-up counts, and without snapshots the criteria about the cluster are
// reported and not judged.
func Compare(baseline, upgrade *record.Record, criteria []scenarios.Criterion) (Verdict, error) {
	if err := sameSetup(baseline, upgrade, "baseline", "upgrade", true); err != nil {
		return Verdict{}, fmt.Errorf("compare: %w", err)
	}
	j := &judgement{
		base: baselineSide(baseline, true), up: upgradeSide(upgrade, true), compare: true,
		seed: []string{baseline.Run.ID, upgrade.Run.ID},
	}
	return j.run(criteria), nil
}

// sameSetup returns an error that names the first difference in how two
// records were made; two clusters have different targets. It calls a and b what
// one and other say.
func sameSetup(a, b *record.Record, one, other string, oneTarget bool) error {
	for _, l := range a.Run.Lanes {
		if _, ok := laneNamed(b, l.Name); !ok {
			return fmt.Errorf("lane %s is in the %s's record and not in the %s's: record both with the same lanes", l.Name, one, other)
		}
	}
	for _, l := range b.Run.Lanes {
		o, ok := laneNamed(a, l.Name)
		if !ok {
			return fmt.Errorf("lane %s is in the %s's record and not in the %s's: record both with the same lanes", l.Name, other, one)
		}
		switch {
		case o.Rate != l.Rate:
			return fmt.Errorf("lane %s: %s requests a second in the %s and %s in the %s: record both at the same rate", l.Name, digits(o.Rate, 6), one, digits(l.Rate, 6), other)
		case oneTarget && !l.Control && o.Target != l.Target:
			return fmt.Errorf("lane %s: target %s in the %s and %s in the %s: record the same target", l.Name, o.Target, one, l.Target, other)
		case o.TimeoutNS != l.TimeoutNS:
			return fmt.Errorf("lane %s: timeout %s in the %s and %s in the %s: record both with the same timeout", l.Name, duration(float64(o.TimeoutNS)), one, duration(float64(l.TimeoutNS)), other)
		case o.Control != l.Control:
			return fmt.Errorf("lane %s is the control lane in one of the records only: record both alike", l.Name)
		}
	}
	return nil
}

// judgement is the shared core of Judge and Compare.
type judgement struct {
	base, up side
	compare  bool
	seed     []string
	lanes    []*laneEvidence // those to judge, in the order of Run.Lanes
	control  *laneEvidence   // nil where the run has no control lane
	slow     map[int64]bool  // seconds in which the control lane was slow
	validity []Validity
	// invalid are the sentences that make the verdict INCONCLUSIVE whatever the
	// criteria say, unless one failed.
	invalid  []string
	warnings []string
}

// look gathers the evidence of every lane, and finds out what of it counts.
func (j *judgement) look() {
	j.base.findOverload()
	j.up.findOverload()
	for _, l := range j.up.rec.Run.Lanes {
		e := newLaneEvidence(&j.base, &j.up, l)
		if l.Control {
			j.control = e
		} else {
			j.lanes = append(j.lanes, e)
		}
	}
	if j.control != nil {
		j.slow = slowSeconds(j.control)
	}
	for _, e := range j.lanes {
		e.look(j.control, j.slow)
	}
}

func (j *judgement) run(criteria []scenarios.Criterion) Verdict {
	j.look()
	j.judgeValidity(criteria)

	v := Verdict{
		Format: FormatVersion, Simulated: j.base.rec.Run.Simulated || j.up.rec.Run.Simulated,
		Validity: j.validity, Outages: []Outage{}, Resolution: []Resolution{}, Lanes: sums(j.up.rec, j.up.rec.Phases()),
	}
	if j.compare {
		v.Lanes = append(sums(j.base.rec, j.base.phases), sums(j.up.rec, j.up.phases)...)
	}
	v.Criteria = j.judgeCriteria(criteria)
	for _, e := range j.lanes {
		if j.base.rec == j.up.rec {
			v.Outages = append(v.Outages, listed(e.before)...)
		}
		v.Outages = append(v.Outages, listed(e.outages)...)
		e.resolution = resolution(e)
		v.Resolution = append(v.Resolution, e.resolution)
	}
	j.attribute(v.Outages)
	v.Ledger = j.ledger(v.Outages)
	_, forced := j.forced()
	j.warnings = append(j.warnings, forced...)
	j.warnOfStaleEndpoints()
	v.Warnings = j.warnings
	v.Outcome, v.Summary = j.conclude(v.Criteria)
	if back, ok := j.up.rolledBack(); ok && j.up.rec.Run.Outcome == record.OutcomePassed {
		what := "its workers"
		if j.up.rec.Run.Driver == scenarios.DriverEKS {
			what = "workers and control plane"
		}
		v.Summary = fmt.Sprintf("This was a drill: the roll was turned round on purpose, %s, and %s went back to %s. %s", at(back.Start), what, j.up.rec.Run.Versions.From, v.Summary)
	}
	j.nameSenders(&v)
	return v
}

// judgeCriteria judges each criterion, then corrects the statistical ones for
// their number.
func (j *judgement) judgeCriteria(criteria []scenarios.Criterion) []Criterion {
	out := []Criterion{}
	if c, ok := j.judgeUpgrade(); ok {
		out = append(out, c)
	}
	var family []int
	var ps []float64
	components := false
	for _, c := range criteria {
		var got Criterion
		p := math.NaN()
		switch c.Kind {
		case scenarios.KindVersions:
			got = j.judgeVersions(c)
		case scenarios.KindAPIAvailability:
			got = j.judgeAPI(c)
		case scenarios.KindComponents:
			got = j.judgeComponent(c)
			components = true
		case scenarios.KindOutage, scenarios.KindReconnects, scenarios.KindSuccessRate, scenarios.KindErrorIncrease, scenarios.KindLatency:
			got, p = j.judgeLane(c)
		default:
			got = undecided(Criterion{ID: c.ID, Name: string(c.Kind)}, fmt.Sprintf("This version of rehearse cannot judge a criterion of kind %q.", c.Kind))
		}
		switch {
		case got.Result == Reported: // it has said why
		case !c.Required || c.Limit < 0:
			got.Result = Reported
			got.Explain = withoutLimit(got.Explain) + " Reported, not judged."
			if c.Limit < 0 {
				got.Threshold = nil
				got.Explain = comparedWithNothing.ReplaceAllString(got.Explain, ".")
			}
		case !math.IsNaN(p):
			family, ps = append(family, len(out)), append(ps, p)
		}
		out = append(out, got)
	}
	rejected := holm(ps, alpha)
	for i, at := range family {
		if c := &out[at]; c.Result == Fail && !rejected[i] {
			c.Result = Undecided
			c.Explain += fmt.Sprintf(" That could be chance among %d criteria (p = %s, Holm's correction).", len(family), digits(ps[i], 2))
		}
	}
	if components {
		out = append(out, j.judgeSystem()...)
	}
	if c, ok := j.judgeWriter(criteria); ok {
		out = append(out, c)
	}
	out = append(out, j.judgeOrdering()...)
	return append(out, j.otherProbes()...)
}

// withoutLimit cuts what an explanation says of the limit, which is moot where
// nothing is held against it.
func withoutLimit(explain string) string {
	i := strings.LastIndex(explain, "; ")
	if i < 0 || !strings.HasSuffix(explain, "allowed.") && !strings.HasSuffix(explain, "required.") {
		return explain
	}
	return explain[:i] + "."
}

// comparedWithNothing is how an explanation compares with a limit that is off.
var comparedWithNothing = regexp.MustCompile(`: too [a-z ]+ to tell from the -[^ ]+ [a-z ]*(allowed|required)\.( A longer baseline narrows it\.)?`)

// judgeLane judges a criterion of a lane; the second result is its p-value, or
// NaN where it is no statistical test.
func (j *judgement) judgeLane(c scenarios.Criterion) (Criterion, float64) {
	i := slices.IndexFunc(j.lanes, func(e *laneEvidence) bool { return e.lane.Name == c.Lane })
	if i < 0 {
		return undecided(Criterion{ID: c.ID, Name: string(c.Kind), Lane: c.Lane}, fmt.Sprintf("The record has no lane %s.", c.Lane)), math.NaN()
	}
	e := j.lanes[i]
	switch c.Kind {
	case scenarios.KindSuccessRate:
		return j.judgeSuccess(c, e)
	case scenarios.KindErrorIncrease:
		return j.judgeErrors(c, e)
	case scenarios.KindLatency:
		return j.judgeLatency(c, e)
	case scenarios.KindReconnects:
		return j.judgeReconnects(c, e), math.NaN()
	default:
		return j.judgeOutage(c, e), math.NaN()
	}
}

// conclude applies the precedence rules.
func (j *judgement) conclude(criteria []Criterion) (Outcome, string) {
	var failed, open []Criterion
	judged, passed := 0, 0
	for _, c := range criteria {
		switch c.Result {
		case Fail:
			failed = append(failed, c)
		case Undecided:
			open = append(open, c)
		case Pass:
			// That steps were carried out, and in order, is no evidence by itself.
			if c.ID != "upgrade" && !strings.HasPrefix(c.ID, "ordering/") {
				judged++
			}
			passed++
		}
	}
	switch {
	case len(failed) > 0:
		return NoGo, fmt.Sprintf("%s failed: %s%s", failed[0].ID, failed[0].Explain, others(failed[1:], "failed"))
	case len(j.invalid) > 0:
		return Inconclusive, strings.Join(j.invalid, " ")
	case len(open) > 0:
		return Inconclusive, fmt.Sprintf("%s could not be judged: %s%s", open[0].ID, open[0].Explain, others(open[1:], "could not be judged"))
	case judged == 0:
		return Inconclusive, "No criterion was judged."
	}
	return Go, fmt.Sprintf("All %d criteria that were judged passed.%s%s", passed, j.byForce(), j.promise())
}

func others(rest []Criterion, what string) string {
	if len(rest) == 0 {
		return ""
	}
	var ids []string
	for _, c := range rest {
		ids = append(ids, c.ID)
	}
	return fmt.Sprintf(" Also %s: %s.", what, enumerate(ids))
}

// listed returns the outages that the verdict names.
func listed(all []Outage) []Outage {
	return slices.DeleteFunc(slices.Clone(all), func(o Outage) bool { return o.minor })
}

// promise says what a GO rests on.
func (j *judgement) promise() string {
	worst := 0.0
	for _, e := range j.lanes {
		worst = max(worst, e.resolution.OutageMS)
	}
	if worst == 0 {
		return ""
	}
	return fmt.Sprintf(" An outage of %s or more would have been seen on every lane.", duration(worst*1e6))
}

// resolution states what the measurement of a lane could have seen.
func resolution(e *laneEvidence) Resolution {
	blind := longestBlind(e.up.blindStretches(e.outages, 0))
	ns := max(e.detector.resolution(), float64(blind.End-blind.Start))
	t, _ := e.up.failures()
	r := Resolution{Lane: e.lane.Name, OutageMS: significant(ns / 1e6), ErrorRate: 1}
	if t.n == 0 {
		r.Explain = fmt.Sprintf("Nothing can be said of lane %s: it has no usable request.", e.lane.Name)
		return r
	}
	var upper float64
	if t.e == 0 {
		upper = -math.Log(0.05) / t.n // the rule of three
	} else {
		_, upper = wilson(t.e, t.n, z95)
	}
	r.ErrorRate = significant(min(1, upper))
	r.Explain = fmt.Sprintf("An outage of %s or more would have been seen; the error rate is at most %s at 95%%.", duration(ns), share(upper))
	return r
}
