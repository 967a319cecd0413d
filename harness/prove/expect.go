package prove

import (
	"strings"

	"github.com/kube-rehearse/rehearse/harness/judge"
)

// String says in short what is expected: the criteria, the rules, or only the
// outcomes.
func (x Expect) String() string {
	var parts []string
	parts = append(parts, x.Failed...)
	for _, w := range x.Warned {
		parts = append(parts, w+" (warns)")
	}
	parts = append(parts, x.Rules...)
	if len(parts) == 0 {
		return Outcomes(x.Outcomes)
	}
	return strings.Join(parts, ", ")
}

// Outcomes writes verdicts: "GO or INCONCLUSIVE".
func Outcomes(list []judge.Outcome) string {
	var out []string
	for _, o := range list {
		out = append(out, string(o))
	}
	return strings.Join(out, " or ")
}
