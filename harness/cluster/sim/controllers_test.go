package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// still returns a cluster with its objects of which nothing runs: controllers
// are called by hand.
func still(t *testing.T, controlPlanes, workers int) *simulation {
	t.Helper()
	c := newSimulation(t.Context(), spec(controlPlanes, workers), Options{Scale: 10, Log: testLog(t)})
	t.Cleanup(c.stop)
	if err := c.bootstrap(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodeNames() {
		c.kubelet(n).report(from, true, "KubeletReady", "")
	}
	return c
}

func (c *simulation) pods(ns, label string) []*corev1.Pod {
	key, value, _ := strings.Cut(label, "=")
	return slices.DeleteFunc(list[*corev1.Pod](c.store, resPods, ns), func(p *corev1.Pod) bool { return p.Labels[key] != value })
}

func (c *simulation) run(t *testing.T, steps ...func(context.Context) error) {
	t.Helper()
	for _, f := range steps {
		if err := f(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// runAll reports pods Running and Ready, as kubelets would.
func (c *simulation) runAll(t *testing.T, pods []*corev1.Pod, ready bool) {
	t.Helper()
	for i, p := range pods {
		status := corev1.ConditionFalse
		if ready {
			status = corev1.ConditionTrue
		}
		if err := update(c.store, resPods, p.Namespace, p.Name, func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.PodIP = fmt.Sprintf("10.244.9.%d", i+1)
			setPodCondition(p, corev1.PodReady, status, "", "")
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func mustGet[T object](t *testing.T, c *simulation, gvr schema.GroupVersionResource, ns, name string) T {
	t.Helper()
	o, ok := get[T](c.store, gvr, ns, name)
	if !ok {
		t.Fatalf("no %s %s/%s", gvr.Resource, ns, name)
	}
	return o
}

func TestGracePeriods(t *testing.T) {
	c := still(t, 1, 1)
	add := func(name, node string) {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		p.Name = name
		if _, err := c.api.create(resPods, "default", p, false); err != nil {
			t.Fatal(err)
		}
	}
	seconds := func(name string) string {
		p, ok := get[*corev1.Pod](c.store, resPods, "default", name)
		if !ok {
			return "gone"
		}
		if p.DeletionTimestamp == nil {
			return "untouched"
		}
		return fmt.Sprint(*p.DeletionGracePeriodSeconds)
	}
	remove := func(name string, grace *int64) {
		if err := c.api.delete(resPods, "default", name, metav1.DeleteOptions{GracePeriodSeconds: grace}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, node string
		graces     []*int64
		want       string
	}{
		{"default", "t-worker", []*int64{nil}, "30"},
		{"shortened", "t-worker", []*int64{nil, ptr(int64(5))}, "5"},
		{"never-longer", "t-worker", []*int64{ptr(int64(5)), nil}, "5"},
		{"forced", "t-worker", []*int64{ptr(int64(0))}, "gone"},
		{"not-scheduled", "", []*int64{nil}, "gone"},
	} {
		add(tt.name, tt.node)
		for _, g := range tt.graces {
			remove(tt.name, g)
		}
		if got := seconds(tt.name); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	add("other", "t-worker")
	err := c.api.delete(resPods, "default", "other", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr(types.UID("x"))}})
	if err == nil || !strings.Contains(err.Error(), "the UID in the precondition (x) does not match the UID in record") {
		t.Errorf("delete of another pod of the name: %v", err)
	}
}

func TestSilentNodesAreFoundAndTheirPodsEvicted(t *testing.T) {
	c := still(t, 1, 2)
	p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "t-worker", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	p.Name, p.Labels = "a", map[string]string{"app": "x"}
	if _, err := c.api.create(resPods, "default", p, false); err != nil {
		t.Fatal(err)
	}
	c.runAll(t, c.pods("default", "app=x"), true)
	c.writeLease(corev1.NamespaceNodeLease, "t-worker", "t-worker", leaseSeconds, nil)
	old := metav1.NewMicroTime(time.Now().Add(-time.Hour))
	if err := update(c.store, resLeases, corev1.NamespaceNodeLease, "t-worker", func(l *coordinationv1.Lease) { l.Spec.RenewTime = &old }); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.monitorNodes)
	n := mustGet[*corev1.Node](t, c, resNodes, "", "t-worker")
	if r := nodeCondition(n, corev1.NodeReady); r.Status != corev1.ConditionUnknown || r.Message != "Kubelet stopped posting node status." {
		t.Errorf("Ready is %s: %s", r.Status, r.Message)
	}
	if !slices.Contains(keysOf(n.Spec.Taints), "node.kubernetes.io/unreachable=:NoExecute") {
		t.Errorf("taints %v", keysOf(n.Spec.Taints))
	}
	if isReady(mustGet[*corev1.Pod](t, c, resPods, "default", "a")) {
		t.Error("a pod on a silent node is still ready")
	}
	if err := update(c.store, resNodes, "", "t-worker", func(n *corev1.Node) {
		nodeCondition(n, corev1.NodeReady).LastTransitionTime = metav1.NewTime(time.Now().Add(-time.Hour))
	}); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.monitorNodes)
	if mustGet[*corev1.Pod](t, c, resPods, "default", "a").DeletionTimestamp == nil {
		t.Error("the pod stays after its 300 tolerated seconds")
	}
}
