// Package interruption asks the tests' question about a rehearsal that was
// interrupted in its upgrade and gone on with: does the verdict say how long
// nothing was measured, and hold that against what is allowed?
package interruption

import (
	"slices"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
)

// Check asks it. How long the gap was is the machine's (it ends at a whole second),
// and so is, then, whether it was too long.
func Check(t *testing.T, v judge.Verdict) {
	t.Helper()
	n := slices.IndexFunc(v.Validity, func(r judge.Validity) bool { return r.Rule == "interruptions" })
	if n < 0 {
		t.Fatalf("no rule of the verdict is about the interruption: %+v", v.Validity)
	}
	rule := v.Validity[n]
	if !strings.Contains(rule.Explain, ", in the upgrade, and nothing was measured for ") || (rule.Result == judge.Pass) != (rule.Value <= rule.Limit) {
		t.Errorf("interruptions: %s: %s", rule.Result, rule.Explain)
	}
	if rule.Result != judge.Pass && (v.Outcome != judge.Inconclusive || !strings.Contains(v.Summary, "The run was interrupted at ")) {
		t.Errorf("verdict %s: %s", v.Outcome, v.Summary)
	}
}
