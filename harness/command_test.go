package harness

import (
	"testing"

	"github.com/kube-rehearse/rehearse/harness/cluster/existing"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/golden"
)

const onExisting = `apiVersion: rehearse/v1alpha1
scenarios:
- name: gke
  cluster: {driver: existing, kubeconfig: staging.kubeconfig, context: staging}
  versions: [v1.33.9, v1.34.4, v1.35.4]
  canary: {image: "registry.example/canary:1"}
  upgrade: {strategy: command, command: [./upgrade.sh, a b], commandTimeout: 2h}
`

// TestPlanOfACommand asks nothing of the driver but what it has.
func TestPlanOfACommand(t *testing.T) {
	f, err := scenarios.Parse("f", []byte(onExisting))
	if err != nil {
		t.Fatal(err)
	}
	d, err := existing.New(existing.Options{Kubeconfig: "staging.kubeconfig", Context: "staging"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(&f.Scenarios[0], d)
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "plan-existing.golden", printed(p))
	if p.Nodes != 0 {
		t.Errorf("%d nodes", p.Nodes)
	}
	f.Scenarios[0].Upgrade.Strategy = scenarios.StrategyInPlace
	if _, err := Plan(&f.Scenarios[0], d); err == nil {
		t.Error("a strategy that the driver cannot do was planned")
	}
}
