package reports

import (
	"bytes"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/test/golden"
)

func TestChecks(t *testing.T) {
	var b bytes.Buffer
	err := Checks(&b, "gate", "rehearse.quickstart.gate", time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC), []Check{
		{Name: "record", Text: "kept"},
		{Name: "verdict", Text: "The verdict is NO-GO: \x1b[31mred", Failed: true},
		{Name: "history p99/new", Text: "uncertain", Undecided: true},
		{Name: "age", Text: "not asked for", Skipped: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkJUnit(t, b.Bytes())
	golden.Equal(t, "checks.xml", b.Bytes())
}
