package sim

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

func TestDaemonSetGoesEverywhereAndRollsOneAtATime(t *testing.T) {
	c := still(t, 1, 2)
	round := func() { c.run(t, c.syncDaemonSets, c.schedule) }
	round()
	pods := c.pods("kube-system", "k8s-app=kube-proxy")
	nodes := map[string]bool{}
	for _, p := range pods {
		nodes[p.Spec.NodeName] = true
	}
	if len(pods) != 3 || len(nodes) != 3 || nodes[""] {
		t.Fatalf("kube-proxy runs %d times on %v, want once on each of three nodes", len(pods), nodes)
	}
	c.runAll(t, pods, true)
	round()
	if err := update(c.store, resDaemonSets, "kube-system", "kube-proxy", func(d *appsv1.DaemonSet) {
		d.Spec.Template.Spec.Containers[0].Image = "new"
	}); err != nil {
		t.Fatal(err)
	}
	round()
	round()
	going := 0
	for _, p := range c.pods("kube-system", "k8s-app=kube-proxy") {
		if p.DeletionTimestamp != nil {
			going++
		}
	}
	if going != 1 {
		t.Errorf("%d pods are being replaced at once, want 1", going)
	}
	if s := mustGet[*appsv1.DaemonSet](t, c, resDaemonSets, "kube-system", "kube-proxy").Status; s.DesiredNumberScheduled != 3 || s.NumberUnavailable != 1 {
		t.Errorf("status %+v, want 3 desired and 1 unavailable", s)
	}
}
