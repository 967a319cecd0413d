package nodes

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
)

func node(name, kubelet string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.NodeInfo.KubeletVersion = kubelet
	return n
}

func static(component, on, version string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: component + "-" + on, Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}},
		Spec: corev1.PodSpec{NodeName: on, Containers: []corev1.Container{
			{Name: "sidecar", Image: "side:v9"}, {Name: component, Image: "registry.k8s.io/" + component + ":" + version}}},
	}
}

func TestObserve(t *testing.T) {
	client := fake.NewClientset(node("cp-1", "v1.34.4"), node("w1", "v1.34.4"),
		static("kube-apiserver", "cp-1", "v1.35.4"), static("etcd", "cp-1", "3.6.6-0"),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-scheduler-cp-1"}, Spec: corev1.PodSpec{NodeName: "cp-1"}})
	client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.35.4"}
	got, err := Observe(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	want := State{Server: "v1.35.4", Kubelets: map[string]string{"cp-1": "v1.34.4", "w1": "v1.34.4"},
		Static: map[string]map[string]string{"kube-apiserver": {"cp-1": "v1.35.4"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}

	client.PrependReactor("list", "nodes", func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("refused") })
	if _, err := Observe(t.Context(), client); err == nil || err.Error() != "versions: list nodes: refused" {
		t.Errorf("Observe = %v", err)
	}
}

// state is a cluster of two control planes and a worker; the versions are those
// of API servers, of the other components, and of kubelets.
func state(api1, api2, others1, others2, kubelet1, kubelet2, worker string) State {
	return State{Server: api1,
		Kubelets: map[string]string{"cp-1": kubelet1, "cp-2": kubelet2, "w1": worker},
		Static: map[string]map[string]string{
			"kube-apiserver":          {"cp-1": api1, "cp-2": api2},
			"kube-controller-manager": {"cp-1": others1, "cp-2": others2},
			"kube-scheduler":          {"cp-1": others1, "cp-2": others2},
		}}
}

func TestSkew(t *testing.T) {
	const o, n = "v1.34.4", "v1.35.4"
	managed := func(server, kubelet string) State {
		return State{Server: server, Kubelets: map[string]string{"w1": kubelet}}
	}
	tests := []struct {
		name string
		s    State
		want []string
	}{
		{"before", state(o, o, o, o, o, o, o), nil},
		{"first control plane upgraded, with its components", state(n, o, n, o, o, o, o), []string{
			"kube-controller-manager on node cp-1 runs v1.35.4, newer than kube-apiserver on cp-2 (v1.34.4)",
			"kube-scheduler on node cp-1 runs v1.35.4, newer than kube-apiserver on cp-2 (v1.34.4)"}},
		{"a kubelet ahead of one API server", state(n, o, o, o, n, o, o), []string{
			"the kubelet of node cp-1 runs v1.35.4, newer than kube-apiserver on cp-2 (v1.34.4): it may turn NotReady"}},
		{"control planes done, kubelets old", state(n, n, n, n, o, o, o), nil},
		{"after", state(n, n, n, n, n, n, n), nil},
		{"a newer patch of the same minor is within the policy", managed("v1.35.2", "v1.35.4"), nil},
		{"three minors older", managed("v1.35.4", "v1.32.0"), nil},
		{"four minors older", managed("v1.35.4", "v1.31.0"), []string{
			"the kubelet of node w1 runs v1.31.0, more than 3 minor versions older than kube-apiserver on the API (v1.35.4)"}},
		{"before 1.25 only two", managed("v1.27.0", "v1.24.0"), []string{
			"the kubelet of node w1 runs v1.24.0, more than 2 minor versions older than kube-apiserver on the API (v1.27.0)"}},
		{"vendors' suffixes", managed("v1.34.2-eks-1234", "v1.34.1-eks-77"), nil},
		{"unreadable", managed("v1.34.2", "latest"), []string{`the kubelet of node w1 reports version "latest", which cannot be read`}},
		{"unreadable server", managed("?", "v1.34.1"), []string{`kube-apiserver on the API has version "?", which cannot be read`}},
		{"API servers too far apart", state("v1.36.1", o, o, o, o, o, o), []string{
			"kube-apiserver on cp-1 runs v1.36.1 and on cp-2 v1.34.4: API servers must be within one minor version",
			"kube-controller-manager on node cp-1 runs v1.34.4, more than one minor version older than kube-apiserver on cp-1 (v1.36.1)",
			"kube-controller-manager on node cp-2 runs v1.34.4, more than one minor version older than kube-apiserver on cp-1 (v1.36.1)",
			"kube-scheduler on node cp-1 runs v1.34.4, more than one minor version older than kube-apiserver on cp-1 (v1.36.1)",
			"kube-scheduler on node cp-2 runs v1.34.4, more than one minor version older than kube-apiserver on cp-1 (v1.36.1)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.s.Skew()); diff != "" {
				t.Errorf("skew (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKubeletAndPlane(t *testing.T) {
	s := state("v1.35.4", "v1.35.4", "v1.35.4", "v1.34.4", "v1.35.4", "v1.34.4", "v1.34.4")
	delete(s.Static["kube-scheduler"], "cp-2")
	tests := []struct {
		what string
		got  []string
		want []string
	}{
		{"kubelet at target", s.Kubelet("cp-1", "v1.35.4"), nil},
		{"kubelet not upgraded", s.Kubelet("w1", "v1.35.4"), []string{"the kubelet of node w1 runs v1.34.4, want v1.35.4"}},
		{"no such node", s.Kubelet("w9", "v1.35.4"), []string{"node w9 is not in the cluster"}},
		{"plane at target", s.Plane("cp-1", "v1.35.4"), nil},
		{"plane half-way", s.Plane("cp-2", "v1.35.4"), []string{
			"kube-controller-manager on node cp-2 runs v1.34.4, want v1.35.4", "node cp-2 runs no kube-scheduler"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}
