package sim

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// isReady tells whether a pod's Ready condition is true.
func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// isActive tells whether a pod counts as one of its controller's: neither
// finished nor being deleted.
func isActive(p *corev1.Pod) bool {
	return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed && p.DeletionTimestamp == nil
}

// setPodCondition sets a condition of a pod and tells whether it changed.
func setPodCondition(p *corev1.Pod, kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) bool {
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		if c.Type != kind {
			continue
		}
		if c.Status == status && c.Reason == reason && c.Message == message {
			return false
		}
		if c.Status != status {
			c.LastTransitionTime = metav1.Now()
		}
		c.Status, c.Reason, c.Message = status, reason, message
		return true
	}
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
		Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.Now()})
	return true
}

// tolerates tells whether one of the tolerations matches the taint.
func tolerates(ts []corev1.Toleration, taint corev1.Taint) bool {
	return slices.ContainsFunc(ts, func(t corev1.Toleration) bool {
		if t.Effect != "" && t.Effect != taint.Effect {
			return false
		}
		if t.Key == "" {
			return t.Operator == corev1.TolerationOpExists
		}
		if t.Key != taint.Key {
			return false
		}
		return t.Operator == corev1.TolerationOpExists || t.Value == taint.Value
	})
}

// newPod makes a pod of a template for a controller.
func newPod(owner metav1.Object, kind, apiVersion, namespace, prefix string, t *corev1.PodTemplateSpec) *corev1.Pod {
	yes := true
	p := &corev1.Pod{Spec: *t.Spec.DeepCopy()}
	p.Namespace, p.GenerateName = namespace, prefix
	p.Labels, p.Annotations = copyMap(t.Labels), copyMap(t.Annotations)
	p.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: apiVersion, Kind: kind, Name: owner.GetName(), UID: owner.GetUID(),
		Controller: &yes, BlockOwnerDeletion: &yes,
	}}
	return p
}

func copyMap(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
