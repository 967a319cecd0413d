package sim

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const labelRevision = appsv1.DefaultDaemonSetUniqueLabelKey

// syncDaemonSets is the DaemonSet controller: one pod on every node that its
// template tolerates, replaced maxUnavailable at a time when it changes.
func (c *simulation) syncDaemonSets(context.Context) error {
	for _, ds := range list[*appsv1.DaemonSet](c.store, resDaemonSets, "") {
		if ds.DeletionTimestamp != nil {
			continue
		}
		if err := c.syncDaemonSet(ds); err != nil {
			return fmt.Errorf("daemonset %s/%s: %w", ds.Namespace, ds.Name, err)
		}
	}
	return nil
}

func (c *simulation) syncDaemonSet(ds *appsv1.DaemonSet) error {
	hash := templateHash(&ds.Spec.Template)
	byNode := map[string][]*corev1.Pod{}
	for _, p := range list[*corev1.Pod](c.store, resPods, ds.Namespace) {
		if !ownedBy(p, ds) {
			continue
		}
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			if p.DeletionTimestamp == nil {
				if err := c.api.delete(resPods, p.Namespace, p.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					return err
				}
			}
			continue
		}
		node := daemonNode(p)
		byNode[node] = append(byNode[node], p)
	}
	s := appsv1.DaemonSetStatus{ObservedGeneration: ds.Generation}
	var stale []*corev1.Pod
	unavailable := 0
	for _, n := range list[*corev1.Node](c.store, resNodes, "") {
		pods := byNode[n.Name]
		delete(byNode, n.Name)
		if !daemonFits(ds, n) {
			byNode[n.Name] = pods // to be removed below
			continue
		}
		if c.opt.Faults.withoutDaemon(ds.Name, n.Name) {
			// The pod is wanted, and nobody makes it.
			s.DesiredNumberScheduled++
			unavailable++
			byNode[n.Name] = pods
			continue
		}
		s.DesiredNumberScheduled++
		var live *corev1.Pod
		for _, p := range pods {
			if p.DeletionTimestamp == nil {
				live = p
			}
		}
		if live == nil {
			unavailable++
			if len(pods) == 0 {
				if err := c.newDaemon(ds, n.Name, hash); err != nil {
					return err
				}
			}
			continue
		}
		s.CurrentNumberScheduled++
		ready := isReady(live)
		if ready {
			s.NumberReady++
			s.NumberAvailable++
		} else {
			unavailable++
		}
		switch {
		case live.Labels[labelRevision] == hash:
			s.UpdatedNumberScheduled++
		case !ready:
			if err := c.api.delete(resPods, live.Namespace, live.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		default:
			stale = append(stale, live)
		}
	}
	for node, pods := range byNode {
		if _, ok := get[*corev1.Node](c.store, resNodes, "", node); !ok {
			continue // the pod garbage collector's, see collectOrphans
		}
		for _, p := range pods {
			if p.DeletionTimestamp == nil {
				if err := c.api.delete(resPods, p.Namespace, p.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					return err
				}
			}
		}
	}
	s.NumberUnavailable = s.DesiredNumberScheduled - s.NumberAvailable
	if ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		limit := 1
		if r := ds.Spec.UpdateStrategy.RollingUpdate; r != nil && r.MaxUnavailable != nil {
			if n, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, int(s.DesiredNumberScheduled), true); err == nil {
				limit = max(n, 1)
			}
		}
		for _, p := range stale[:min(len(stale), max(0, limit-unavailable))] {
			if err := c.api.delete(resPods, p.Namespace, p.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	was := ds.Status
	was.Conditions, was.CollisionCount = nil, nil
	if fmt.Sprint(was) == fmt.Sprint(s) {
		return nil
	}
	return update(c.store, resDaemonSets, ds.Namespace, ds.Name, func(ds *appsv1.DaemonSet) { ds.Status = s })
}

func (c *simulation) newDaemon(ds *appsv1.DaemonSet, node, hash string) error {
	p := newPod(ds, "DaemonSet", "apps/v1", ds.Namespace, ds.Name+"-", &ds.Spec.Template)
	p.Labels[labelRevision] = hash
	p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
			Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}}
	for _, t := range daemonTaints {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: t.Key, Operator: corev1.TolerationOpExists, Effect: t.Effect})
	}
	_, err := c.api.create(resPods, ds.Namespace, p, false)
	return err
}

// daemonTaints are tolerated by every daemon pod
// (k8s.io/kubernetes/pkg/controller/daemon/util.AddOrUpdateDaemonPodTolerations).
var daemonTaints = []corev1.Taint{
	{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeDiskPressure, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeMemoryPressure, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodePIDPressure, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeNetworkUnavailable, Effect: corev1.TaintEffectNoSchedule},
}

func daemonNode(p *corev1.Pod) string {
	if p.Spec.NodeName != "" {
		return p.Spec.NodeName
	}
	a := p.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, t := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range t.MatchFields {
			if f.Key == metav1.ObjectNameField && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}

func daemonFits(ds *appsv1.DaemonSet, n *corev1.Node) bool {
	for k, v := range ds.Spec.Template.Spec.NodeSelector {
		if n.Labels[k] != v {
			return false
		}
	}
	ts := ds.Spec.Template.Spec.Tolerations
	for _, t := range daemonTaints {
		ts = append(ts[:len(ts):len(ts)], corev1.Toleration{Key: t.Key, Operator: corev1.TolerationOpExists, Effect: t.Effect})
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(ts, t) {
			return false
		}
	}
	return true
}
