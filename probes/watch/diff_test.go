package watch

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// lines renders changes as "KIND SUBJECT key=value ...", keys in order.
func lines(changes []change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, line(c.kind, c.subject, c.detail))
	}
	return out
}

func line(kind, subject string, detail map[string]string) string {
	s := kind + " " + subject
	for _, k := range slices.Sorted(maps.Keys(detail)) {
		s += fmt.Sprintf(" %s=%q", k, detail[k])
	}
	return s
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func node(name string, with ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}}
	n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.34.4", BootID: "boot-1", ContainerRuntimeVersion: "containerd://2.3.7"}
	n.Status.Conditions = []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"},
	}
	for _, w := range with {
		w(n)
	}
	return n
}

func condition(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) func(*corev1.Node) {
	return func(n *corev1.Node) {
		for i := range n.Status.Conditions {
			if n.Status.Conditions[i].Type == kind {
				n.Status.Conditions[i] = corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message}
				return
			}
		}
	}
}

func TestNodeChanges(t *testing.T) {
	cordoned := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	tests := []struct {
		name          string
		before, after *corev1.Node
		want          []string
	}{
		{"nothing", node("w1"), node("w1"), nil},
		{"cordon", node("w1"), node("w1", cordoned), []string{"cordon node/w1"}},
		{"uncordon", node("w1", cordoned), node("w1"), []string{"uncordon node/w1"}},
		{"kubelet replaced", node("w1"), node("w1", func(n *corev1.Node) { n.Status.NodeInfo.KubeletVersion = "v1.35.4" }),
			[]string{`node-version node/w1 component="kubelet" from="v1.34.4" to="v1.35.4"`}},
		{"runtime replaced", node("w1"), node("w1", func(n *corev1.Node) { n.Status.NodeInfo.ContainerRuntimeVersion = "containerd://2.4.0" }),
			[]string{`node-version node/w1 component="container-runtime" from="containerd://2.3.7" to="containerd://2.4.0"`}},
		{"rebooted", node("w1"), node("w1", func(n *corev1.Node) { n.Status.NodeInfo.BootID = "boot-2" }),
			[]string{`node-rebooted node/w1 from="boot-1" to="boot-2"`}},
		{"not ready", node("w1"), node("w1", condition(corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime is down")),
			[]string{`node-not-ready node/w1 message="container runtime is down" reason="KubeletNotReady" status="False"`}},
		{"silent", node("w1"), node("w1", condition(corev1.NodeReady, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.")),
			[]string{`node-not-ready node/w1 message="Kubelet stopped posting node status." reason="NodeStatusUnknown" status="Unknown"`}},
		{"from silent to not ready is no news", node("w1", condition(corev1.NodeReady, corev1.ConditionUnknown, "", "")),
			node("w1", condition(corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "")), nil},
		{"ready again", node("w1", condition(corev1.NodeReady, corev1.ConditionUnknown, "", "")), node("w1"), []string{"node-ready node/w1"}},
		{"pressure", node("w1"), node("w1", condition(corev1.NodeMemoryPressure, corev1.ConditionTrue, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")),
			[]string{`node-condition node/w1 message="kubelet has insufficient memory available" reason="KubeletHasInsufficientMemory" status="True" type="MemoryPressure"`}},
		{"added, and ready at once", nil, node("w2"), []string{`node-added node/w2 version="v1.34.4"`, "node-ready node/w2"}},
		{"added, not ready yet", nil, node("w2", condition(corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "cni plugin not initialized")),
			[]string{`node-added node/w2 version="v1.34.4"`, `node-not-ready node/w2 message="cni plugin not initialized" reason="KubeletNotReady" status="False"`}},
		{"removed", node("w1"), nil, []string{`node-removed node/w1 version="v1.34.4"`}},
		{"replaced under the same name", node("w1"), node("w1", func(n *corev1.Node) { n.UID = "other"; n.Status.NodeInfo.KubeletVersion = "v1.35.4" }),
			[]string{`node-removed node/w1 version="v1.34.4"`, `node-added node/w1 version="v1.35.4"`, "node-ready node/w1"}},
		{"several at once, in one order", node("w1"), node("w1", cordoned, condition(corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", ""), func(n *corev1.Node) { n.Status.NodeInfo.KubeletVersion = "v1.35.4" }),
			[]string{`node-version node/w1 component="kubelet" from="v1.34.4" to="v1.35.4"`, "cordon node/w1", `node-not-ready node/w1 reason="KubeletNotReady" status="False"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			equal(t, "changes", lines(nodeChanges([]pair[corev1.Node]{{tt.before, tt.after}})), tt.want)
		})
	}
}

func pod(name string, with ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "canary", Name: name, UID: types.UID("uid-" + name)}}
	p.Spec.NodeName = "w1"
	p.Spec.Containers = []corev1.Container{{Name: "canary", Image: "canary:v1"}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.244.1.5",
		Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "canary", Ready: true}}}
	for _, w := range with {
		w(p)
	}
	return p
}

func unready(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions[0] = corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: reason, Message: message}
	}
}

func terminating(p *corev1.Pod) {
	grace := int64(30)
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Unix(1, 0)}, &grace
}

func waiting(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
	}
}

func mirror(version string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.UID = types.UID("uid-" + version)
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash-" + version}
		p.Spec.Containers[0].Image = "registry.k8s.io/kube-apiserver:" + version
	}
}

func TestPodChanges(t *testing.T) {
	restarted := func(count int32, reason string, exit, signal int32) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].RestartCount = count
			p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: reason, ExitCode: exit, Signal: signal}
		}
	}
	unscheduled := func(p *corev1.Pod) {
		p.Spec.NodeName = ""
		p.Status = corev1.PodStatus{Phase: corev1.PodPending}
	}
	tests := []struct {
		name          string
		before, after *corev1.Pod
		want          []string
	}{
		{"nothing", pod("a"), pod("a"), nil},
		{"created", nil, pod("a", unscheduled), nil},
		{"scheduled", pod("a", unscheduled), pod("a", unready("ContainersNotReady", "")), []string{`pod-scheduled pod/canary/a node="w1"`}},
		{"ready", pod("a", unready("ContainersNotReady", "")), pod("a"), []string{`pod-ready pod/canary/a ip="10.244.1.5" node="w1"`}},
		{"seen for the first time when ready", nil, pod("a"),
			[]string{`pod-scheduled pod/canary/a node="w1"`, `pod-ready pod/canary/a ip="10.244.1.5" node="w1"`}},
		{"not ready", pod("a"), pod("a", unready("ContainersNotReady", "containers with unready status: [canary]")),
			[]string{`pod-not-ready pod/canary/a ip="10.244.1.5" message="containers with unready status: [canary]" node="w1" reason="ContainersNotReady"`}},
		{"evicted", pod("a"), pod("a", terminating, func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting"})
		}), []string{`pod-terminating pod/canary/a grace="30s" message="Eviction API: evicting" node="w1" reason="EvictionByEvictionAPI"`}},
		{"deleted by hand", pod("a"), pod("a", terminating), []string{`pod-terminating pod/canary/a grace="30s" node="w1"`}},
		{"gone", pod("a", terminating), nil, []string{`pod-deleted pod/canary/a node="w1"`}},
		{"failed", pod("a"), pod("a", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "The node was low on resource: memory."
		}), []string{`pod-failed pod/canary/a message="The node was low on resource: memory." node="w1" reason="Evicted"`}},
		{"restart", pod("a"), pod("a", restarted(1, "Error", 1, 0)),
			[]string{`restart pod/canary/a container="canary" count="1" exitCode="1" node="w1" reason="Error"`}},
		{"killed for memory", pod("a", restarted(2, "Error", 1, 0)), pod("a", restarted(3, "OOMKilled", 137, 9)),
			[]string{`restart pod/canary/a container="canary" count="3" exitCode="137" node="w1" reason="OOMKilled" signal="9"`}},
		{"no container could be created", pod("a", waiting("ContainerCreating", "")), pod("a", waiting("CreateContainerError", "exec format error")),
			[]string{`pod-waiting pod/canary/a container="canary" message="exec format error" node="w1" reason="CreateContainerError"`}},
		{"kubelet alternates between the two words of a failed pull", pod("a", waiting("ErrImagePull", "not found")), pod("a", waiting("ImagePullBackOff", "Back-off pulling image")), nil},
		{"ordinary waiting", pod("a"), pod("a", waiting("ContainerCreating", "")), nil},
		{"another pod of the same name", pod("a"), pod("a", func(p *corev1.Pod) { p.UID = "other"; p.Spec.NodeName = "w2" }),
			[]string{`pod-deleted pod/canary/a node="w1"`, `pod-scheduled pod/canary/a node="w2"`, `pod-ready pod/canary/a ip="10.244.1.5" node="w2"`}},
		{"image changed in place", pod("a"), pod("a", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "canary:v2" }),
			[]string{`pod-version pod/canary/a container="canary" from="v1" node="w1" to="v2"`}},
		{"static pod made again between two lists", pod("a", mirror("v1.34.4")), pod("a", mirror("v1.35.4")),
			[]string{`pod-deleted pod/canary/a node="w1"`, `pod-version pod/canary/a container="canary" from="v1.34.4" node="w1" to="v1.35.4"`,
				`pod-scheduled pod/canary/a node="w1" version="v1.35.4"`, `pod-ready pod/canary/a ip="10.244.1.5" node="w1"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			equal(t, "changes", lines(newPodDiffer().changes([]pair[corev1.Pod]{{tt.before, tt.after}})), tt.want)
		})
	}
}

// The mirror object of a static pod is deleted and made again: the new version
// must be told all the same, and only once.
func TestStaticPodVersionSurvivesDeletion(t *testing.T) {
	d := newPodDiffer()
	var got []string
	for _, p := range []pair[corev1.Pod]{
		{pod("a", mirror("v1.34.4")), nil},
		{nil, pod("a", mirror("v1.35.4"), unready("", ""))},
		{pod("a", mirror("v1.35.4"), unready("", "")), pod("a", mirror("v1.35.4"))},
		{pod("a", mirror("v1.35.4")), nil},
		{nil, pod("a", mirror("v1.35.4"))},
	} {
		got = append(got, lines(d.changes([]pair[corev1.Pod]{p}))...)
	}
	equal(t, "changes", got, []string{
		`pod-deleted pod/canary/a node="w1"`,
		`pod-version pod/canary/a container="canary" from="v1.34.4" node="w1" to="v1.35.4"`,
		`pod-scheduled pod/canary/a node="w1" version="v1.35.4"`,
		`pod-ready pod/canary/a ip="10.244.1.5" node="w1"`,
		`pod-deleted pod/canary/a node="w1"`,
		`pod-scheduled pod/canary/a node="w1" version="v1.35.4"`,
		`pod-ready pod/canary/a ip="10.244.1.5" node="w1"`,
	})
}

func slice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	port := int32(8080)
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "canary", Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{discoveryv1.LabelServiceName: "canary"}},
		Ports:      []discoveryv1.EndpointPort{{Port: &port}},
		Endpoints:  endpoints,
	}
}

func ep(ip, pod, node string, ready, serving, terminating bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses:  []string{ip},
		NodeName:   &node,
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: "canary", Name: pod},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
	}
}

func TestEndpointChanges(t *testing.T) {
	a, b := ep("10.0.1.1", "a", "w1", true, true, false), ep("10.0.2.1", "b", "w2", true, true, false)
	tests := []struct {
		name  string
		had   []*discoveryv1.EndpointSlice
		batch []pair[discoveryv1.EndpointSlice]
		want  []string
	}{
		{"nothing", []*discoveryv1.EndpointSlice{slice("s", a)}, []pair[discoveryv1.EndpointSlice]{{slice("s", a), slice("s", a)}}, nil},
		{"first endpoint", nil, []pair[discoveryv1.EndpointSlice]{{nil, slice("s", a)}},
			[]string{`endpoint-added endpoint/10.0.1.1:8080 node="w1" pod="canary/a" service="canary"`}},
		{"listed and not ready yet", nil, []pair[discoveryv1.EndpointSlice]{{nil, slice("s", ep("10.0.1.1", "a", "w1", false, false, false))}}, nil},
		{"becomes ready", []*discoveryv1.EndpointSlice{slice("s", ep("10.0.1.1", "a", "w1", false, false, false))},
			[]pair[discoveryv1.EndpointSlice]{{nil, slice("s", a)}},
			[]string{`endpoint-added endpoint/10.0.1.1:8080 node="w1" pod="canary/a" service="canary"`}},
		{"terminates and still serves", []*discoveryv1.EndpointSlice{slice("s", a, b)},
			[]pair[discoveryv1.EndpointSlice]{{slice("s", a, b), slice("s", ep("10.0.1.1", "a", "w1", false, true, true), b)}},
			[]string{`endpoint-removed endpoint/10.0.1.1:8080 node="w1" pod="canary/a" ready="false" service="canary" serving="true" terminating="true"`}},
		{"then leaves the list", []*discoveryv1.EndpointSlice{slice("s", ep("10.0.1.1", "a", "w1", false, true, true), b)},
			[]pair[discoveryv1.EndpointSlice]{{nil, slice("s", b)}}, nil},
		{"gone at once", []*discoveryv1.EndpointSlice{slice("s", a, b)}, []pair[discoveryv1.EndpointSlice]{{slice("s", a, b), slice("s", b)}},
			[]string{`endpoint-removed endpoint/10.0.1.1:8080 gone="true" node="w1" pod="canary/a" service="canary"`}},
		{"the slice is deleted", []*discoveryv1.EndpointSlice{slice("s", a)}, []pair[discoveryv1.EndpointSlice]{{slice("s", a), nil}},
			[]string{`endpoint-removed endpoint/10.0.1.1:8080 gone="true" node="w1" pod="canary/a" service="canary"`}},
		{"moved to another slice, in one list", []*discoveryv1.EndpointSlice{slice("s", a)},
			[]pair[discoveryv1.EndpointSlice]{{slice("s", a), slice("s")}, {nil, slice("s2", a)}}, nil},
		{"replaced: removal before addition", []*discoveryv1.EndpointSlice{slice("s", a)}, []pair[discoveryv1.EndpointSlice]{{slice("s", a), slice("s", b)}},
			[]string{
				`endpoint-removed endpoint/10.0.1.1:8080 gone="true" node="w1" pod="canary/a" service="canary"`,
				`endpoint-added endpoint/10.0.2.1:8080 node="w2" pod="canary/b" service="canary"`,
			}},
		{"conditions that are left out mean ready", nil,
			[]pair[discoveryv1.EndpointSlice]{{nil, slice("s", discoveryv1.Endpoint{Addresses: []string{"fd00::1"}})}},
			[]string{`endpoint-added endpoint/[fd00::1]:8080 service="canary"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newEndpointDiffer()
			for _, s := range tt.had {
				d.learn(s)
			}
			equal(t, "changes", lines(d.changes(tt.batch)), tt.want)
		})
	}
}

func warning(name string, count int32, with ...func(*corev1.Event)) *corev1.Event {
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "canary", Name: name, UID: types.UID("uid-" + name)},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "canary", Name: "a"},
		Type:           corev1.EventTypeWarning, Reason: "BackOff", Message: "Back-off restarting failed container", Count: count,
		Source:        corev1.EventSource{Component: "kubelet", Host: "w1"},
		LastTimestamp: metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	}
	for _, w := range with {
		w(e)
	}
	return e
}

func TestEventsAreCountedUp(t *testing.T) {
	d := newEventDiffer()
	d.learn(warning("old", 40))
	var got []string
	feed := func(e *corev1.Event) {
		got = append(got, lines(d.changes([]pair[corev1.Event]{{nil, e}}))...)
	}
	feed(warning("old", 41))
	for count := int32(1); count <= 6; count++ {
		feed(warning("new", count))
	}
	feed(warning("normal", 1, func(e *corev1.Event) { e.Type = corev1.EventTypeNormal }))
	feed(warning("series", 0, func(e *corev1.Event) {
		e.InvolvedObject = corev1.ObjectReference{Kind: "Node", Name: "w1", Namespace: "default"}
		e.Source, e.LastTimestamp, e.ReportingController = corev1.EventSource{}, metav1.Time{}, "kube-proxy"
		e.Series = &corev1.EventSeries{Count: 3, LastObservedTime: metav1.NewMicroTime(time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC))}
	}))
	got = append(got, "the end:")
	got = append(got, lines(d.rest())...)
	got = append(got, lines(d.rest())...)

	event := func(count int) string {
		return fmt.Sprintf(`kube-event pod/canary/a component="kubelet" count="%d" host="w1" last="2026-01-02T03:04:05Z" message="Back-off restarting failed container" reason="BackOff"`, count)
	}
	equal(t, "changes", got, []string{
		event(1), event(2), event(4),
		`kube-event node/w1 component="kube-proxy" count="3" last="2026-01-02T03:04:06Z" message="Back-off restarting failed container" reason="BackOff"`,
		"the end:", event(41), event(6),
	})
}

func lease(namespace, name, holder string, renewed int64) *coordinationv1.Lease {
	duration := int32(40)
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name)}}
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &holder, &duration
	l.Spec.RenewTime = &metav1.MicroTime{Time: time.Unix(renewed, 0)}
	return l
}

func TestLeaderChanges(t *testing.T) {
	apiserver := lease("kube-system", "apiserver-x1", "apiserver-x1_new", 1)
	apiserver.Labels = map[string]string{corev1.LabelHostname: "cp-1"}
	got := leaderChanges([]pair[coordinationv1.Lease]{
		{lease("kube-system", "kube-scheduler", "cp-1_a", 1), lease("kube-system", "kube-scheduler", "cp-1_a", 2)},
		{lease("kube-system", "kube-controller-manager", "cp-1_a", 1), lease("kube-system", "kube-controller-manager", "cp-2_b", 2)},
		{lease("kube-system", "apiserver-x1", "apiserver-x1_old", 1), apiserver},
		{nil, lease("kube-system", "cloud-controller", "cp-1_c", 1)},
		{lease("kube-system", "cloud-controller", "cp-1_c", 1), nil},
	})
	equal(t, "changes", lines(got), []string{
		`lease lease/kube-system/kube-controller-manager from="cp-1_a" to="cp-2_b"`,
		`lease lease/kube-system/apiserver-x1 from="apiserver-x1_old" hostname="cp-1" to="apiserver-x1_new"`,
		`lease lease/kube-system/cloud-controller to="cp-1_c"`,
	})
}

func TestHeartbeats(t *testing.T) {
	var now time.Duration
	h := newHeartbeats(func() time.Duration { return now })
	renew := func(name string, from, to int64) []string {
		return lines(h.changes([]pair[coordinationv1.Lease]{{lease("kube-node-lease", name, name, from), lease("kube-node-lease", name, name, to)}}))
	}
	silent := func() []string { return lines(h.silent()) }
	h.learn(lease("kube-node-lease", "w1", "w1", 0))
	h.learn(lease("kube-node-lease", "w2", "w2", 0))

	now = 10 * time.Second
	equal(t, "a renewal", renew("w2", 0, 10), nil)
	now = 30 * time.Second
	equal(t, "at the limit", silent(), nil)
	now = 31 * time.Second
	equal(t, "two renewals missed", silent(), []string{`heartbeat-lost node/w1 silent="31s"`})
	equal(t, "told once", silent(), nil)
	equal(t, "an update that renews nothing", renew("w1", 5, 5), nil)
	equal(t, "back", renew("w1", 0, 31), []string{`heartbeat-back node/w1 silent="31s"`})
	now = 50 * time.Second
	h.excuse()
	now = 79 * time.Second
	equal(t, "after a gap of the watch", silent(), nil)
	now = 81 * time.Second
	equal(t, "silent after the gap too", silent(), []string{`heartbeat-lost node/w1 silent="31s"`, `heartbeat-lost node/w2 silent="31s"`})
	h.changes([]pair[coordinationv1.Lease]{{lease("kube-node-lease", "w1", "w1", 1), nil}})
	now = 100 * time.Second
	equal(t, "a removed node", renew("w2", 10, 100), []string{`heartbeat-back node/w2 silent="50s"`})
}
