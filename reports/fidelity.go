package reports

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Fidelity is how much of production the rehearsal's cluster showed; a verdict
// is about no more than that.
type Fidelity struct {
	Score     float64 // a share of one
	Uncovered []string
}

// mirrorOf returns the mirror block of the scenario that the record keeps and its
// seal covers; nil where there is none, or a scenario that cannot be read.
func mirrorOf(r *record.Record) *scenarios.Mirror {
	s, err := scenarios.FromResolved(r.Run.Scenario)
	if err != nil {
		return nil
	}
	return s.Mirror
}

func newFidelity(m *scenarios.Mirror) *Fidelity {
	if m == nil {
		return nil
	}
	return &Fidelity{Score: m.Fidelity, Uncovered: cleanAll(m.Uncovered)}
}

// Statement is one sentence, to stand beside the verdict.
func (f *Fidelity) Statement() string {
	s := fmt.Sprintf("Fidelity %.0f%%: the cluster rehearsed on mirrors production that far", 100*f.Score)
	if n := uint64(len(f.Uncovered)); n > 0 {
		s += ", and does not cover " + english.Count(n, "thing")
	}
	return s + "."
}

// uncovered is the heading of the list.
const uncovered = "Not covered by the mirror"
