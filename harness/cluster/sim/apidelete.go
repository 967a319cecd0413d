package sim

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// delete removes an object as the API does: a pod that runs is only marked,
// its kubelet removes it when it has stopped; a namespace is emptied first; an
// object with finalizers waits for them. Dependents are the garbage
// collector's work, unless they are to be orphaned.
func (a *api) delete(gvr schema.GroupVersionResource, ns, name string, opts metav1.DeleteOptions) error {
	if len(opts.DryRun) > 0 {
		_, err := a.store.Get(gvr, ns, name)
		return err
	}
	_, err := a.store.Replace(gvr, ns, name, func(old runtime.Object) (runtime.Object, error) {
		m, err := meta.Accessor(old)
		if err != nil {
			return nil, err
		}
		if err := checkPreconditions(gvr.GroupResource(), m, opts.Preconditions); err != nil {
			return nil, err
		}
		obj := old.DeepCopyObject()
		switch o := obj.(type) {
		case *corev1.Pod:
			if a.markPod(o, opts.GracePeriodSeconds) {
				return o, nil
			}
			return nil, nil
		case *corev1.Namespace:
			if o.DeletionTimestamp == nil {
				now := metav1.Now()
				o.DeletionTimestamp = &now
			}
			o.Status.Phase = corev1.NamespaceTerminating
			return o, nil
		}
		if len(m.GetFinalizers()) == 0 {
			return nil, nil
		}
		marked, err := meta.Accessor(obj)
		if err != nil {
			return nil, err
		}
		if marked.GetDeletionTimestamp() == nil {
			now := metav1.Now()
			marked.SetDeletionTimestamp(&now)
		}
		return obj, nil
	})
	return err
}

func checkPreconditions(gr schema.GroupResource, m metav1.Object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	if p.UID != nil && *p.UID != m.GetUID() {
		return apierrors.NewConflict(gr, m.GetName(), fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, m.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != m.GetResourceVersion() {
		return apierrors.NewConflict(gr, m.GetName(), fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, m.GetResourceVersion()))
	}
	return nil
}

// markPod asks for a pod's deletion and returns true if the pod must stay until
// its kubelet has stopped it, false if it can go at once. As in the real API a
// second deletion can only shorten the time that is left.
func (a *api) markPod(p *corev1.Pod, grace *int64) bool {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	switch {
	case grace != nil:
		seconds = *grace
	case p.Spec.TerminationGracePeriodSeconds != nil:
		seconds = *p.Spec.TerminationGracePeriodSeconds
	}
	finished := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
	if p.Spec.NodeName == "" || finished || mirror {
		seconds = 0
	}
	if seconds <= 0 {
		return len(p.Finalizers) > 0
	}
	if p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds <= seconds {
		return true
	}
	at := metav1.NewTime(time.Now().Add(a.clock.of(time.Duration(seconds) * time.Second)))
	p.DeletionTimestamp = &at
	p.DeletionGracePeriodSeconds = &seconds
	p.Generation++
	return true
}

// evict is the eviction subresource: deletion that a PodDisruptionBudget can
// refuse. The rules, their order and their messages are those of
// k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go at v1.35.
func (a *api) evict(ns, name string, opts *metav1.DeleteOptions) error {
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	obj, err := a.store.Get(resPods, ns, name)
	if err != nil {
		return err
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("evict %s/%s: stored as %T", ns, name, obj)
	}
	dryRun := len(opts.DryRun) > 0
	if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
		return a.delete(resPods, ns, name, *opts)
	}
	var matching []*policyv1.PodDisruptionBudget
	for _, b := range list[*policyv1.PodDisruptionBudget](a.store, resBudgets, ns) {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && sel.Matches(labels.Set(pod.Labels)) {
			matching = append(matching, b)
		}
	}
	if len(matching) > 1 {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status:  metav1.StatusFailure,
			Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
			Code:    500,
		}}
	}
	if len(matching) == 1 {
		b := matching[0]
		if isReady(pod) || !spareUnready(b) {
			if err := a.takeBudget(b, name, dryRun); err != nil {
				return err
			}
		}
	}
	if dryRun {
		return nil
	}
	if err := update(a.store, resPods, ns, name, func(p *corev1.Pod) {
		setPodCondition(p, corev1.DisruptionTarget, corev1.ConditionTrue, "EvictionByEvictionAPI", "Eviction API: evicting")
	}); err != nil {
		return err
	}
	return a.delete(resPods, ns, name, *opts)
}

// spareUnready tells whether the budget lets a pod that is not ready go without
// counting it.
func spareUnready(b *policyv1.PodDisruptionBudget) bool {
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

func (a *api) takeBudget(b *policyv1.PodDisruptionBudget, pod string, dryRun bool) error {
	_, err := a.store.Update(resBudgets, b.Namespace, b.Name, func(obj runtime.Object) error {
		b, ok := obj.(*policyv1.PodDisruptionBudget)
		if !ok {
			return fmt.Errorf("stored as %T", obj)
		}
		switch {
		case b.Status.ObservedGeneration < b.Generation:
			return tooManyRequests(10, fmt.Sprintf("The disruption budget %s is still being processed by the server.", b.Name))
		case b.Status.DisruptionsAllowed < 0:
			return apierrors.NewForbidden(policyv1.Resource("poddisruptionbudget"), b.Name, fmt.Errorf("pdb disruptions allowed is negative"))
		case b.Status.DisruptionsAllowed == 0:
			return tooManyRequests(0, fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy))
		case dryRun:
			return nil
		}
		b.Status.DisruptionsAllowed--
		if b.Status.DisruptionsAllowed == 0 {
			setBudgetCondition(b)
		}
		if b.Status.DisruptedPods == nil {
			b.Status.DisruptedPods = map[string]metav1.Time{}
		}
		b.Status.DisruptedPods[pod] = metav1.Now()
		return nil
	})
	return err
}

func tooManyRequests(retryAfter int, cause string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfter)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: cause})
	return err
}
