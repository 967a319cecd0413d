package mirror

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// roleLabels mark a control plane; the second is kubeadm's before 1.24.
var roleLabels = []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}

func isControlPlane(n *corev1.Node) bool {
	for _, l := range roleLabels {
		if _, ok := n.Labels[l]; ok {
			return true
		}
	}
	return false
}

// groupLabels tell which group a node belongs to, the most telling first.
var groupLabels = []string{
	"kops.k8s.io/instancegroup", "eks.amazonaws.com/nodegroup", "karpenter.sh/nodepool",
	"cloud.google.com/gke-nodepool", "alibabacloud.com/nodepool-id", "kubernetes.azure.com/agentpool",
}

// platforms tell who runs the cluster, by a label of a node or the scheme of
// providerID; the first that matches counts.
var platforms = []struct{ label, scheme, name string }{
	{label: "kops.k8s.io/instancegroup", name: PlatformKops},
	{label: "eks.amazonaws.com/nodegroup", name: PlatformEKS},
	{label: "cloud.google.com/gke-nodepool", name: "GKE"},
	{label: "alibabacloud.com/nodepool-id", name: "ACK"},
	{label: "kubernetes.azure.com/agentpool", name: "AKS"},
	{scheme: "kind", name: "kind"},
	{scheme: "aws", name: "AWS"},
	{scheme: "gce", name: "Google Cloud"},
	{scheme: "azure", name: "Azure"},
	{scheme: "alicloud", name: "Alibaba Cloud"},
}

// managed platforms run the control plane where no node shows it.
var managed = []string{PlatformEKS, "GKE", "ACK", "AKS"}

func (r *reader) describeNodes() {
	kubelets, types, zones, groups, sizes := tally{}, tally{}, tally{}, tally{}, tally{}
	machines, runtimes := tally{}, tally{}
	planes := 0
	var instances []string
	for i := range r.nodes {
		n := &r.nodes[i]
		role := "worker"
		if isControlPlane(n) {
			planes++
			role = "control plane"
		}
		info := n.Status.NodeInfo
		kubelets[info.KubeletVersion]++
		types[n.Labels[corev1.LabelInstanceTypeStable]]++
		zones[n.Labels[corev1.LabelTopologyZone]]++
		groups[firstLabel(n, groupLabels)]++
		sizes[size(n, role)]++
		machines[strings.Join([]string{info.Architecture, info.OSImage, "kernel " + info.KernelVersion}, ", ")]++
		runtimes[info.ContainerRuntimeVersion]++
		if id := instance(n.Spec.ProviderID); id != "" {
			instances = append(instances, id)
		}
	}
	r.observed(FactKubelets, kubelets.String(), "nodeInfo of %s", count(len(r.nodes), "node"))
	r.platform()
	r.countRoles(planes)
	label := func(fact string, t tally, what string) {
		if delete(t, ""); len(t) == 0 {
			r.unknown(fact, "no node has %s", what)
			return
		}
		r.observed(fact, t.String(), "%s of %s", what, count(t.sum(), "node"))
	}
	label(FactGroups, groups, "a group's label")
	label(FactInstanceTypes, types, "the label "+corev1.LabelInstanceTypeStable)
	label(FactZones, zones, "the label "+corev1.LabelTopologyZone)
	r.observed(FactSizes, sizes.String(), "status.capacity of the nodes")
	if len(instances) == 0 {
		r.unknown(FactInstances, "no node has a providerID")
	} else {
		r.observed(FactInstances, fmt.Sprint(len(instances)), "the last segment of providerID: %s", few(instances, 3))
	}
	r.observed(FactMachines, machines.String(), "nodeInfo of the nodes")
	r.observed(FactRuntimes, runtimes.String(), "nodeInfo of the nodes")
	r.podCIDR()
}

// countRoles counts control planes and workers. A managed cluster shows no control
// plane; how many there are is then its provider's secret.
func (r *reader) countRoles(planes int) {
	switch {
	case planes > 0:
		r.observed(FactControlPlanes, fmt.Sprint(planes), "nodes with the label %s or %s", roleLabels[0], roleLabels[1])
	default:
		r.unknown(FactControlPlanes, "no node is a control plane: somebody else runs it, out of sight")
	}
	r.observed(FactWorkers, fmt.Sprint(len(r.nodes)-planes), "nodes that are no control plane")
}

func (r *reader) platform() {
	for _, p := range platforms {
		for i := range r.nodes {
			n := &r.nodes[i]
			if _, ok := n.Labels[p.label]; p.label != "" && ok {
				r.inferred(FactPlatform, p.name, "node %s has the label %s", n.Name, p.label)
				return
			}
			if scheme, _, ok := strings.Cut(n.Spec.ProviderID, "://"); p.scheme != "" && ok && scheme == p.scheme {
				r.inferred(FactPlatform, p.name, "providerID of node %s begins with %s://", n.Name, scheme)
				return
			}
		}
	}
	r.unknown(FactPlatform, "neither labels nor providerID of the nodes name one")
}

func (r *reader) podCIDR() {
	for i := range r.nodes {
		if cidr := r.nodes[i].Spec.PodCIDR; cidr != "" {
			r.observed(FactPodCIDR, cidr, "spec.podCIDR of node %s; other nodes have others of the same size", r.nodes[i].Name)
			return
		}
	}
	r.unknown(FactPodCIDR, "no node has spec.podCIDR: the network plug-in gives addresses itself")
}

func size(n *corev1.Node, role string) string {
	c := n.Status.Capacity
	return fmt.Sprintf("%s of %s CPU and %.1f GiB", role, c.Cpu(), float64(c.Memory().Value())/(1<<30))
}

// instance is the cloud's name of a machine, the last segment of providerID.
func instance(providerID string) string {
	return providerID[strings.LastIndexByte(providerID, '/')+1:]
}

func firstLabel(n *corev1.Node, names []string) string {
	for _, l := range names {
		if v := n.Labels[l]; v != "" {
			return v
		}
	}
	return ""
}

// tally counts values and prints the most frequent first: "a ×3, b ×1".
type tally map[string]int

// String implements fmt.Stringer.
func (t tally) String() string {
	keys := make([]string, 0, len(t))
	for k := range t {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if t[keys[i]] != t[keys[j]] {
			return t[keys[i]] > t[keys[j]]
		}
		return keys[i] < keys[j]
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s ×%d", k, t[k])
	}
	return strings.Join(keys, ", ")
}

func (t tally) sum() (n int) {
	for _, v := range t {
		n += v
	}
	return n
}

// few lists at most n of the names.
func few(names []string, n int) string {
	names = slices.Clone(names)
	slices.Sort(names)
	if more := len(names) - n; more > 0 {
		return strings.Join(names[:n], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// Count words a number of things in English: "1 member", "3 members".
func Count(n int, one string) string { return count(n, one) }

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
