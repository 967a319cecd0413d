package sim

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSchedulerSpeaksAsTheRealOne(t *testing.T) {
	c := still(t, 1, 2)
	make := func(name string, change func(*corev1.PodSpec)) {
		t.Helper()
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		p.Name, p.Labels = name, map[string]string{"app": "x"}
		if change != nil {
			change(&p.Spec)
		}
		if _, err := c.api.create(resPods, "default", p, false); err != nil {
			t.Fatal(err)
		}
		c.run(t, c.monitorNodes, c.schedule)
	}
	where := func(name string) string {
		p, ok := get[*corev1.Pod](c.store, resPods, "default", name)
		if !ok {
			t.Fatalf("no pod %s", name)
		}
		if p.Spec.NodeName != "" {
			return p.Spec.NodeName
		}
		for _, k := range p.Status.Conditions {
			if k.Type == corev1.PodScheduled {
				return k.Message
			}
		}
		return "not looked at"
	}
	spread := func(s *corev1.PodSpec) {
		s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}, NodeTaintsPolicy: ptr(corev1.NodeInclusionPolicyHonor)}}
	}
	make("a", spread)
	make("b", spread)
	if where("a") == where("b") || !strings.HasPrefix(where("a"), "t-worker") || !strings.HasPrefix(where("b"), "t-worker") {
		t.Errorf("spread pods are on %s and %s, want a worker each", where("a"), where("b"))
	}
	make("big", func(s *corev1.PodSpec) {
		s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5")}
	})
	if got, want := where("big"), "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu."; got != want {
		t.Errorf("big: %s, want %s", got, want)
	}
	make("anti", func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}}}}}
	})
	if got, want := where("anti"), "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match pod anti-affinity rules."; got != want {
		t.Errorf("anti: %s, want %s", got, want)
	}
	make("chosen", func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{corev1.LabelHostname: "t-worker2"} })
	if got := where("chosen"); got != "t-worker2" {
		t.Errorf("chosen is on %s, want t-worker2", got)
	}
	for _, n := range []string{"t-worker", "t-worker2"} {
		if err := update(c.store, resNodes, "", n, func(n *corev1.Node) { n.Spec.Unschedulable = true }); err != nil {
			t.Fatal(err)
		}
	}
	make("late", nil)
	if got, want := where("late"), "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) were unschedulable."; got != want {
		t.Errorf("late: %s, want %s", got, want)
	}
	if n, _ := get[*corev1.Node](c.store, resNodes, "", "t-worker"); !slices.Contains(keysOf(n.Spec.Taints), "node.kubernetes.io/unschedulable=:NoSchedule") {
		t.Errorf("a cordoned node has the taints %v", keysOf(n.Spec.Taints))
	}
}
