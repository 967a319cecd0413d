// Package history reads what earlier rehearsals of the same scenario found, and
// bounds by it what the next one may find. It compares figures of whole runs:
// how much p99 grew, how long the longest outage was, which share of the
// requests was lost, and how long the upgrade took.
//
// Only a run that resembles the one at hand counts: the same scenario but for
// its versions and thresholds, on a cluster of the same kind, sealed, untouched,
// and GO when judged anew.
package history

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Names of figures; all but FigureDuration are followed by "/" and a lane.
const (
	FigureP99      = "p99"      // growth of p99 against the run's own baseline; 0.1 is +10%
	FigureOutage   = "outage"   // longest outage, ms
	FigureLost     = "lost"     // share of the requests lost, 0 to 1
	FigureDuration = "duration" // of the upgrade phase, s
)

// Units of figures.
const (
	UnitRatio   = "ratio"
	UnitMillis  = "ms"
	UnitSeconds = "s"
)

// Figure is one number by which runs are compared.
type Figure struct {
	ID   string `json:"id"` // such as "p99/new"
	Unit string `json:"unit"`
	// Found is the run's best estimate; AtLeast is the lower one-sided 95% bound of
	// it, or Found itself where it is exact.
	Found   float64 `json:"found"`
	AtLeast float64 `json:"atLeast"`
	// Slack is by how much AtLeast may exceed a bound without it being worth a
	// word: the scenario's latency floor as a share of the baseline's p99, and 1%
	// of a duration.
	Slack float64 `json:"slack,omitempty"`
}

// Figures returns the figures of a judged run, in the order of the verdict's
// criteria, the duration last. What the verdict has no estimate of is left out.
// floor is the scenario's latency floor.
func Figures(r *record.Record, v judge.Verdict, floor time.Duration) []Figure {
	var out []Figure
	for _, c := range v.Criteria {
		kind, lane, _ := strings.Cut(c.ID, "/")
		if c.Estimate == nil || lane == "" {
			continue
		}
		found, lower, upper := *c.Estimate, *c.Estimate, *c.Estimate
		if c.Interval != nil {
			lower, upper = c.Interval[0], c.Interval[1]
		}
		f := Figure{ID: kind + "/" + lane, Unit: UnitRatio, Found: found, AtLeast: lower}
		switch kind {
		case FigureP99:
			if base := baselineP99(v, lane); base > 0 {
				f.Slack = float64(floor) / float64(time.Millisecond) / base
			}
		case FigureOutage:
			f.Unit = UnitMillis
		case "success":
			f = Figure{ID: FigureLost + "/" + lane, Unit: UnitRatio, Found: 1 - found, AtLeast: 1 - upper}
		default:
			continue
		}
		out = append(out, f)
	}
	if p, ok := r.Phase(timeline.PhaseUpgrade); ok && p.End > p.Start {
		s := time.Duration(p.End - p.Start).Seconds()
		out = append(out, Figure{ID: FigureDuration, Unit: UnitSeconds, Found: s, AtLeast: s, Slack: s / 100})
	}
	return out
}

func baselineP99(v judge.Verdict, lane string) float64 {
	for _, l := range v.Lanes {
		if l.Lane == lane && l.Phase == timeline.PhaseBaseline {
			return l.P99MS
		}
	}
	return 0
}

// Shape is a digest of everything that two runs must have in common to be
// compared: the resolved scenario without its versions, thresholds and mirror's facts, the
// number of hops, and whether the cluster was a real one.
func Shape(run *record.Run) (string, error) {
	var s map[string]any
	if err := json.Unmarshal(run.Scenario, &s); err != nil {
		return "", fmt.Errorf("the record's scenario: %w", err)
	}
	delete(s, "versions")
	delete(s, "thresholds")
	delete(s, "mirror") // its digest changes with every change of production; what it declares stays
	b, err := json.Marshal(map[string]any{"scenario": s, "hops": len(run.Versions.Via) + 1, "simulated": run.Simulated})
	if err != nil {
		return "", fmt.Errorf("the record's scenario: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// judged loads a record and judges it by its own scenario.
func judged(dir string) (*record.Record, judge.Verdict, *scenarios.Scenario, error) {
	r, err := record.Load(dir)
	if err != nil {
		return nil, judge.Verdict{}, nil, err
	}
	s, err := scenarios.FromResolved(r.Run.Scenario)
	if err != nil {
		return nil, judge.Verdict{}, nil, err
	}
	return r, judge.Judge(r, s.Criteria()), s, nil
}
