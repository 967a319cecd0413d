package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Parts of a record that [Between] can hold against the same part of another.
const (
	PartBaseline = timeline.PhaseBaseline
	PartUpgrade  = timeline.PhaseUpgrade // until the end of the settle phase
)

// Between holds a part of record b against the same part of record a, lane by
// lane: latencies and error rates, as [Compare] does. Of criteria only those two
// kinds are looked at, and the result has one of each, in their order; "failed"
// means that b is certainly worse than a by more than the limit. It is no verdict
// on an upgrade.
//
// The records must have been made with the same lanes, rates and timeouts: the
// error names the first difference. Their targets may differ, as those of two
// clusters do. A record without phases counts as a whole but for its warm-up.
func Between(a, b *record.Record, part string, criteria []scenarios.Criterion) ([]Criterion, error) {
	if part != PartBaseline && part != PartUpgrade {
		return nil, fmt.Errorf("part %q of a record is unknown; accepted: %s, %s", part, PartBaseline, PartUpgrade)
	}
	if err := sameSetup(a, b, "first run", "second run", false); err != nil {
		return nil, err
	}
	sideOf := upgradeSide
	if part == PartBaseline {
		sideOf = baselineSide
	}
	j := &judgement{base: sideOf(a, true), up: sideOf(b, true), compare: true, seed: []string{a.Run.ID, b.Run.ID, part}}
	j.look()
	criteria = slices.DeleteFunc(slices.Clone(criteria), func(c scenarios.Criterion) bool {
		return c.Kind != scenarios.KindErrorIncrease && c.Kind != scenarios.KindLatency
	})
	out := slices.DeleteFunc(j.judgeCriteria(criteria), func(c Criterion) bool {
		return !slices.ContainsFunc(criteria, func(x scenarios.Criterion) bool { return x.ID == c.ID })
	})
	for i := range out {
		out[i].Explain = ofTwoRuns.Replace(out[i].Explain)
		for k, w := range out[i].Warnings {
			out[i].Warnings[k] = ofTwoRuns.Replace(w)
		}
	}
	return out, nil
}

// ofTwoRuns makes of a sentence about a baseline and an upgrade one about runs.
var ofTwoRuns = strings.NewReplacer(
	" A longer baseline narrows it.", "", "in the baseline", "in the first run", "during the upgrade", "in the second run", "The baseline's", "The first run's",
)
