package reports

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// document is the verdict document: the verdict, and the proof of the gate that
// preceded the run, where there was one.
type document struct {
	judge.Verdict
	Proof *record.Proof `json:"proof,omitempty"`
}

// JSON writes the verdict document, exactly as verdict.json holds it.
func JSON(w io.Writer, v View) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(document{v.Verdict, v.rec.Run.Proof}); err != nil {
		return fmt.Errorf("writing the verdict document: %w", err)
	}
	return nil
}
