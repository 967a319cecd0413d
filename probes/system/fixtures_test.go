package system

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func node(name string, control bool, with ...func(*corev1.Node)) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	if control {
		n.Labels["node-role.kubernetes.io/control-plane"] = ""
	}
	n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.35.4", ContainerRuntimeVersion: "containerd://2.3.7", OSImage: "Debian", KernelVersion: "6.12", BootID: "boot"}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, w := range with {
		w(&n)
	}
	return n
}

func notReady(n *corev1.Node) {
	n.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "KubeletNotReady", Message: "container runtime is down"}
}

func pod(namespace, name, on, image string, with ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}, CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))}}
	p.Spec.NodeName = on
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: image}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "main"}}}
	for _, w := range with {
		w(&p)
	}
	return p
}

func label(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels[key] = value }
}

func crashing(p *corev1.Pod) {
	p.Status.Conditions[0].Status = corev1.ConditionFalse
	p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	p.Status.ContainerStatuses[0].RestartCount = 7
}

func critical(p *corev1.Pod) { p.Spec.PriorityClassName = "system-node-critical" }

func static(component, on, version string, with ...func(*corev1.Pod)) corev1.Pod {
	return pod("kube-system", component+"-"+on, on, "registry.k8s.io/"+component+":"+version, append([]func(*corev1.Pod){
		critical, label("component", component), func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"} },
	}, with...)...)
}

func daemonSet(namespace, name string, desired, ready int32) appsv1.DaemonSet {
	d := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": name}}
	d.Spec.Template.Spec.PriorityClassName = "system-node-critical"
	d.Status = appsv1.DaemonSetStatus{DesiredNumberScheduled: desired, NumberReady: ready, UpdatedNumberScheduled: desired}
	return d
}

func deployment(namespace, name string, desired, ready int32) appsv1.Deployment {
	d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	d.Spec.Replicas = &desired
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": name}}
	d.Spec.Template.Spec.PriorityClassName = "system-cluster-critical"
	d.Status = appsv1.DeploymentStatus{Replicas: desired, ReadyReplicas: ready, UpdatedReplicas: desired}
	return d
}
