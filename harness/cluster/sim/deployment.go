package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const labelHash = appsv1.DefaultDeploymentUniqueLabelKey

// syncDeployments is the Deployment controller: one ReplicaSet per template,
// rolled within maxSurge and maxUnavailable.
func (c *simulation) syncDeployments(context.Context) error {
	for _, d := range list[*appsv1.Deployment](c.store, resDeployments, "") {
		if d.DeletionTimestamp != nil {
			continue
		}
		if err := c.syncDeployment(d); err != nil {
			return fmt.Errorf("deployment %s/%s: %w", d.Namespace, d.Name, err)
		}
	}
	return nil
}

func (c *simulation) syncDeployment(d *appsv1.Deployment) error {
	hash := templateHash(&d.Spec.Template)
	var current *appsv1.ReplicaSet
	var old []*appsv1.ReplicaSet
	for _, rs := range list[*appsv1.ReplicaSet](c.store, resReplicaSets, d.Namespace) {
		switch {
		case !ownedBy(rs, d):
		case rs.Labels[labelHash] == hash:
			current = rs
		default:
			old = append(old, rs)
		}
	}
	if current == nil {
		rs, err := c.newReplicaSet(d, hash, len(old))
		if err != nil {
			return err
		}
		current = rs
	}
	want := *d.Spec.Replicas
	surge, unavailable := rollingLimits(d.Spec.Strategy, want)
	total, available := *current.Spec.Replicas, current.Status.AvailableReplicas
	for _, rs := range old {
		total += *rs.Spec.Replicas
		available += rs.Status.AvailableReplicas
	}
	oldTotal := total - *current.Spec.Replicas
	switch {
	case *current.Spec.Replicas > want:
		c.scale(current, want)
	case *current.Spec.Replicas < want && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		if oldTotal == 0 {
			c.scale(current, want)
		}
	case *current.Spec.Replicas < want:
		if room := want + surge - total; room > 0 {
			c.scale(current, min(want, *current.Spec.Replicas+room))
		}
	}
	if oldTotal > 0 {
		// Pods of the new template that are not available yet must not be paid
		// for by old ones that are.
		spare := total - (want - unavailable) - (*current.Spec.Replicas - current.Status.AvailableReplicas)
		if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
			spare = oldTotal
		}
		for _, rs := range old {
			if n := min(spare, *rs.Spec.Replicas); n > 0 {
				c.scale(rs, *rs.Spec.Replicas-n)
				spare -= n
			}
		}
	}
	return c.deploymentStatus(d, current, old)
}

func rollingLimits(s appsv1.DeploymentStrategy, want int32) (surge, unavailable int32) {
	if s.RollingUpdate == nil {
		return 0, want
	}
	up, err1 := intstr.GetScaledValueFromIntOrPercent(s.RollingUpdate.MaxSurge, int(want), true)
	down, err2 := intstr.GetScaledValueFromIntOrPercent(s.RollingUpdate.MaxUnavailable, int(want), false)
	if err1 != nil || err2 != nil || up == 0 && down == 0 {
		return 0, 1
	}
	return int32(up), int32(down)
}

func (c *simulation) newReplicaSet(d *appsv1.Deployment, hash string, revision int) (*appsv1.ReplicaSet, error) {
	yes, zero := true, int32(0)
	rs := &appsv1.ReplicaSet{}
	rs.Name, rs.Namespace = d.Name+"-"+hash, d.Namespace
	rs.Labels = copyMap(d.Spec.Template.Labels)
	rs.Labels[labelHash] = hash
	rs.Annotations = map[string]string{"deployment.kubernetes.io/revision": fmt.Sprint(revision + 1)}
	rs.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: d.Name, UID: d.UID, Controller: &yes, BlockOwnerDeletion: &yes}}
	rs.Spec.Replicas = &zero
	rs.Spec.Template = *d.Spec.Template.DeepCopy()
	rs.Spec.Template.Labels = copyMap(rs.Labels)
	rs.Spec.Selector = d.Spec.Selector.DeepCopy()
	if rs.Spec.Selector.MatchLabels == nil {
		rs.Spec.Selector.MatchLabels = map[string]string{}
	}
	rs.Spec.Selector.MatchLabels[labelHash] = hash
	obj, err := c.store.Create(resReplicaSets, rs)
	if apierrors.IsAlreadyExists(err) {
		if rs, ok := get[*appsv1.ReplicaSet](c.store, resReplicaSets, d.Namespace, rs.Name); ok {
			return rs, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return obj.(*appsv1.ReplicaSet), nil
}

func (c *simulation) scale(rs *appsv1.ReplicaSet, n int32) {
	c.must(update(c.store, resReplicaSets, rs.Namespace, rs.Name, func(rs *appsv1.ReplicaSet) {
		if *rs.Spec.Replicas != n {
			rs.Spec.Replicas = &n
			rs.Generation++
		}
	}))
}

func (c *simulation) deploymentStatus(d *appsv1.Deployment, current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) error {
	s := appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation,
		Replicas:           current.Status.Replicas,
		UpdatedReplicas:    current.Status.Replicas,
		ReadyReplicas:      current.Status.ReadyReplicas,
		AvailableReplicas:  current.Status.AvailableReplicas,
		CollisionCount:     d.Status.CollisionCount,
		Conditions:         slices.Clone(d.Status.Conditions),
	}
	for _, rs := range old {
		s.Replicas += rs.Status.Replicas
		s.ReadyReplicas += rs.Status.ReadyReplicas
		s.AvailableReplicas += rs.Status.AvailableReplicas
	}
	want := *d.Spec.Replicas
	s.UnavailableReplicas = max(0, max(want, s.Replicas)-s.AvailableReplicas)
	_, unavailable := rollingLimits(d.Spec.Strategy, want)
	available, reason, message := corev1.ConditionTrue, "MinimumReplicasAvailable", "Deployment has minimum availability."
	if s.AvailableReplicas < want-unavailable {
		available, reason, message = corev1.ConditionFalse, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
	}
	setDeploymentCondition(&s, appsv1.DeploymentAvailable, available, reason, message)
	if s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want {
		setDeploymentCondition(&s, appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetAvailable", fmt.Sprintf("ReplicaSet %q has successfully progressed.", current.Name))
	} else {
		setDeploymentCondition(&s, appsv1.DeploymentProgressing, corev1.ConditionTrue, "ReplicaSetUpdated", fmt.Sprintf("ReplicaSet %q is progressing.", current.Name))
	}
	if deploymentStatusEqual(s, d.Status) {
		return nil
	}
	return update(c.store, resDeployments, d.Namespace, d.Name, func(d *appsv1.Deployment) { d.Status = s })
}

func deploymentStatusEqual(a, b appsv1.DeploymentStatus) bool {
	return a.ObservedGeneration == b.ObservedGeneration && a.Replicas == b.Replicas && a.UpdatedReplicas == b.UpdatedReplicas &&
		a.ReadyReplicas == b.ReadyReplicas && a.AvailableReplicas == b.AvailableReplicas && a.UnavailableReplicas == b.UnavailableReplicas &&
		slices.EqualFunc(a.Conditions, b.Conditions, func(x, y appsv1.DeploymentCondition) bool {
			return x.Type == y.Type && x.Status == y.Status && x.Reason == y.Reason
		})
}

func setDeploymentCondition(s *appsv1.DeploymentStatus, kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) {
	now := metav1.Now()
	for i := range s.Conditions {
		k := &s.Conditions[i]
		if k.Type != kind {
			continue
		}
		if k.Status != status {
			k.LastTransitionTime = now
		}
		if k.Reason != reason {
			k.LastUpdateTime = now
		}
		k.Status, k.Reason, k.Message = status, reason, message
		return
	}
	s.Conditions = append(s.Conditions, appsv1.DeploymentCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: now, LastUpdateTime: now})
}

// syncReplicaSets is the ReplicaSet controller.
func (c *simulation) syncReplicaSets(context.Context) error {
	for _, rs := range list[*appsv1.ReplicaSet](c.store, resReplicaSets, "") {
		if rs.DeletionTimestamp != nil {
			continue
		}
		if err := c.syncReplicaSet(rs); err != nil {
			return fmt.Errorf("replicaset %s/%s: %w", rs.Namespace, rs.Name, err)
		}
	}
	return nil
}

func (c *simulation) syncReplicaSet(rs *appsv1.ReplicaSet) error {
	var pods []*corev1.Pod
	for _, p := range list[*corev1.Pod](c.store, resPods, rs.Namespace) {
		if ownedBy(p, rs) && isActive(p) {
			pods = append(pods, p)
		}
	}
	want := int(*rs.Spec.Replicas)
	for range want - len(pods) {
		p := newPod(rs, "ReplicaSet", "apps/v1", rs.Namespace, rs.Name+"-", &rs.Spec.Template)
		if _, err := c.api.create(resPods, rs.Namespace, p, false); err != nil {
			return err
		}
	}
	if extra := len(pods) - want; extra > 0 {
		// Least useful first: not scheduled, not ready, then the youngest.
		slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
			return cmp.Or(
				cmp.Compare(bit(a.Spec.NodeName != ""), bit(b.Spec.NodeName != "")),
				cmp.Compare(bit(isReady(a)), bit(isReady(b))),
				b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			)
		})
		for _, p := range pods[:extra] {
			if err := c.api.delete(resPods, p.Namespace, p.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
		pods = pods[extra:]
	}
	s := appsv1.ReplicaSetStatus{ObservedGeneration: rs.Generation, Replicas: int32(len(pods)), FullyLabeledReplicas: int32(len(pods))}
	for _, p := range pods {
		if isReady(p) {
			s.ReadyReplicas++
			s.AvailableReplicas++
		}
	}
	if s.ObservedGeneration == rs.Status.ObservedGeneration && s.Replicas == rs.Status.Replicas && s.ReadyReplicas == rs.Status.ReadyReplicas {
		return nil
	}
	return update(c.store, resReplicaSets, rs.Namespace, rs.Name, func(rs *appsv1.ReplicaSet) { rs.Status = s })
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
