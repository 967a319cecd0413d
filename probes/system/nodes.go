package system

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// roleLabels mark a control plane; the second is what kops and old kubeadm set.
var roleLabels = []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}

// IsControlPlane reports whether n is labelled as a control plane.
func IsControlPlane(n *corev1.Node) bool {
	return slices.ContainsFunc(roleLabels, func(l string) bool { _, ok := n.Labels[l]; return ok })
}

// NodeReady returns whether the node is Ready, and if not, why.
func NodeReady(n *corev1.Node) (bool, string) {
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if c.Status == corev1.ConditionTrue {
			return true, ""
		}
		return false, join(c.Reason, c.Message)
	}
	return false, "its condition Ready is not reported"
}

// NodeState describes a node as its API object does.
func NodeState(n *corev1.Node) record.Node {
	info := n.Status.NodeInfo
	ready, _ := NodeReady(n)
	return record.Node{
		Name: n.Name, ControlPlane: IsControlPlane(n), Ready: ready, Unschedulable: n.Spec.Unschedulable,
		KubeletVersion: info.KubeletVersion, Runtime: info.ContainerRuntimeVersion,
		OSImage: info.OSImage, Kernel: info.KernelVersion, BootID: info.BootID,
	}
}

// recordNodes describes the nodes. The version of kube-proxy is that of its pod:
// what the Node says of it is a copy of the kubelet's, and gone since 1.33.
func (v inventory) recordNodes() []record.Node {
	proxies := map[string]string{}
	for _, p := range v.component(kubeProxy).Instances {
		proxies[p.Node] = p.Version
	}
	out := make([]record.Node, 0, len(v.nodes))
	for i := range v.nodes {
		n := NodeState(&v.nodes[i])
		n.KubeProxyVersion = proxies[n.Name]
		out = append(out, n)
	}
	return out
}

func (v inventory) controlPlanes() []string {
	var out []string
	for i := range v.nodes {
		if IsControlPlane(&v.nodes[i]) {
			out = append(out, v.nodes[i].Name)
		}
	}
	return out
}

func (v inventory) nodeNames() []string {
	out := make([]string, 0, len(v.nodes))
	for i := range v.nodes {
		out = append(out, v.nodes[i].Name)
	}
	return out
}
