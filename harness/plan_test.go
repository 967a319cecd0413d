package harness

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/golden"
)

// bare is a driver without any capability.
type bare struct{}

func (bare) Create(context.Context, cluster.Spec) (*cluster.Cluster, error) { return nil, nil }
func (bare) Delete(context.Context, cluster.Spec) error                     { return nil }

// able is a driver with every capability that a plan asks for.
type able struct{ bare }

func (able) UpgradeControlPlane(context.Context, *cluster.Cluster, string, cluster.Version, bool) error {
	return nil
}
func (able) UpgradeNode(context.Context, *cluster.Cluster, string, cluster.Version) error { return nil }
func (able) Expose(context.Context, *cluster.Cluster, cluster.Service) (cluster.Endpoint, error) {
	return cluster.Endpoint{}, nil
}
func (able) StartTwin(context.Context, *cluster.Cluster, cluster.Workload) (cluster.Endpoint, error) {
	return cluster.Endpoint{}, nil
}
func (able) CanaryImage(context.Context, *cluster.Cluster) (string, error) { return "", nil }
func (able) AddNode(context.Context, *cluster.Cluster, cluster.Version) (string, error) {
	return "", nil
}
func (able) RemoveNode(context.Context, *cluster.Cluster, string) error { return nil }
func (able) Estimate(op cluster.Operation) time.Duration                { return time.Minute }

func scenario(t *testing.T, name string) *scenarios.Scenario {
	t.Helper()
	f, err := scenarios.LoadFile("../scenarios.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Pick(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlanIsGolden(t *testing.T) {
	for _, name := range []string{"kind", "kind-ha", "kind-single-replica", "kind-replace", "kind-pool-migration"} {
		t.Run(name, func(t *testing.T) {
			p, err := Plan(scenario(t, name), able{})
			if err != nil {
				t.Fatal(err)
			}
			got := printed(p)
			golden.Equal(t, "plan-"+name+".golden", got)
		})
	}
}

func TestAgentsAreCheckedBeforeAnythingAndStartedBeforeTheLoad(t *testing.T) {
	s := scenario(t, "kind")
	s.Load.Agents, s.Load.AgentsKubeconfig, s.Load.AgentsContext, s.Load.AgentImage = 3, "load.kubeconfig", "load", "canary:1"
	p, err := Plan(s, able{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, e := range p.Entries {
		if strings.Contains(e.Description, "agent") {
			got = append(got, fmt.Sprintf("%d %s: %s", i+1, e.Section, e.Description))
		}
	}
	if diff := cmp.Diff([]string{
		"2 prepare: Check that load agents may run in context load",
		"11 measure: Start 3 load agents in context load",
		"12 measure: Start the load (lanes new, reused and control, 100 requests a second each, by 3 agents) and warm up for 10s",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestForecastIsNeverBelowTheIntervals(t *testing.T) {
	s := scenario(t, "kind")
	s.Upgrade.NodeInterval = scenarios.D(10 * time.Minute)
	s.Upgrade.ControlPlaneInterval = scenarios.D(10 * time.Minute)
	s.Cluster.Workers = 49
	p, err := Plan(s, able{})
	if err != nil {
		t.Fatal(err)
	}
	// 50 nodes at 10 minutes are the 500 minutes of the field's guides.
	if p.Floor != 500*time.Minute || p.Expected() < p.Floor {
		t.Errorf("floor %s, expected %s, want a floor of 500m and no less expected", p.Floor, p.Expected())
	}
}

func TestPlanRefusesWhatTheDriverCannotDo(t *testing.T) {
	_, err := Plan(scenario(t, "kind"), bare{})
	want := "cluster.driver: kind cannot carry out the strategy in-place: it lacks upgrading a control plane in place, upgrading a node in place, exposing the canary, running the control twin, loading the canary's image"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNothingToDoAtTheTargetVersion(t *testing.T) {
	s := scenario(t, "kind")
	s.Versions.From = s.Versions.To
	p, err := Plan(s, bare{})
	if err != nil || !p.NothingToDo || len(p.Entries) != 0 {
		t.Errorf("plan %+v, error %v, want nothing to do", p, err)
	}
}

func printed(p *RunPlan) string {
	var b strings.Builder
	for _, e := range p.Entries {
		fmt.Fprintf(&b, "%2d %-8s %s (%s)\n", e.Number, e.Section, e.Description, e.Expected)
	}
	fmt.Fprintf(&b, "expected %s, floor %s, nodes %d\n", p.Expected(), p.Floor, p.Nodes)
	return b.String()
}
