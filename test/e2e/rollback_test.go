//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestFullRollback upgrades half of the workers and takes them back, under load:
// nobody notices, the workers are what they were, the control plane stays.
func TestFullRollback(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		b = b.on("rollback", 3)
		var args []string
		if b.docker {
			args = []string{"--keep-cluster"}
		}
		o := runScenario(t.Context(), t, b, args...)
		del := deleteOnce(t, o.stderr)
		if o.code != 0 || !strings.Contains(strings.Join(strings.Fields(o.stdout), " "), "This was a drill") {
			t.Errorf("exit code %d, want 0 (GO), and the word that it was a drill\n%s", o.code, o.stdout)
		}
		rec := load(t, o.dir)
		checkServed(t, rec)
		if back, ok := rec.Phase(timeline.PhaseRollback); !ok || back.End <= back.Start {
			t.Fatalf("phase rollback: %+v, %v", back, ok)
		} else {
			for _, lane := range rec.Lanes {
				if failed, unsent, due := lost(rec, lane, timeline.PhaseRollback); failed > 0 || due == 0 {
					t.Errorf("lane %s, rollback: %d of %d requests failed (%d unsent)", lane.Lane.Name, failed, due, unsent)
				}
			}
		}
		for _, n := range rec.After.Nodes {
			checkWentBack(t, n.Name, n.KubeletVersion, n.Unschedulable)
		}
		if !b.docker {
			return
		}
		var nodes corev1.NodeList
		if err := clusterClient(t, o).Resources().List(t.Context(), &nodes); err != nil {
			t.Fatal(err)
		}
		if len(nodes.Items) != b.nodes {
			t.Errorf("%d nodes, want %d", len(nodes.Items), b.nodes)
		}
		for _, n := range nodes.Items {
			checkWentBack(t, n.Name, n.Status.NodeInfo.KubeletVersion, n.Spec.Unschedulable)
		}
		del()
		checkNothingLeft(t)
	})
}

func checkWentBack(t *testing.T, node, version string, unschedulable bool) {
	t.Helper()
	want := from
	if strings.Contains(node, "control-plane") {
		want = to
	}
	if version != want || unschedulable {
		t.Errorf("node %s: kubelet %s, unschedulable %v; want %s", node, version, unschedulable, want)
	}
}
