package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// deletionTimeout is how long an evicted pod that is not being deleted counts
// as gone (k8s.io/kubernetes/pkg/controller/disruption.DeletionTimeout).
const deletionTimeout = 2 * time.Minute

// syncBudgets is the disruption controller: it keeps the status that the
// eviction subresource decides by.
func (c *simulation) syncBudgets(context.Context) error {
	for _, b := range list[*policyv1.PodDisruptionBudget](c.store, resBudgets, "") {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			continue
		}
		var pods []*corev1.Pod
		for _, p := range list[*corev1.Pod](c.store, resPods, b.Namespace) {
			if sel.Matches(labels.Set(p.Labels)) && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				pods = append(pods, p)
			}
		}
		status := c.budgetStatus(b, pods)
		want := b.DeepCopy()
		want.Status = status
		setBudgetCondition(want)
		if apiequality.Semantic.DeepEqual(want.Status, b.Status) {
			continue
		}
		_, err = c.store.Replace(resBudgets, b.Namespace, b.Name, func(old runtime.Object) (runtime.Object, error) {
			// An eviction may have taken from the budget since it was read; that
			// change wakes this controller again.
			if old != runtime.Object(b) {
				return nil, errStale
			}
			return want, nil
		})
		if err != nil && !errors.Is(err, errStale) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("budget %s/%s: %w", b.Namespace, b.Name, err)
		}
	}
	return nil
}

func (c *simulation) budgetStatus(b *policyv1.PodDisruptionBudget, pods []*corev1.Pod) policyv1.PodDisruptionBudgetStatus {
	s := *b.Status.DeepCopy()
	s.ObservedGeneration = b.Generation
	s.DisruptedPods = nil
	healthy := int32(0)
	for _, p := range pods {
		if at, ok := b.Status.DisruptedPods[p.Name]; ok && p.DeletionTimestamp == nil && time.Since(at.Time) < c.clock.of(deletionTimeout) {
			if s.DisruptedPods == nil {
				s.DisruptedPods = map[string]metav1.Time{}
			}
			s.DisruptedPods[p.Name] = at
			continue
		}
		if p.DeletionTimestamp == nil && isReady(p) {
			healthy++
		}
	}
	s.ExpectedPods, s.DesiredHealthy = c.expected(b, pods)
	s.CurrentHealthy = healthy
	s.DisruptionsAllowed = max(0, healthy-s.DesiredHealthy)
	if s.ExpectedPods <= 0 {
		s.DisruptionsAllowed = 0
	}
	return s
}

// expected returns how many pods there should be and how many must be healthy.
func (c *simulation) expected(b *policyv1.PodDisruptionBudget, pods []*corev1.Pod) (count, desired int32) {
	if m := b.Spec.MinAvailable; m != nil && m.Type == intstr.Int {
		return int32(len(pods)), m.IntVal
	}
	owners := map[types.UID]int32{}
	for _, p := range pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			continue
		}
		if rs, ok := get[*appsv1.ReplicaSet](c.store, resReplicaSets, p.Namespace, ref.Name); ok && rs.UID == ref.UID {
			if up := metav1.GetControllerOfNoCopy(rs); up != nil {
				if d, ok := get[*appsv1.Deployment](c.store, resDeployments, p.Namespace, up.Name); ok && d.UID == up.UID {
					owners[d.UID] = *d.Spec.Replicas
					continue
				}
			}
			owners[rs.UID] = *rs.Spec.Replicas
		}
	}
	for _, n := range owners {
		count += n
	}
	switch {
	case b.Spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, int(count), true)
		if err != nil {
			return count, count
		}
		return count, max(0, count-int32(n))
	case b.Spec.MinAvailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MinAvailable, int(count), true)
		if err != nil {
			return count, count
		}
		return count, int32(n)
	}
	return count, 0
}

// setBudgetCondition keeps the DisruptionAllowed condition in step with the
// count, as k8s.io/component-helpers/apps/poddisruptionbudget does.
func setBudgetCondition(b *policyv1.PodDisruptionBudget) {
	k := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, ObservedGeneration: b.Status.ObservedGeneration,
		Status: metav1.ConditionTrue, Reason: policyv1.SufficientPodsReason}
	if b.Status.DisruptionsAllowed <= 0 {
		k.Status, k.Reason = metav1.ConditionFalse, policyv1.InsufficientPodsReason
	}
	meta.SetStatusCondition(&b.Status.Conditions, k)
}
