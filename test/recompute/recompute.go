// Package recompute asks the tests' question about every finished rehearsal: does
// its record give the same verdict again?
package recompute

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Check judges the run directory dir again and compares bytes with its
// verdict.json.
func Check(t *testing.T, dir string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := scenarios.FromResolved(rec.Run.Scenario)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := reports.Render(&got, "json", reports.NewView(rec, judge.Judge(rec, sc.Criteria())), reports.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) || !json.Valid(want) {
		t.Errorf("the verdict computed again differs from verdict.json (%d and %d bytes)", got.Len(), len(want))
	}
}
