package preflight

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// barePods finds pods without a controller: a drain deletes them (or refuses,
// where it was not told to force), and nobody makes them again.
func barePods(s *State) []record.Finding {
	var out []record.Finding
	for i := range s.Pods {
		p := &s.Pods[i]
		if !alive(p) || p.Annotations[corev1.MirrorPodAnnotationKey] != "" || metav1.GetControllerOf(p) != nil {
			continue
		}
		where := ""
		if p.Spec.NodeName != "" {
			where = " on node " + p.Spec.NodeName
		}
		out = append(out, record.Finding{ID: "bare-pod", Severity: record.SeverityWarn, Object: "pod/" + p.Namespace + "/" + p.Name,
			Cause:  fmt.Sprintf("Pod %s/%s%s belongs to no controller: when its node is drained it is deleted and does not come back.", p.Namespace, p.Name, where),
			Remedy: "Let a Deployment or StatefulSet make it, or delete it if it is not needed."})
	}
	return out
}
