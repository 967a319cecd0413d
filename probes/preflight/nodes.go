package preflight

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// unfitNodes finds nodes that are not Ready, cordoned or under pressure. A node
// that is not Ready fails every validation, so the first one would wait in vain.
func unfitNodes(s *State) []record.Finding {
	var out []record.Finding
	for i := range s.Nodes {
		n := &s.Nodes[i]
		object := "node/" + n.Name
		if ok, why := system.NodeReady(n); !ok {
			out = append(out, record.Finding{ID: "node-not-ready", Severity: record.SeverityBlock, Object: object,
				Cause:  fmt.Sprintf("Node %s is not Ready: %s.", n.Name, strings.TrimSuffix(why, ".")),
				Remedy: fmt.Sprintf("Repair the node, or remove it: kubectl describe node %s says more.", n.Name)})
			continue
		}
		if n.Spec.Unschedulable {
			out = append(out, record.Finding{ID: "node-cordoned", Severity: record.SeverityWarn, Object: object,
				Cause:  fmt.Sprintf("Node %s is cordoned, so the pods of drained nodes cannot go there.", n.Name),
				Remedy: fmt.Sprintf("kubectl uncordon %s, or find out who cordoned it and why.", n.Name)})
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady || c.Status != corev1.ConditionTrue {
				continue
			}
			out = append(out, record.Finding{ID: "node-condition", Severity: record.SeverityWarn, Object: object,
				Cause:  fmt.Sprintf("Node %s reports %s: %s.", n.Name, c.Type, strings.TrimSuffix(c.Message, ".")),
				Remedy: "Relieve the node first: under pressure it evicts pods by itself, and the upgrade would be blamed."})
		}
	}
	return out
}
