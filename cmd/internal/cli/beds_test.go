package cli

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/prove/onkind"
	"github.com/kube-rehearse/rehearse/harness/prove/onsim"
)

// What the verdict must say of a fault does not depend on the kind of cluster
// that it was planted in; only names of objects and durations do.
func TestSameFaultSameExpectation(t *testing.T) {
	sim := onsim.New(onsim.Options{}).Faults()
	shared := 0
	for _, k := range onkind.New(onkind.Options{}).Faults() {
		i := slices.IndexFunc(sim, func(s prove.Fault) bool { return s.Name == k.Name })
		if i < 0 {
			continue
		}
		shared++
		s := sim[i]
		s.Expect.Names, k.Expect.Names = nil, nil
		if diff := cmp.Diff(s.Expect, k.Expect); diff != "" || s.What != k.What || s.Clean != k.Clean {
			t.Errorf("%s: sim says %q, kind %q (-sim +kind):\n%s", k.Name, s.What, k.What, diff)
		}
	}
	if shared < 5 {
		t.Errorf("the two tables share %d rows, want at least 5", shared)
	}
}
