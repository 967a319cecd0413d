package rehearsal

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/recompute"
)

// fast is the scale of the rehearsals of strategies: what they show is which
// nodes come and go, and what is lost with them.
const fast = 40

// strategy is the short rehearsal with another upgrade and shape of cluster. The
// canary's pods end as slowly as in the short one, where the scale is less.
func strategy(upgrade, cluster string) string {
	return strings.NewReplacer(
		"load: {rate: 50,", "load: {rate: 20,",
		"shutdownDelay: 10s", "shutdownDelay: 60s",
		"upgrade: {", "upgrade: {"+upgrade+", ",
		// What so few requests can tell.
		"thresholds: {", "thresholds: {successRate: 98%, errorIncrease: 2%, apiAvailability: 90%, ",
		"controlPlanes: 1, workers: 2", cluster,
	).Replace(short)
}

// workers are the names of a snapshot's workers, without what they share.
func workers(s *record.Snapshot) []string {
	var out []string
	for _, n := range s.Nodes {
		if !n.ControlPlane {
			out = append(out, n.Name[strings.LastIndex(n.Name, "-")+1:])
		}
	}
	slices.Sort(out)
	return out
}

func TestEveryStrategyEndsWell(t *testing.T) {
	for _, tc := range []struct {
		name, upgrade, cluster string
		after                  []string // workers
		most                   int      // nodes at once
	}{
		{"in-place", "maxUnavailable: 2, extraWorkers: 1", "controlPlanes: 1, workers: 3", []string{"worker", "worker2", "worker3"}, 5},
		{"replace", "strategy: replace, maxSurge: 1, maxUnavailable: 1", "controlPlanes: 1, workers: 3", []string{"worker4", "worker5", "worker6"}, 5},
		{"pool-migration", "strategy: pool-migration", "controlPlanes: 3, workers: 2", []string{"worker3", "worker4"}, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, res := rehearseAt(t, fast, strategy(tc.upgrade, tc.cluster), sim.Faults{}, quiet{})
			if res.Verdict.Outcome == judge.NoGo {
				t.Errorf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
			}
			for _, s := range res.Record.Run.Steps {
				if s.Outcome != record.OutcomePassed {
					t.Errorf("step %d, %s: %s %s", s.Number, s.Description, s.Outcome, s.Error)
				}
			}
			for _, c := range res.Verdict.Criteria {
				if (c.ID == "versions" || strings.HasPrefix(c.ID, "component/")) && c.Result != judge.Pass {
					t.Errorf("%s: %s: %s", c.ID, c.Result, c.Explain)
				}
			}
			if diff := cmp.Diff(tc.after, workers(res.Record.After)); diff != "" {
				t.Errorf("workers after (-want +got):\n%s", diff)
			}
			if most := mostNodes(res.Record); most != tc.most {
				t.Errorf("the cluster had %d nodes at most, want %d", most, tc.most)
			}
			for _, n := range res.Record.Before.Nodes {
				// The report shows each API server's own availability.
				if n.ControlPlane && !slices.ContainsFunc(res.Record.Run.Probes, func(p record.Probe) bool { return strings.Contains(p.Name, n.Name) }) {
					t.Errorf("the API server of %s is not probed: %v", n.Name, res.Record.Run.Probes)
				}
			}
			recompute.Check(t, res.Dir)
		})
	}
}

// mostNodes is the most nodes that the cluster had at once.
func mostNodes(r *record.Record) int {
	n := len(r.Before.Nodes)
	most := n
	for _, e := range r.Events {
		switch e.Kind {
		case timeline.KindNodeAdded:
			n++
		case timeline.KindNodeRemoved:
			n--
		}
		most = max(most, n)
	}
	return most
}

// TestReplaceTakesTheOnlyReplicaDown is NO-GO, and the report says that it was the
// drain of a worker that is replaced.
func TestReplaceTakesTheOnlyReplicaDown(t *testing.T) {
	t.Parallel()
	file := strategy("strategy: replace", "controlPlanes: 1, workers: 2")
	file = strings.Replace(file, "replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 60s", "replicas: 1, shutdownDelay: 0s, gracePeriod: 0s", 1)
	file = strings.Replace(file, "thresholds: {", "thresholds: {longestOutage: 100ms, ", 1)
	file = strings.Replace(file, "rate: 20", "rate: 100", 1)
	_, res := rehearseAt(t, 15, file, sim.Faults{}, quiet{})
	// A machine too busy to tell an outage from its own makes it INCONCLUSIVE.
	if res.Verdict.Outcome == judge.Go || res.Verdict.Outcome == judge.Inconclusive && !strings.Contains(res.Verdict.Summary, "could not have been seen") {
		t.Errorf("verdict %s, %d outages: %s", res.Verdict.Outcome, len(res.Verdict.Outages), res.Verdict.Summary)
	}
	var causes []string
	for _, o := range res.Verdict.Outages {
		causes = append(causes, o.Lane+" "+o.Cause)
	}
	if !slices.ContainsFunc(causes, func(c string) bool {
		return strings.Contains(c, " pod/rehearse/canary-") && strings.HasSuffix(c, " was drained to be removed (replace)")
	}) {
		t.Errorf("no outage is explained by the end of the canary's pod as its worker was replaced: %q", causes)
	}
}

// TestNewWorkerThatIsNeverReady ends the upgrade, and says which worker and why.
func TestNewWorkerThatIsNeverReady(t *testing.T) {
	t.Parallel()
	file := strategy("strategy: replace, maxSurge: 1, maxUnavailable: 0, nodeTimeout: 3s", "controlPlanes: 1, workers: 1")
	faults := sim.Faults{OverlayNotReady: true, OverlayDown: func(node string) bool { return strings.HasSuffix(node, "-worker2") }}
	_, res := rehearseAt(t, fast, file, faults, quiet{})
	c := criterion(t, res.Verdict, "upgrade")
	if res.Verdict.Outcome != judge.NoGo || c.Result != judge.Fail {
		t.Errorf("verdict %s, upgrade %s: %s", res.Verdict.Outcome, c.Result, res.Verdict.Summary)
	}
	name := res.Record.Before.Nodes[1].Name + "2"
	for _, want := range []string{
		"the new worker in place of " + res.Record.Before.Nodes[1].Name + ": node " + name + " is not Ready at v1.35.4 after 3s: it is not Ready: KubeletNotReady:",
		"cni plugin not initialized",
	} {
		if !strings.Contains(c.Explain, want) {
			t.Errorf("the failure is %q, want %q in it", c.Explain, want)
		}
	}
}
