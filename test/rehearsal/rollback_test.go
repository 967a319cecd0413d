package rehearsal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/recompute"
)

// TestRollbackDrill rolls half of the workers and goes back, by each strategy.
func TestRollbackDrill(t *testing.T) {
	for _, strategy := range []string{"in-place", "replace", "pool-migration"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			file := strings.Replace(short, "upgrade: {", "upgrade: {strategy: "+strategy+", rollback: {after: 50%}, ", 1)
			_, res := rehearse(t, file)
			if res.Verdict.Outcome == judge.NoGo || !strings.HasPrefix(res.Verdict.Summary, "This was a drill: the roll was turned round on purpose, at ") {
				t.Errorf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
			}
			checkWentBack(t, res)
			recompute.Check(t, res.Dir)
		})
	}
}

// TestRollbackOnFailure has a rollback in its plan that a clean roll leaves out,
// and that a roll which fails goes.
func TestRollbackOnFailure(t *testing.T) {
	file := strings.Replace(short, "upgrade: {", "upgrade: {rollback: {onFailure: true}, ", 1)
	t.Run("clean", func(t *testing.T) {
		t.Parallel()
		_, res := rehearse(t, file)
		skipped := 0
		for _, s := range res.Record.Run.Steps {
			if s.Section == harness.SectionRollback {
				if skipped++; s.Outcome != record.OutcomeSkipped || s.Reason != "not needed: nothing failed" {
					t.Errorf("step %d, %s: %s, %q", s.Number, s.Description, s.Outcome, s.Reason)
				}
			}
		}
		if _, back := res.Record.Phase(timeline.PhaseRollback); back || skipped != 5 || res.Verdict.Outcome == judge.NoGo {
			t.Errorf("went back: %v, %d steps skipped, verdict %s: %s", back, skipped, res.Verdict.Outcome, res.Verdict.Summary)
		}
	})
	t.Run("failing", func(t *testing.T) {
		t.Parallel()
		// A single replica is away while its node is drained.
		failing := strings.Replace(file, "replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 10s", "replicas: 1, shutdownDelay: 0s, gracePeriod: 0s", 1)
		res := untilTold(t, func() *harness.Result { _, res := rehearse(t, failing); return res }, conclusive)
		if res.Verdict.Outcome != judge.NoGo || strings.Contains(res.Verdict.Summary, "drill") {
			t.Errorf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
		}
		checkWentBack(t, res)
	})
}

func checkWentBack(t *testing.T, res *harness.Result) {
	t.Helper()
	if p, ok := res.Record.Phase(timeline.PhaseRollback); !ok || p.End <= p.Start {
		t.Errorf("phase rollback: %+v, %v", p, ok)
	}
	versions := map[string]int{}
	for _, n := range res.Record.After.Nodes {
		role := "worker "
		if n.ControlPlane {
			role = "control plane "
		}
		versions[role+n.KubeletVersion]++
		if n.Unschedulable || !n.Ready {
			t.Errorf("node %s is left cordoned or not Ready", n.Name)
		}
	}
	if diff := cmp.Diff(map[string]int{"control plane v1.35.4": 1, "worker v1.34.4": 2}, versions); diff != "" {
		t.Errorf("versions after (-want +got):\n%s", diff)
	}
	for _, c := range res.Verdict.Criteria {
		if c.ID == "versions" && c.Result != judge.Pass {
			t.Errorf("versions: %s: %s", c.Result, c.Explain)
		}
	}
	stays := 0
	for _, f := range res.Record.Run.Findings {
		if f.ID == "control-plane-stays" {
			stays++
		}
	}
	if stays != 1 {
		t.Errorf("%d findings say that the control plane stays, want 1", stays)
	}
}
