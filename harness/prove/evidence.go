package prove

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// finding is one thing that the verdict says, when its evidence begins, and in
// which words.
type finding struct {
	at   int64 // ns from the run's start
	text string
}

// matching returns the criteria whose id fits the pattern.
func matching(all []judge.Criterion, pattern string) []judge.Criterion {
	var out []judge.Criterion
	for _, c := range all {
		if ok, err := path.Match(pattern, c.ID); ok && err == nil {
			out = append(out, c)
		}
	}
	return out
}

// evidence returns the offset at which the evidence of a criterion begins to
// exist: an outage's first request, the end of a step that failed, the snapshot
// that shows a component; what is judged over the whole upgrade is known at its
// end.
func evidence(t *Trial, c judge.Criterion, from, to int64) int64 {
	r := t.Record
	kind, _, _ := strings.Cut(c.ID, "/")
	switch kind {
	case "outage":
		if o := outageAt(t, c.Lane, from, to); o != nil {
			return o.Start
		}
	case "upgrade":
		for _, s := range r.Run.Steps {
			if s.Section == "upgrade" && s.Outcome == record.OutcomeFailed {
				return s.EndNS
			}
		}
	case "api":
		if at, ok := firstEvent(r, timeline.KindProbeDown, "probe/api", from); ok {
			return at
		}
	case "versions", "component", "dns", "apiservices", "lingering-pods":
		if r.After != nil {
			return r.After.T
		}
	}
	return end(r)
}

// outageAt returns the usable outage of a lane that shares the most time with
// the fault; nil where none touches it.
func outageAt(t *Trial, lane string, from, to int64) *judge.Outage {
	const near = int64(time.Second)
	var best *judge.Outage
	most := int64(0)
	for i := range t.Verdict.Outages {
		o := &t.Verdict.Outages[i]
		if o.Lane != lane || !o.Usable {
			continue
		}
		// Those close by count for a little, those that touch for more.
		shared := min(o.End, to) - max(o.Start, from) + near
		if shared > most {
			best, most = o, shared
		}
	}
	return best
}

func firstEvent(r *record.Record, kind, subject string, from int64) (int64, bool) {
	i := slices.IndexFunc(r.Events, func(e timeline.Event) bool {
		return e.Kind == kind && e.T >= from && strings.HasPrefix(e.Subject, subject)
	})
	if i < 0 {
		return 0, false
	}
	return r.Events[i].T, true
}

// ruleEvidence is evidence of a validity rule: where its unusable stretch lies.
func ruleEvidence(t *Trial, v judge.Validity, from int64) int64 {
	if probe, ok := strings.CutPrefix(v.Rule, "probe-data/"); ok {
		if at, ok := firstEvent(t.Record, timeline.KindProbeLost, "probe/"+probe, from); ok {
			return at
		}
	}
	for _, s := range v.Unusable {
		if s.End > from {
			return max(s.Start, from)
		}
	}
	return end(t.Record)
}

// touches reports whether one of the stretches, if there are any, shares time
// with a fault.
func touches(list []judge.Stretch, from, to int64) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(s judge.Stretch) bool { return s.End > from && s.Start <= to })
}

// end is when the measurement ended.
func end(r *record.Record) int64 {
	last := int64(0)
	for _, p := range r.Phases() {
		last = max(last, p.End)
	}
	return last
}

// begin is when the upgrade began, from which on a fault that was always there
// could be found.
func begin(r *record.Record) int64 {
	if p, ok := r.Phase(timeline.PhaseUpgrade); ok {
		return p.Start
	}
	return 0
}
