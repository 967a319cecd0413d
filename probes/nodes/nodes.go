// Package nodes asserts that an upgrade landed: that a kubelet and a control
// plane run what they should, and that no version is ahead of what it may be.
// An upgrade that reports success and changes nothing is the oldest failure of
// upgrade tests (kubernetes/kops af93dc360d).
package nodes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/probes"
)

// ControlPlane are the components that kubeadm and kops run on each control
// plane at the cluster's own version.
var ControlPlane = []string{apiServer, "kube-controller-manager", "kube-scheduler"}

const apiServer = "kube-apiserver"

// State is which version runs where.
type State struct {
	// Server is what the API answered; behind a balancer, any one of its servers.
	Server string `json:"server"`
	// Kubelets are the versions by node.
	Kubelets map[string]string `json:"kubelets"`
	// Static are the versions of the control plane's static pods by component
	// and node. It is empty where the control plane is not to be seen (EKS).
	Static map[string]map[string]string `json:"static"`
}

// Observe returns the present state. The error means it could not look.
func Observe(ctx context.Context, client kubernetes.Interface) (State, error) {
	var s State
	v, err := client.Discovery().ServerVersion()
	if err != nil {
		return s, fmt.Errorf("versions: ask the API server for its own: %w", err)
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("versions: list nodes: %w", err)
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("versions: list pods of kube-system: %w", err)
	}
	return Of(v.GitVersion, nodes.Items, pods.Items), nil
}

// Of returns the state that a server's version, the nodes and the pods show.
func Of(server string, nodes []corev1.Node, pods []corev1.Pod) State {
	s := State{Server: server, Kubelets: map[string]string{}, Static: map[string]map[string]string{}}
	for i := range nodes {
		s.Kubelets[nodes[i].Name] = nodes[i].Status.NodeInfo.KubeletVersion
	}
	for i := range pods {
		component, node, image := staticComponent(&pods[i])
		if component == "" {
			continue
		}
		if s.Static[component] == nil {
			s.Static[component] = map[string]string{}
		}
		s.Static[component][node] = probes.ImageVersion(image)
	}
	return s
}

// staticComponent returns which component of the control plane a pod is, where,
// and by which image; "" for any other pod.
func staticComponent(p *corev1.Pod) (component, node, image string) {
	if p.Namespace != metav1.NamespaceSystem || p.Annotations[corev1.MirrorPodAnnotationKey] == "" || len(p.Spec.Containers) == 0 {
		return "", "", ""
	}
	name := strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName)
	if !slices.Contains(ControlPlane, name) {
		return "", "", ""
	}
	i := max(0, slices.IndexFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == name }))
	return name, p.Spec.NodeName, p.Spec.Containers[i].Image
}

// Kubelet returns what is wrong with the kubelet of a node that shall run target.
func (s State) Kubelet(node, target string) []string {
	got, ok := s.Kubelets[node]
	switch {
	case !ok:
		return []string{fmt.Sprintf("node %s is not in the cluster", node)}
	case got != target:
		return []string{fmt.Sprintf("the kubelet of node %s runs %s, want %s", node, got, target)}
	}
	return nil
}

// Plane returns what is wrong with the control plane on a node that shall run
// target: components at another version, and such as are missing there.
func (s State) Plane(node, target string) []string {
	var out []string
	for _, c := range ControlPlane {
		got, ok := s.Static[c][node]
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("node %s runs no %s", node, c))
		case got != target:
			out = append(out, fmt.Sprintf("%s on node %s runs %s, want %s", c, node, got, target))
		}
	}
	return out
}

// Skew returns every breach of the version skew policy
// (https://kubernetes.io/releases/version-skew-policy/), in order of nodes: a
// kubelet is never newer than any API server, and at most three minor versions
// older than any (two for kubelets before 1.25); controller-manager and
// scheduler are never newer than any API server, and at most one minor older;
// API servers are within one minor of each other.
//
// It shall hold before the upgrade, before the first worker and after the last.
// While several control planes are upgraded one after another it need not:
// kubeadm's order brings the first one's kubelet, controller-manager and
// scheduler ahead of the API servers of the others.
func (s State) Skew() []string {
	var out []string
	servers := map[string]string{}
	for node, v := range s.Static[apiServer] {
		servers[node] = v
	}
	if len(servers) == 0 {
		servers["the API"] = s.Server
	}
	oldest, newest, unread := extremes(servers)
	out = append(out, unread...)
	if oldest.v == nil {
		return out
	}
	if newest.v.Minor() > oldest.v.Minor()+1 {
		out = append(out, fmt.Sprintf("kube-apiserver on %s runs %s and on %s %s: API servers must be within one minor version", newest.node, newest.text, oldest.node, oldest.text))
	}
	for _, node := range sorted(s.Kubelets) {
		v, err := version.ParseGeneric(s.Kubelets[node])
		if err != nil {
			out = append(out, fmt.Sprintf("the kubelet of node %s reports version %q, which cannot be read", node, s.Kubelets[node]))
			continue
		}
		allowed := uint(3)
		if v.Minor() < 25 {
			allowed = 2
		}
		switch {
		case oldest.v.LessThan(v) && v.Minor() > oldest.v.Minor():
			out = append(out, fmt.Sprintf("the kubelet of node %s runs %s, newer than kube-apiserver on %s (%s): it may turn NotReady", node, s.Kubelets[node], oldest.node, oldest.text))
		case v.Minor()+allowed < newest.v.Minor():
			out = append(out, fmt.Sprintf("the kubelet of node %s runs %s, more than %d minor versions older than kube-apiserver on %s (%s)", node, s.Kubelets[node], allowed, newest.node, newest.text))
		}
	}
	for _, component := range ControlPlane[1:] {
		for _, node := range sorted(s.Static[component]) {
			text := s.Static[component][node]
			v, err := version.ParseGeneric(text)
			switch {
			case err != nil:
				out = append(out, fmt.Sprintf("%s on node %s has version %q, which cannot be read", component, node, text))
			case v.Minor() > oldest.v.Minor():
				out = append(out, fmt.Sprintf("%s on node %s runs %s, newer than kube-apiserver on %s (%s)", component, node, text, oldest.node, oldest.text))
			case v.Minor()+1 < newest.v.Minor():
				out = append(out, fmt.Sprintf("%s on node %s runs %s, more than one minor version older than kube-apiserver on %s (%s)", component, node, text, newest.node, newest.text))
			}
		}
	}
	return out
}

type running struct {
	node, text string
	v          *version.Version
}

// extremes returns the oldest and the newest of versions by node, and those
// that cannot be read. Of equals it takes the first node by name.
func extremes(versions map[string]string) (oldest, newest running, unread []string) {
	for _, node := range sorted(versions) {
		v, err := version.ParseGeneric(versions[node])
		if err != nil {
			unread = append(unread, fmt.Sprintf("kube-apiserver on %s has version %q, which cannot be read", node, versions[node]))
			continue
		}
		r := running{node, versions[node], v}
		if oldest.v == nil || v.LessThan(oldest.v) {
			oldest = r
		}
		if newest.v == nil || newest.v.LessThan(v) {
			newest = r
		}
	}
	return oldest, newest, unread
}

func sorted(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
