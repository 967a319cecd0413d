package preflight

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// blockingBudgets finds PodDisruptionBudgets that allow no eviction: for ever,
// because of how they are written, or now, because pods are not healthy. The
// drain of a node that runs one of their pods waits until it times out; the
// typical one is an ingress with a single replica.
func blockingBudgets(s *State) []record.Finding {
	var out []record.Finding
	for i := range s.Budgets {
		b := &s.Budgets[i]
		pods := protected(s, b)
		if len(pods) == 0 {
			continue
		}
		name := b.Namespace + "/" + b.Name
		f := record.Finding{Severity: record.SeverityBlock, Object: "poddisruptionbudget/" + name}
		expected := max(int(b.Status.ExpectedPods), len(pods))
		switch allowed, rule := allowance(b, expected); {
		case rule == "":
			continue
		case allowed <= 0:
			f.ID = "budget-allows-none"
			f.Cause = fmt.Sprintf("PodDisruptionBudget %s can never allow an eviction: %s with %s. Drains will wait for %s.",
				name, rule, english.Count(expected, "pod"), podNames(pods))
			f.Remedy = remedyFor(expected)
		case failedToSync(b) != "":
			f.ID = "budget-not-computed"
			f.Cause = fmt.Sprintf("PodDisruptionBudget %s allows no eviction because its controller cannot compute it: %s.", name, strings.TrimSuffix(failedToSync(b), "."))
			f.Remedy = "Let it select only pods of workloads with a scale (Deployment, StatefulSet, ReplicaSet), or state minAvailable as a number."
		case b.Status.ObservedGeneration > 0 && b.Status.DisruptionsAllowed == 0 && b.Status.CurrentHealthy < int32(expected):
			if unready := unreadyOf(pods); len(unready) > 0 && !sparesUnready(b) {
				f.ID = "budget-guards-unready"
				f.Cause = fmt.Sprintf("PodDisruptionBudget %s guards pods that are not ready, and refuses to let even them go: %d of %s are healthy, and it wants %d. Drains will wait for %s.",
					name, b.Status.CurrentHealthy, english.Count(expected, "pod"), b.Status.DesiredHealthy, podNames(unready))
				f.Remedy = "Repair the pods that are not ready, or set unhealthyPodEvictionPolicy: AlwaysAllow so that they can be evicted."
				break
			}
			f.ID, f.Severity = "budget-exhausted", record.SeverityWarn
			f.Cause = fmt.Sprintf("PodDisruptionBudget %s allows no eviction now: %d of %s are healthy, and it wants %d.",
				name, b.Status.CurrentHealthy, english.Count(expected, "pod"), b.Status.DesiredHealthy)
			f.Remedy = "Repair the pods that are not healthy, or set unhealthyPodEvictionPolicy: AlwaysAllow so that they can be evicted."
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

// allowance returns how many of expected pods may be away under the budget, and
// how it says so. Percentages are rounded up, as the disruption controller does.
func allowance(b *policyv1.PodDisruptionBudget, expected int) (int, string) {
	switch {
	case b.Spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, expected, true)
		if err != nil {
			return 0, ""
		}
		return n, "maxUnavailable is " + b.Spec.MaxUnavailable.String()
	case b.Spec.MinAvailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MinAvailable, expected, true)
		if err != nil {
			return 0, ""
		}
		return expected - n, "minAvailable is " + b.Spec.MinAvailable.String()
	}
	return 0, ""
}

// unreadyOf returns the pods that run and are not ready; those that do not run
// yet no budget protects.
func unreadyOf(pods []*corev1.Pod) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range pods {
		if p.Status.Phase == corev1.PodRunning && !IsReady(p) {
			out = append(out, p)
		}
	}
	return out
}

// sparesUnready reports whether a pod that is not ready can be evicted under the
// budget without counting (k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go).
func sparesUnready(b *policyv1.PodDisruptionBudget) bool {
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

// IsReady reports whether a pod's condition Ready is true.
func IsReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func failedToSync(b *policyv1.PodDisruptionBudget) string {
	for _, c := range b.Status.Conditions {
		if c.Type == policyv1.DisruptionAllowedCondition && c.Reason == policyv1.SyncFailedReason {
			return c.Message
		}
	}
	return ""
}

func remedyFor(expected int) string {
	if expected == 1 {
		return "Run at least two replicas, or delete the budget: with one pod, a budget can only forbid or be without effect."
	}
	return "Set maxUnavailable: 1, at least for the time of the upgrade."
}

// protected returns the living pods that a budget selects.
func protected(s *State, b *policyv1.PodDisruptionBudget) []*corev1.Pod {
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		return nil // the API server would not have stored it
	}
	var out []*corev1.Pod
	for i := range s.Pods {
		p := &s.Pods[i]
		if p.Namespace == b.Namespace && alive(p) && selector.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	return out
}

func alive(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}
