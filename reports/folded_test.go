package reports

import (
	"fmt"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
)

// TestProbesOfManyNodesAreFolded: what is judged always stands in the table.
func TestProbesOfManyNodesAreFolded(t *testing.T) {
	all := []Criterion{{ID: "outage/new", Result: judge.Pass}, {ID: "probe/dns-bad", Result: judge.Fail}, {ID: "api", Result: judge.Reported}}
	for i := range 4 {
		all = append(all, Criterion{ID: fmt.Sprintf("probe/dns-%d", i), Result: judge.Reported})
	}
	if c := newCriteria(all); len(c.Shown) != 7 || len(c.Folded) != 0 {
		t.Errorf("of 4 probes %d criteria are shown and %d folded", len(c.Shown), len(c.Folded))
	}
	all = append(all, Criterion{ID: "probe/dns-4", Result: judge.Reported})
	c := newCriteria(all)
	if len(c.Shown) != 3 || c.Shown[1].ID != "probe/dns-bad" || len(c.Folded) != 5 {
		t.Errorf("of 5 probes these are shown: %v", c.Shown)
	}
}

func TestRulesThatWereKeptAreFolded(t *testing.T) {
	second := Span{time.Second, 2 * time.Second}
	r := newRules([]Validity{{Rule: "damage", Result: judge.Pass}, {Rule: "send-lag", Result: judge.Pass, Unusable: []Span{second}}, {Rule: "unsent", Result: judge.Fail}, {Rule: "overload", Result: judge.Reported}})
	if len(r.Kept) != 1 || r.Kept[0].Rule != "damage" || len(r.Notable) != 3 {
		t.Errorf("kept %v, notable %v", r.Kept, r.Notable)
	}
	if got, want := r.Statement(), "2 of 4 rules about the measurement itself were kept."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := stretches([]Span{second, {}, {5 * time.Second, 8 * time.Second}}), "3 stretches, 4 s together"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
