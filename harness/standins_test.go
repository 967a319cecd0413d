package harness

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// TestStandInsComeAfterTheCanary plans the scenario's workloads in the words of
// the step.
func TestStandInsComeAfterTheCanary(t *testing.T) {
	s := *scenario(t, "kind")
	s.Workloads = []scenarios.Workload{
		{Name: "api", Replicas: 4, PodDisruptionBudget: &scenarios.Budget{MinAvailable: new(3)}, Requests: &scenarios.Requests{Memory: "64Mi"}},
		{Namespace: "shop", Name: "web", Replicas: 2},
	}
	p, err := Plan(&s, able{})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range p.Entries {
		x, ok := e.Step.(step.StandIns)
		if !ok {
			continue
		}
		if _, canary := p.Entries[i-1].Step.(step.Canary); !canary || e.Description != "Deploy stand-ins for 2 workloads (6 pods, 1 budget)" {
			t.Errorf("step %d: %s", e.Number, e.Description)
		}
		want := []deploy.StandIn{
			{Namespace: "rehearse-workloads", Name: "api", Replicas: 4, Budget: &deploy.Budget{MinAvailable: new(3)}, Memory: "64Mi"},
			{Namespace: "shop", Name: "web", Replicas: 2},
		}
		if diff := cmp.Diff(want, x.List); diff != "" {
			t.Errorf("stand-ins (-want +got):\n%s", diff)
		}
		return
	}
	t.Error("no step deploys the stand-ins")
}
