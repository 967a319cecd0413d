package step

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/forecast"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// TestCheckClusterWarnsAndGoesOn: what would block an upgrade warns, and the
// rehearsal goes on.
func TestCheckClusterWarnsAndGoesOn(t *testing.T) {
	yes, none := true, intstr.FromInt32(0)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}}
	node.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.34.4", ContainerRuntimeVersion: "containerd://2.1.4"}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "rehearse", Name: "canary-0", Labels: map[string]string{"app": "canary"}, OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "canary", UID: "u", Controller: &yes}}}}
	pod.Spec.NodeName = "w1"
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "rehearse", Name: "canary"}}
	budget.Spec = policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "canary"}}}
	budget.Status.ExpectedPods = 1
	client := fake.NewClientset(node, pod, budget)
	client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.34.4"}
	dyn := fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}: "APIServiceList"})
	env := &Env{Cluster: &cluster.Cluster{Client: client, Dynamic: dyn}, Run: &record.Run{}, Log: slog.New(slog.DiscardHandler)}
	s := CheckCluster{To: "v1.35.4", Roll: &forecast.Options{Strategy: "in-place"}}
	if err := s.Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range env.Run.Findings {
		got = append(got, f.Severity+" "+f.ID+" "+f.Object)
		if f.ID == "drain-stops" {
			got = append(got, f.Cause)
		}
	}
	if diff := cmp.Diff([]string{
		"warn network-unknown cluster",
		"warn budget-allows-none poddisruptionbudget/rehearse/canary",
		"warn no-room node/w1",
		"warn drain-stops node/w1",
		"The drain of node w1 will stop at pod rehearse/canary-0: budget canary allows 0 of 1: 1 are healthy and 1 must be. A preflight would not let this upgrade begin; the rehearsal goes on, to see what happens.",
	}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if want := "Check the cluster for what would stop the upgrade, and foretell its drains"; s.Describe() != want {
		t.Errorf("Describe = %q, want %q", s.Describe(), want)
	}
}
