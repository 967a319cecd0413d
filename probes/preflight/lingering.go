package preflight

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// lingeringPods finds broken pods in the system's namespaces. Validations
// between nodes, kops' as well as ours, wait for pods of a system-critical
// priority, so one that failed long ago stops the roll.
func lingeringPods(s *State) []record.Finding {
	critical := map[string]bool{}
	var pods []corev1.Pod
	for i := range s.Pods {
		p := &s.Pods[i]
		if slices.Contains(system.Namespaces, p.Namespace) {
			pods = append(pods, *p)
			critical[p.Namespace+"/"+p.Name] = p.Spec.PriorityClassName == "system-node-critical" || p.Spec.PriorityClassName == "system-cluster-critical"
		}
	}
	broken := system.Lingering(pods, s.Now)
	out := make([]record.Finding, 0, len(broken))
	for _, p := range broken {
		f := record.Finding{ID: "lingering-pod", Severity: record.SeverityWarn, Object: "pod/" + p.Pod,
			Cause:  fmt.Sprintf("System pod %s is broken: %s.", p.Pod, stateOf(p)),
			Remedy: "Repair it, or delete it if it is a leftover."}
		if critical[p.Pod] {
			f.Severity = record.SeverityBlock
			f.Cause = fmt.Sprintf("System pod %s is broken: %s. Its priority is system-critical, so validations between nodes wait for it.", p.Pod, stateOf(p))
		}
		out = append(out, f)
	}
	return out
}

func stateOf(p record.PodState) string {
	if p.Reason == "" || p.Reason == p.Phase {
		return p.Phase
	}
	return p.Phase + " (" + p.Reason + ")"
}
