package system

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// networks are the DaemonSets by which a network plug-in is recognised. The
// order matters: clusters that route with one and enforce policy with another
// run both, and the one that routes comes first.
var networks = []struct{ daemonSet, network string }{
	{"kube-system/cilium", "cilium"},
	{"kube-system/aws-node", "aws-vpc-cni"},
	{"kube-system/canal", "canal"},
	{"kube-system/calico-node", "calico"},
	{"calico-system/calico-node", "calico"},
	{"kube-flannel/kube-flannel-ds", "flannel"},
	{"kube-system/kube-flannel-ds", "flannel"},
	{"kube-system/kindnet", "kindnet"},
	{"kube-system/kube-router", "kube-router"},
	{"kube-system/kopeio-networking-agent", "kopeio"},
	{"kube-system/weave-net", "weave-net"},
	{"kube-system/antrea-agent", "antrea"},
	{"ovn-kubernetes/ovnkube-node", "ovn-kubernetes"},
	{"openshift-ovn-kubernetes/ovnkube-node", "ovn-kubernetes"},
}

// network returns the network plug-in's name; see Network.
func (v inventory) network() string {
	name, _ := Network(v.daemonSets, v.nodes)
	return name
}

// Network returns the network plug-in's name and the DaemonSet that it was
// recognised by. A cluster that runs none of those known, but gives its nodes
// pod ranges, uses kubenet; otherwise the name is "unknown".
func Network(daemonSets []appsv1.DaemonSet, nodes []corev1.Node) (string, *appsv1.DaemonSet) {
	for _, n := range networks {
		i := slices.IndexFunc(daemonSets, func(d appsv1.DaemonSet) bool { return d.Namespace+"/"+d.Name == n.daemonSet })
		if i >= 0 {
			return n.network, &daemonSets[i]
		}
	}
	if slices.ContainsFunc(nodes, func(n corev1.Node) bool { return n.Spec.PodCIDR != "" }) {
		return "kubenet", nil
	}
	return "unknown", nil
}
