package forecast

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/probes/preflight"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// state has n workers with room for ten pods each.
func state(n int) *preflight.State {
	s := &preflight.State{Format: preflight.Format}
	for i := range n {
		s.Nodes = append(s.Nodes, worker(fmt.Sprintf("w%d", i+1)))
	}
	return s
}

func worker(name string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("10")}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	return n
}

// deploy adds a Deployment whose pods are on the nodes, and returns its pods.
func deploy(s *preflight.State, name string, on ...string) []*corev1.Pod {
	yes, replicas := true, int32(len(on))
	d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)}}
	d.Spec.Replicas = &replicas
	r := appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name + "-1", UID: types.UID(name + "-1"),
		OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: name, UID: d.UID, Controller: &yes}}}}
	r.Spec.Replicas = &replicas
	s.Deployments, s.ReplicaSets = append(s.Deployments, d), append(s.ReplicaSets, r)
	first := len(s.Pods)
	for i, node := range on {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("%s-1-%d", name, i), UID: types.UID(fmt.Sprintf("%s-1-%d", name, i)), Labels: map[string]string{"app": name},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: r.Name, UID: r.UID, Controller: &yes}}}}
		p.Spec.NodeName = node
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		s.Pods = append(s.Pods, p)
	}
	var out []*corev1.Pod
	for i := first; i < len(s.Pods); i++ {
		out = append(out, &s.Pods[i])
	}
	return out
}

func guard(s *preflight.State, name, app string, with func(*policyv1.PodDisruptionBudgetSpec)) {
	b := policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	with(&b.Spec)
	s.Budgets = append(s.Budgets, b)
}

func minAvailable(v string) func(*policyv1.PodDisruptionBudgetSpec) {
	return func(b *policyv1.PodDisruptionBudgetSpec) { x := intstr.Parse(v); b.MinAvailable = &x }
}

func maxUnavailable(v string) func(*policyv1.PodDisruptionBudgetSpec) {
	return func(b *policyv1.PodDisruptionBudgetSpec) { x := intstr.Parse(v); b.MaxUnavailable = &x }
}

func keepApart(pods []*corev1.Pod) {
	for _, p := range pods {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}, TopologyKey: corev1.LabelHostname}}}}
	}
}

func unready(pods []*corev1.Pod) {
	for _, p := range pods {
		p.Status.Conditions[0].Status = corev1.ConditionFalse
	}
}

// told renders a roll's lines but the head.
func told(t *testing.T, s *preflight.State, o Options) string {
	t.Helper()
	r, err := Of(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(r.Lines()[1:], "\n")
}

func TestWhereDrainsStop(t *testing.T) {
	const goesOn = "The roll ends here. If somebody uncordoned %s, left what held it there and went on:\n"
	tests := []struct {
		name  string
		setup func(*preflight.State)
		force bool
		want  string
	}{
		{"nothing there", func(*preflight.State) {}, true, "w1: drains, 0 pods\nw2: drains, 0 pods\nw3: drains, 0 pods"},
		{"a budget that allows one", func(s *preflight.State) { deploy(s, "web", "w1", "w2"); guard(s, "web", "web", maxUnavailable("1")) }, true,
			"w1: drains, 1 pod\nw2: drains, 1 pod\nw3: drains, 1 pod"},
		{"both on one node, one at a time", func(s *preflight.State) { deploy(s, "web", "w1", "w1"); guard(s, "web", "web", minAvailable("1")) }, true,
			"w1: drains, 2 pods\nw2: drains, 1 pod\nw3: drains, 1 pod"},
		{"minAvailable is replicas", func(s *preflight.State) { deploy(s, "web", "w2", "w3"); guard(s, "web", "web", minAvailable("2")) }, true,
			"w1: drains, 0 pods\nw2: STOPS at pod shop/web-1-0: budget web allows 0 of 2: 2 are healthy and 2 must be\n" + fmt.Sprintf(goesOn, "w2") + "w3: STOPS at pod shop/web-1-1: budget web allows 0 of 2: 2 are healthy and 2 must be"},
		{"single replica with a budget", func(s *preflight.State) { deploy(s, "web", "w3"); guard(s, "web", "web", minAvailable("50%")) }, true,
			"w1: drains, 0 pods\nw2: drains, 0 pods\nw3: STOPS at pod shop/web-1-0: budget web allows 0 of 1: 1 are healthy and 1 must be"},
		{"maxUnavailable 0", func(s *preflight.State) { deploy(s, "web", "w3", "w3"); guard(s, "web", "web", maxUnavailable("0%")) }, true,
			"w1: drains, 0 pods\nw2: drains, 0 pods\nw3: STOPS at pod shop/web-1-0: budget web allows 0 of 2: 2 are healthy and 2 must be; and at 1 pod more"},
		{"two budgets", func(s *preflight.State) {
			deploy(s, "web", "w3", "w2")
			guard(s, "a", "web", maxUnavailable("1"))
			guard(s, "b", "web", maxUnavailable("1"))
		}, true, "w1: drains, 0 pods\nw2: STOPS at pod shop/web-1-1: budgets a and b select it, and the API refuses to evict a pod with more than one\n" + fmt.Sprintf(goesOn, "w2") +
			"w3: STOPS at pod shop/web-1-0: budgets a and b select it, and the API refuses to evict a pod with more than one"},
		{"unready and guarded", func(s *preflight.State) {
			unready(deploy(s, "web", "w3", "w3"))
			guard(s, "web", "web", minAvailable("1"))
		}, true,
			"w1: drains, 0 pods\nw2: drains, 0 pods\nw3: STOPS at pod shop/web-1-0: budget web allows 0 of 2: 0 are healthy and 1 must be; and at 1 pod more"},
		{"unready, and let go", func(s *preflight.State) {
			unready(deploy(s, "web", "w3", "w3"))
			guard(s, "web", "web", func(b *policyv1.PodDisruptionBudgetSpec) {
				minAvailable("1")(b)
				always := policyv1.AlwaysAllow
				b.UnhealthyPodEvictionPolicy = &always
			})
		}, true, "w1: drains, 0 pods\nw2: drains, 0 pods\nw3: drains, 2 pods"},
		{"one unready of three, enough are healthy", func(s *preflight.State) {
			unready(deploy(s, "web", "w3", "w1", "w2")[:1])
			guard(s, "web", "web", minAvailable("2"))
		}, true,
			// The ready ones must stay until the first is replaced by a ready one.
			"w1: STOPS at pod shop/web-1-1: budget web allows 0 of 3: 2 are healthy and 2 must be\n" + fmt.Sprintf(goesOn, "w1") +
				"w2: STOPS at pod shop/web-1-2: budget web allows 0 of 3: 2 are healthy and 2 must be\nw3: drains, 1 pod"},
		{"kept apart on every node", func(s *preflight.State) {
			keepApart(deploy(s, "web", "w1", "w2", "w3"))
			guard(s, "web", "web", maxUnavailable("1"))
		}, true,
			// Each goes, waits, and comes back when the node is there again.
			"w1: drains, 1 pod\nw2: drains, 1 pod\nw3: drains, 1 pod"},
		{"a bare pod, deleted", func(s *preflight.State) { addBare(s, "w2") }, true, "w1: drains, 0 pods\nw2: drains, 1 pod; lost: shop/alone\nw3: drains, 0 pods"},
		{"a bare pod, refused", func(s *preflight.State) { addBare(s, "w2"); deploy(s, "web", "w2") }, false,
			"w1: drains, 0 pods\nw2: STOPS at pod shop/alone: it belongs to no controller, and a drain without --force refuses to delete it, and with it the whole drain\n" + fmt.Sprintf(goesOn, "w2") + "w3: drains, 0 pods"},
		{"a single replica without a budget", func(s *preflight.State) { deploy(s, "web", "w2") }, true,
			"w1: drains, 0 pods\nw2: drains, 1 pod; away for a while: deployment/shop/web\nw3: drains, 0 pods"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := state(3)
			tt.setup(s)
			if diff := cmp.Diff(tt.want, told(t, s, Options{Strategy: scenarios.StrategyInPlace, Force: tt.force})); diff != "" {
				t.Errorf("forecast (-want +got):\n%s", diff)
			}
		})
	}
}

func addBare(s *preflight.State, node string) {
	deploy(s, "gone", node)
	p := &s.Pods[len(s.Pods)-1]
	p.Name, p.OwnerReferences, p.Labels = "alone", nil, map[string]string{"app": "alone"}
	s.Deployments, s.ReplicaSets = nil, nil
}

// TestAntiAffinityBlocksTheNextDrain: two pods must be apart, a third node is
// full, so the second drain waits for the first one's pod.
func TestAntiAffinityBlocksTheNextDrain(t *testing.T) {
	s := state(2)
	keepApart(deploy(s, "web", "w1", "w2"))
	guard(s, "web", "web", maxUnavailable("1"))
	// A pool migration gives each a new home.
	if got, want := told(t, s, Options{Strategy: scenarios.StrategyPoolMigration, Force: true}), "w1: drains, 1 pod\nw2: drains, 1 pod"; got != want {
		t.Errorf("pool migration: %s, want %s", got, want)
	}
	// Both at once: the second has nowhere to go and the budget holds it.
	want := "w1 (with w2): drains, 1 pod\nw2 (with w1): STOPS at pod shop/web-1-1: budget web allows 0 of 2: 1 are healthy and 1 must be; pod shop/web-1-0' waits for a node"
	if got := told(t, s, Options{Strategy: scenarios.StrategyInPlace, MaxUnavailable: 2, Force: true}); got != want {
		t.Errorf("in place, both together:\n%s, want\n%s", got, want)
	}
	r, err := Of(s, Options{Strategy: scenarios.StrategyInPlace, MaxUnavailable: 2, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, f := range r.Findings() {
		ids = append(ids, f.Severity+" "+f.ID+" "+f.Object)
	}
	if diff := cmp.Diff([]string{"warn drain-may-stop node/w2"}, ids); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestStrategies(t *testing.T) {
	s := state(3)
	deploy(s, "web", "w1", "w2", "w3")
	guard(s, "web", "web", maxUnavailable("1"))
	cp := worker("cp1")
	cp.Labels["node-role.kubernetes.io/control-plane"] = ""
	cp.Spec.Taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
	s.Nodes = append(s.Nodes, cp)
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Strategy: scenarios.StrategyReplace, MaxSurge: 1}, "cp1: drains, 0 pods\nw1: drains, 1 pod\nw2: drains, 1 pod\nw3: drains, 1 pod"},
		{Options{Strategy: scenarios.StrategyReplace, MaxSurge: 2, MaxUnavailable: 1}, "cp1: drains, 0 pods\nw1 (with w2, w3): drains, 1 pod\nw2 (with w1, w3): drains, 1 pod\nw3 (with w1, w2): drains, 1 pod"},
		{Options{Strategy: scenarios.StrategyPoolMigration}, "cp1: drains, 0 pods\nw1: drains, 1 pod\nw2: drains, 1 pod\nw3: drains, 1 pod"},
		{Options{Strategy: scenarios.StrategyInPlace, MaxUnavailable: 1, ExtraWorkers: 1}, "cp1: drains, 0 pods\nw1: drains, 1 pod\nw2: drains, 1 pod\nw3: drains, 1 pod\nextra-1: drains, 1 pod"},
	} {
		if got := told(t, s, tt.o); got != tt.want {
			t.Errorf("%+v:\n%s\nwant\n%s", tt.o, got, tt.want)
		}
	}
	if _, err := Of(s, Options{Strategy: "blue-green"}); err == nil || err.Error() != `forecast: strategy "blue-green" is unknown; accepted: in-place, replace, pool-migration` {
		t.Errorf("Of = %v", err)
	}
	s.NotRead = map[preflight.Resource]string{preflight.Budgets: "forbidden"}
	if _, err := Of(s, Options{}); err == nil || err.Error() != "forecast: it takes the cluster's disruption budgets: forbidden" {
		t.Errorf("Of = %v", err)
	}
}

// TestVolumeTiedToANodeThatGoes: replaced nodes take local volumes with them.
func TestVolumeTiedToANodeThatGoes(t *testing.T) {
	s := state(2)
	p := deploy(s, "db", "w1")[0]
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	p.Spec.PriorityClassName = "system-cluster-critical"
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"}}
	claim.Spec.VolumeName = "pv"
	v := corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"w1"}}}}}}}
	s.Claims, s.Volumes = []corev1.PersistentVolumeClaim{claim}, []corev1.PersistentVolume{v}
	ids := func(o Options) []string {
		r, err := Of(s, o)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range r.Findings() {
			out = append(out, f.Severity+" "+f.ID+" "+f.Object+": "+f.Cause)
		}
		return out
	}
	if diff := cmp.Diff([]string{"warn workload-away deployment/shop/db: No pod of deployment/shop/db will be ready for a while during the drain of node w1."}, ids(Options{})); diff != "" {
		t.Errorf("in place (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"block validation-stops node/w1: The validation after node w1 will wait in vain for pod shop/db-1-0', which finds no node: 2 without its volume.",
		"warn pod-homeless pod/shop/db-1-0: After the drain of node w1, pod shop/db-1-0' will find no node: 2 without its volume.",
		"warn workload-away deployment/shop/db: No pod of deployment/shop/db will be ready for a while during the drain of node w1.",
	}, ids(Options{Strategy: scenarios.StrategyReplace, MaxSurge: 1})); diff != "" {
		t.Errorf("replace (-want +got):\n%s", diff)
	}
}

func TestSchedulerRules(t *testing.T) {
	spread := corev1.TopologySpreadConstraint{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}
	full := func(s *preflight.State) { s.Nodes[1].Status.Allocatable[corev1.ResourcePods] = resource.MustParse("0") }
	tests := []struct {
		name string
		with func(*preflight.State, *corev1.Pod)
		want string // why w2 does not take a pod of w1, or ""
	}{
		{"fits", func(*preflight.State, *corev1.Pod) {}, ""},
		{"cordoned", func(s *preflight.State, _ *corev1.Pod) { s.Nodes[1].Spec.Unschedulable = true }, "1 cordoned"},
		{"not ready", func(s *preflight.State, _ *corev1.Pod) {
			s.Nodes[1].Status.Conditions[0].Status = corev1.ConditionUnknown
		}, "1 not ready"},
		{"tainted", func(s *preflight.State, _ *corev1.Pod) {
			s.Nodes[1].Spec.Taints = []corev1.Taint{{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}}
		}, "1 tainted"},
		{"tainted and tolerated", func(s *preflight.State, p *corev1.Pod) {
			s.Nodes[1].Spec.Taints = []corev1.Taint{{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}}
			p.Spec.Tolerations = []corev1.Toleration{{Key: "gpu", Value: "yes"}}
		}, ""},
		{"node selector", func(_ *preflight.State, p *corev1.Pod) {
			p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "w1"}
		}, "1 outside its node affinity"},
		{"too many pods", func(s *preflight.State, _ *corev1.Pod) { full(s) }, "1 without room"},
		{"a resource of its own", func(_ *preflight.State, p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}}}}
		}, "1 without room"},
		{"an init container's request", func(_ *preflight.State, p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5")}}}}
		}, "1 without room"},
		{"topology spread, where the other node has one", func(s *preflight.State, p *corev1.Pod) {
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{spread}
		}, ""},
		{"pods that it must be beside", func(_ *preflight.State, p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}, TopologyKey: corev1.LabelHostname}}}}
		}, "1 without pods that it must be beside"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := state(2)
			tt.with(s, deploy(s, "web", "w1")[0])
			c := newCluster(s)
			p := c.pods[0]
			c.evict(p)
			c.nodes = c.nodes[1:]
			c.look()
			_, got := c.place(c.pods[0])
			if got != tt.want {
				t.Errorf("place says %q, want %q", got, tt.want)
			}
		})
	}
}

// TestGuideDescribesEveryFinding holds IDs and docs/guides/preflight.md together.
func TestGuideDescribesEveryFinding(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/preflight.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range IDs {
		if !strings.Contains(string(guide), "| `"+id+"` |") {
			t.Errorf("docs/guides/preflight.md has no row for %s", id)
		}
	}
}

// TestLargeCluster bounds the work by counting, not by the clock: the forecast of
// 200 nodes must end within the test's time even on a slow machine.
func TestLargeCluster(t *testing.T) {
	s := state(200)
	for i := range 250 {
		name := fmt.Sprintf("web%d", i)
		keepApart(deploy(s, name, fmt.Sprintf("w%d", i%200+1), fmt.Sprintf("w%d", (i+70)%200+1), fmt.Sprintf("w%d", (i+140)%200+1)))
		guard(s, name, name, maxUnavailable("1"))
	}
	r, err := Of(s, Options{Strategy: scenarios.StrategyReplace, MaxSurge: 1, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Drains) != 200 || r.Stops() {
		t.Errorf("%d drains, stops %t: %q", len(r.Drains), r.Stops(), r.Findings())
	}
}
