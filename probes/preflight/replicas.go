package preflight

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// workload is what Deployments and StatefulSets have in common here.
type workload struct {
	kind, namespace, name string
	replicas              int32
	selector              *metav1.LabelSelector
}

// singleReplicas finds workloads that are down while one node is drained:
// because they have one replica, or because all run on the same node and no
// budget keeps them from being evicted together. The system's own namespaces
// are left to their maintainers.
func singleReplicas(s *State) []record.Finding {
	var out []record.Finding
	for _, w := range workloads(s) {
		if slices.Contains(system.Namespaces, w.namespace) || w.replicas == 0 {
			continue
		}
		name := w.namespace + "/" + w.name
		f := record.Finding{Severity: record.SeverityWarn, Object: lower(w.kind) + "/" + name}
		if w.replicas == 1 {
			f.ID = "single-replica"
			f.Cause = fmt.Sprintf("%s %s has one replica: it is down from the eviction of its pod until another one is ready.", w.kind, name)
			f.Remedy = "Run at least two replicas on different nodes, with a PodDisruptionBudget of maxUnavailable: 1."
			out = append(out, f)
			continue
		}
		if node, all := onOneNode(s, w); all && !budgeted(s, w) {
			f.ID = "replicas-on-one-node"
			f.Cause = fmt.Sprintf("All %d replicas of %s %s run on node %s and no budget protects them: its drain evicts them all at once.", w.replicas, w.kind, name, node)
			f.Remedy = "Spread them with topologySpreadConstraints over kubernetes.io/hostname, and add a PodDisruptionBudget of maxUnavailable: 1."
			out = append(out, f)
		}
	}
	return out
}

func workloads(s *State) []workload {
	out := make([]workload, 0, len(s.Deployments)+len(s.StatefulSets))
	for i := range s.Deployments {
		d := &s.Deployments[i]
		out = append(out, workload{"Deployment", d.Namespace, d.Name, replicas(d.Spec.Replicas), d.Spec.Selector})
	}
	for i := range s.StatefulSets {
		d := &s.StatefulSets[i]
		out = append(out, workload{"StatefulSet", d.Namespace, d.Name, replicas(d.Spec.Replicas), d.Spec.Selector})
	}
	return out
}

// replicas reads a number of replicas, of which none given means one.
func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// onOneNode returns the node on which all living pods of a workload run, where
// there is one and the workload has at least two pods.
func onOneNode(s *State, w workload) (string, bool) {
	node, n := "", 0
	for _, i := range podsOf(s, w) {
		p := &s.Pods[i]
		if n++; p.Spec.NodeName == "" || node != "" && p.Spec.NodeName != node {
			return "", false
		}
		node = p.Spec.NodeName
	}
	return node, n > 1
}

func budgeted(s *State, w workload) bool {
	for _, i := range podsOf(s, w) {
		for b := range s.Budgets {
			if slices.Contains(protected(s, &s.Budgets[b]), &s.Pods[i]) {
				return true
			}
		}
	}
	return false
}

// podsOf returns the indices of a workload's living pods.
func podsOf(s *State, w workload) []int {
	selector, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return nil // the API server would not have stored it
	}
	var out []int
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Namespace == w.namespace && alive(p) && selector.Matches(labels.Set(p.Labels)) {
			out = append(out, i)
		}
	}
	return out
}
