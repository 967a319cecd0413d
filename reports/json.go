package reports

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// document is the verdict document: the verdict, the scenario's mirror block with
// the fidelity to production, and the proof of the gate that preceded the run,
// where there are any.
type document struct {
	judge.Verdict
	Mirror *scenarios.Mirror `json:"mirror,omitempty"`
	Proof  *record.Proof     `json:"proof,omitempty"`
}

// JSON writes the verdict document, exactly as verdict.json holds it.
func JSON(w io.Writer, v View) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(document{v.Verdict, mirrorOf(v.rec), v.rec.Run.Proof}); err != nil {
		return fmt.Errorf("writing the verdict document: %w", err)
	}
	return nil
}
