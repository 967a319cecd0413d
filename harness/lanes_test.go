package harness

import (
	"slices"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// TestScenariosKnowTheEnginesLanes compares what a scenario may ask for with what
// the load engine has: scenarios imports nothing of it.
func TestScenariosKnowTheEnginesLanes(t *testing.T) {
	var kinds []string
	for _, k := range load.Kinds() {
		kinds = append(kinds, string(k))
	}
	if !slices.Equal(kinds, scenarios.Lanes) {
		t.Errorf("the engine has %q, scenarios accept %q", kinds, scenarios.Lanes)
	}
	if load.DefaultStreamRate != scenarios.StreamRate {
		t.Errorf("a stream's rate is %v in the engine and %v in scenarios", load.DefaultStreamRate, scenarios.StreamRate)
	}
}
