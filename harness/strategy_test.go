package harness

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// rolled returns the descriptions of the plan's steps on workers.
func rolled(t *testing.T, workers int, upgrade string) []string {
	t.Helper()
	f, err := scenarios.Parse("s.yaml", []byte(fmt.Sprintf("apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, cluster: {workers: %d}, versions: {from: v1.34.4, to: v1.35.4}, upgrade: %s}]", workers, upgrade)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(&f.Scenarios[0], able{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range p.Entries {
		if e.Section == SectionUpgrade {
			out = append(out, e.Description)
		}
	}
	return out[2:] // after the control plane and its validation
}

func TestEachStrategyInItsSteps(t *testing.T) {
	const (
		next = "Before the next worker: validate the cluster 2 times in a row, 10s apart, then wait 1m0s"
		last = "After the last worker: validate the cluster 2 times in a row, 10s apart, then wait 1m0s"
	)
	for _, tc := range []struct {
		name, upgrade string
		want          []string
	}{
		{"in place, batches", "{maxUnavailable: 2, nodeInterval: 1m}", []string{
			"Upgrade workers 1 and 2 of 5 to v1.35.4 together: drain, kubelet, uncordon", next,
			"Upgrade workers 3 and 4 of 5 to v1.35.4 together: drain, kubelet, uncordon", next,
			"Upgrade worker 5 of 5 to v1.35.4: drain, kubelet, uncordon", last,
		}},
		{"in place, extra workers", "{maxUnavailable: 5, extraWorkers: 2, nodeInterval: 1m}", []string{
			"Join 2 extra workers at v1.35.4 for the time of the roll, and wait until they are Ready",
			"With the extra capacity: validate the cluster 2 times in a row, 10s apart",
			"Upgrade workers 1, 2, 3, 4 and 5 of 5 to v1.35.4 together: drain, kubelet, uncordon", last,
			"Remove extra worker 1 of 2: drain, remove", strings.Replace(next, "worker", "extra worker", 1),
			"Remove extra worker 2 of 2: drain, remove", strings.Replace(last, "worker", "extra worker", 1),
		}},
		{"replace", "{strategy: replace, maxUnavailable: 2, maxSurge: 1, nodeInterval: 1m}", []string{
			"Replace workers 1, 2 and 3 of 5 by new ones at v1.35.4: join 1, Ready, drain 3, remove 3, join 2, Ready", next,
			"Replace workers 4 and 5 of 5 by new ones at v1.35.4: join 1, Ready, drain 2, remove 2, join 1, Ready", last,
		}},
		{"replace, surge alone, no intervals", "{strategy: replace, maxUnavailable: 0, maxSurge: 3, nodeInterval: 0s}", []string{
			"Replace workers 1, 2 and 3 of 5 by new ones at v1.35.4: join 3, Ready, drain 3, remove 3", strings.TrimSuffix(next, ", then wait 1m0s"),
			"Replace workers 4 and 5 of 5 by new ones at v1.35.4: join 2, Ready, drain 2, remove 2", strings.TrimSuffix(last, ", then wait 1m0s"),
		}},
		{"pool migration", "{strategy: pool-migration, nodeInterval: 1m}", []string{
			"Join a new pool of 5 workers at v1.35.4 beside the old one, and wait until it is Ready",
			"With both pools: validate the cluster 2 times in a row, 10s apart",
			"Cordon the old pool of 5 workers",
			"Drain worker 1 of 5 of the old pool", next, "Drain worker 2 of 5 of the old pool", next, "Drain worker 3 of 5 of the old pool", next,
			"Drain worker 4 of 5 of the old pool", next, "Drain worker 5 of 5 of the old pool", last,
			"Remove the old pool of 5 workers",
			"With the new pool alone: validate the cluster 2 times in a row, 10s apart",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, rolled(t, 5, tc.upgrade)); diff != "" {
				t.Errorf("steps on workers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSeveralHopsRollEachTime replaces the workers of the hop before once more.
func TestSeveralHopsRollEachTime(t *testing.T) {
	f, err := scenarios.Parse("s.yaml", []byte("apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, cluster: {workers: 1}, versions: [v1.33.6, v1.34.4, v1.35.4], upgrade: {strategy: replace, nodeInterval: 1m, controlPlaneInterval: 2m}}]"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(&f.Scenarios[0], able{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range p.Entries {
		if strings.HasPrefix(e.Description, "Replace") || strings.HasPrefix(e.Description, "Upgrade") {
			out = append(out, e.Description)
		}
	}
	want := []string{
		"Upgrade control plane 1 of 1 to v1.34.4: components, drain, kubelet, uncordon", "Replace worker 1 of 1 by a new one at v1.34.4: drain, remove, join, Ready",
		"Upgrade control plane 1 of 1 to v1.35.4: components, drain, kubelet, uncordon", "Replace worker 1 of 1 by a new one at v1.35.4: drain, remove, join, Ready",
	}
	if diff := cmp.Diff(want, out); diff != "" || p.Floor != 6*time.Minute {
		t.Errorf("floor %s, want 6m; steps (-want +got):\n%s", p.Floor, diff)
	}
}

// keeper can do all but add and remove workers.
type keeper struct{ bare }

func (keeper) UpgradeControlPlane(context.Context, *cluster.Cluster, string, cluster.Version, bool) error {
	return nil
}

func (keeper) UpgradeNode(context.Context, *cluster.Cluster, string, cluster.Version) error {
	return nil
}

func (keeper) Expose(context.Context, *cluster.Cluster, cluster.Service) (cluster.Endpoint, error) {
	return cluster.Endpoint{}, nil
}

func (keeper) StartTwin(context.Context, *cluster.Cluster, cluster.Workload) (cluster.Endpoint, error) {
	return cluster.Endpoint{}, nil
}
func (keeper) CanaryImage(context.Context, *cluster.Cluster) (string, error) { return "", nil }

func TestPlanAsksForWhatTheStrategyNeeds(t *testing.T) {
	for upgrade, want := range map[string]string{
		"{strategy: replace}":        "cluster.driver: sim cannot carry out the strategy replace: it lacks adding and removing workers",
		"{strategy: pool-migration}": "cluster.driver: sim cannot carry out the strategy pool-migration: it lacks adding and removing workers",
		"{extraWorkers: 1}":          "cluster.driver: sim cannot carry out the strategy in-place: it lacks adding and removing workers, for upgrade.extraWorkers",
		"{}":                         "",
	} {
		f, err := scenarios.Parse("s.yaml", []byte("apiVersion: rehearse/v1alpha1\nscenarios: [{name: s, versions: {from: v1.34.4, to: v1.35.4}, upgrade: "+upgrade+"}]"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Plan(&f.Scenarios[0], keeper{})
		if got := errText(err); got != want {
			t.Errorf("%s: got %q, want %q", upgrade, got, want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestGuidesPrintThePlan holds what each strategy's guide says the plan prints
// against the plan.
func TestGuidesPrintThePlan(t *testing.T) {
	for _, tc := range []struct {
		page, upgrade string
		workers       int
	}{
		{"in-place", "{maxUnavailable: 2, extraWorkers: 1}", 3},
		{"replace", "{strategy: replace, maxSurge: 1}", 3},
		{"pool-migration", "{strategy: pool-migration}", 2},
	} {
		b, err := os.ReadFile("../docs/guides/strategies/" + tc.page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		_, block, _ := strings.Cut(string(b), "## What the plan prints")
		_, block, _ = strings.Cut(block, "```\n")
		block, _, found := strings.Cut(block, "\n```")
		if !found {
			t.Fatalf("%s: no block after its heading", tc.page)
		}
		if diff := cmp.Diff(rolled(t, tc.workers, tc.upgrade), strings.Split(block, "\n")); diff != "" {
			t.Errorf("%s (-plan +guide):\n%s", tc.page, diff)
		}
	}
}
