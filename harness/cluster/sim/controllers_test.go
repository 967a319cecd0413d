package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
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

func TestDeploymentRollsWithinItsLimits(t *testing.T) {
	c := still(t, 1, 2)
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: ptr(int32(4)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}}}
	d.Name = "x"
	d.Spec.Template.Labels = map[string]string{"app": "x"}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: "old"}}
	d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: ptr(intstr.FromInt32(1)), MaxUnavailable: ptr(intstr.FromInt32(0))}
	if _, err := c.api.create(resDeployments, "default", d, false); err != nil {
		t.Fatal(err)
	}
	round := func() {
		c.run(t, c.syncDeployments, c.syncReplicaSets, c.schedule)
		// What was told to go has gone by the next round.
		for _, p := range c.pods("default", "app=x") {
			if p.DeletionTimestamp != nil {
				if _, err := c.store.Delete(resPods, p.Namespace, p.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	round()
	round()
	c.runAll(t, c.pods("default", "app=x"), true)
	round()
	round()
	if s := mustGet[*appsv1.Deployment](t, c, resDeployments, "default", "x").Status; s.AvailableReplicas != 4 || s.UpdatedReplicas != 4 {
		t.Fatalf("status %+v, want 4 available", s)
	}
	if err := update(c.store, resDeployments, "default", "x", func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = "new"
		d.Generation++
	}); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		round()
		pods := c.pods("default", "app=x")
		ready := 0
		for _, p := range pods {
			if isReady(p) {
				ready++
			}
		}
		if len(pods) > 5 || ready < 4 {
			t.Fatalf("%d pods of which %d are ready: want at most 5 and at least 4", len(pods), ready)
		}
		c.runAll(t, pods, true)
	}
	for _, p := range c.pods("default", "app=x") {
		if p.Spec.Containers[0].Image != "new" {
			t.Errorf("pod %s still has image %s", p.Name, p.Spec.Containers[0].Image)
		}
		rs := mustGet[*appsv1.ReplicaSet](t, c, resReplicaSets, "default", metav1.GetControllerOf(p).Name)
		if up := metav1.GetControllerOf(rs); up == nil || up.Name != "x" || up.Kind != "Deployment" {
			t.Errorf("ReplicaSet %s is owned by %v", rs.Name, up)
		}
	}
	// Its pods go with it.
	if err := c.api.delete(resDeployments, "default", "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.collectGarbage, c.collectGarbage)
	for _, p := range c.pods("default", "app=x") {
		if p.DeletionTimestamp == nil {
			t.Errorf("pod %s outlives its Deployment", p.Name)
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

func TestBudgetStatus(t *testing.T) {
	owner := func(c *simulation, replicas int32) []*corev1.Pod {
		rs := &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Replicas: &replicas}}
		rs.Namespace, rs.Name = "default", "rs"
		o, err := c.store.Create(resReplicaSets, rs)
		if err != nil {
			t.Fatal(err)
		}
		var pods []*corev1.Pod
		for i := range replicas {
			p := newPod(o.(*appsv1.ReplicaSet), "ReplicaSet", "apps/v1", "default", "p-", &corev1.PodTemplateSpec{})
			p.Name = fmt.Sprint("p", i)
			setPodCondition(p, corev1.PodReady, corev1.ConditionTrue, "", "")
			pods = append(pods, p)
		}
		return pods
	}
	value := func(s string) *intstr.IntOrString { v := intstr.Parse(s); return &v }
	for _, tt := range []struct {
		name             string
		min, max         string
		replicas         int32
		unready, leaving int
		allowed, desired int32
	}{
		{name: "maxUnavailable 1 of 3", max: "1", replicas: 3, allowed: 1, desired: 2},
		{name: "one is not ready", max: "1", replicas: 3, unready: 1, allowed: 0, desired: 2},
		{name: "one is leaving", max: "1", replicas: 3, leaving: 1, allowed: 0, desired: 2},
		{name: "maxUnavailable 0", max: "0", replicas: 3, allowed: 0, desired: 3},
		{name: "maxUnavailable 50% of 3 rounds up", max: "50%", replicas: 3, allowed: 2, desired: 1},
		{name: "minAvailable 2 of 3", min: "2", replicas: 3, allowed: 1, desired: 2},
		{name: "minAvailable 100%", min: "100%", replicas: 2, allowed: 0, desired: 2},
		{name: "a single replica", max: "1", replicas: 1, allowed: 1, desired: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := still(t, 1, 1)
			pods := owner(c, tt.replicas)
			for _, p := range pods[:tt.unready] {
				setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, "", "")
			}
			for _, p := range pods[:tt.leaving] {
				p.DeletionTimestamp = ptr(metav1.Now())
			}
			b := &policyv1.PodDisruptionBudget{}
			if tt.min != "" {
				b.Spec.MinAvailable = value(tt.min)
			}
			if tt.max != "" {
				b.Spec.MaxUnavailable = value(tt.max)
			}
			b.Generation = 7
			s := c.budgetStatus(b, pods)
			if s.DisruptionsAllowed != tt.allowed || s.DesiredHealthy != tt.desired || s.ExpectedPods != tt.replicas || s.ObservedGeneration != 7 {
				t.Errorf("allowed %d, desired %d, expected %d, observed %d; want %d, %d, %d, 7",
					s.DisruptionsAllowed, s.DesiredHealthy, s.ExpectedPods, s.ObservedGeneration, tt.allowed, tt.desired, tt.replicas)
			}
		})
	}
}

func TestEndpointsAndRulesFollowPods(t *testing.T) {
	c := still(t, 1, 2)
	s := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "x"},
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: 30080}}}}
	s.Name = "x"
	if _, err := c.api.create(resServices, "default", s, false); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a", "b"} {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "t-worker", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		p.Name, p.Labels = n, map[string]string{"app": "x"}
		if _, err := c.api.create(resPods, "default", p, false); err != nil {
			t.Fatal(err)
		}
	}
	c.runAll(t, c.pods("default", "app=x"), true)
	rules := func() string {
		c.run(t, c.syncEndpointSlices)
		var out []string
		for _, e := range c.proxy("t-worker2").compute()[nodePortKey(30080)].endpoints {
			out = append(out, fmt.Sprintf("%s:%d", e.ip, e.port))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	if got := rules(); got != "10.244.9.1:8080 10.244.9.2:8080" {
		t.Errorf("two ready pods give %s", got)
	}
	leave := func(name string) {
		if err := c.api.delete(resPods, "default", name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	leave("a")
	if got := rules(); got != "10.244.9.2:8080" {
		t.Errorf("with one leaving: %s", got)
	}
	leave("b")
	if got := rules(); got != "10.244.9.1:8080 10.244.9.2:8080" {
		t.Errorf("with all leaving, those that serve get the traffic: %s", got)
	}
	for _, es := range list[*discoveryv1.EndpointSlice](c.store, resEndpointSlices, "default") {
		if es.Labels[discoveryv1.LabelServiceName] != "x" {
			continue
		}
		for _, e := range es.Endpoints {
			if *e.Conditions.Ready || !*e.Conditions.Serving || !*e.Conditions.Terminating {
				t.Errorf("endpoint %s: ready %t, serving %t, terminating %t", e.TargetRef.Name, *e.Conditions.Ready, *e.Conditions.Serving, *e.Conditions.Terminating)
			}
		}
	}
	c.runAll(t, c.pods("default", "app=x"), false)
	if got := rules(); got != "" {
		t.Errorf("with none serving: %s", got)
	}
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
