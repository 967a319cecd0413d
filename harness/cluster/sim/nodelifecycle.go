package sim

import (
	"context"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Periods of the node lifecycle controller (kube-controller-manager's
// --node-monitor-period and --node-monitor-grace-period).
const (
	monitorPeriod = 5 * time.Second
	monitorGrace  = 50 * time.Second
	// leastGrace is this machine's time: however fast the cluster is to run, a
	// busy machine must not make its kubelets look dead.
	leastGrace = 4 * time.Second
)

// monitorNodes is the node lifecycle controller: a node whose kubelet fell
// silent becomes Unknown and its pods not ready; conditions become taints, and
// pods that do not tolerate NoExecute are evicted when their seconds are over.
func (c *simulation) monitorNodes(context.Context) error {
	for _, n := range list[*corev1.Node](c.store, resNodes, "") {
		ready := nodeCondition(n, corev1.NodeReady)
		if ready == nil {
			continue
		}
		silent := false
		if l, ok := get[*coordinationv1.Lease](c.store, resLeases, corev1.NamespaceNodeLease, n.Name); ok && l.Spec.RenewTime != nil {
			silent = time.Since(l.Spec.RenewTime.Time) > max(c.clock.of(monitorGrace), leastGrace)
		}
		if silent && ready.Status != corev1.ConditionUnknown {
			if err := update(c.store, resNodes, "", n.Name, func(n *corev1.Node) {
				for _, k := range []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
					setNodeCondition(n, k, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.")
				}
			}); err != nil {
				return err
			}
		}
		n, ok := get[*corev1.Node](c.store, resNodes, "", n.Name)
		if !ok {
			continue
		}
		if want := taintsOf(n); !slices.Equal(keysOf(want), keysOf(n.Spec.Taints)) {
			if err := update(c.store, resNodes, "", n.Name, func(n *corev1.Node) { n.Spec.Taints = taintsOf(n) }); err != nil {
				return err
			}
		}
		ready = nodeCondition(n, corev1.NodeReady)
		if ready.Status == corev1.ConditionTrue {
			delete(c.notReady, n.Name)
			continue
		}
		// Pods are marked once, when the node stops to be ready; a kubelet that
		// still runs corrects it.
		mark := !c.notReady[n.Name]
		if mark {
			c.notReady[n.Name] = true
			c.event(n, "Node", corev1.EventTypeNormal, "NodeNotReady", "Node "+n.Name+" status is now: NodeNotReady", "node-controller")
		}
		for _, p := range list[*corev1.Pod](c.store, resPods, "") {
			if p.Spec.NodeName != n.Name {
				continue
			}
			if mark && isReady(p) {
				if err := update(c.store, resPods, p.Namespace, p.Name, func(p *corev1.Pod) {
					setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, "NodeNotReady", "")
				}); err != nil {
					return err
				}
			}
			if limit, ok := tolerationSeconds(p, n.Spec.Taints); ok && p.DeletionTimestamp == nil && time.Since(ready.LastTransitionTime.Time) > c.clock.of(limit) {
				if err := c.api.delete(resPods, p.Namespace, p.Name, metav1.DeleteOptions{}); ignoreGone(err) != nil {
					return err
				}
			}
		}
	}
	return nil
}

// taintsOf returns the taints that a node should have: those that somebody set,
// and those that its state asks for.
func taintsOf(n *corev1.Node) []corev1.Taint {
	out := slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(t corev1.Taint) bool {
		return t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable || t.Key == corev1.TaintNodeUnschedulable
	})
	if n.Spec.Unschedulable {
		out = append(out, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	if r := nodeCondition(n, corev1.NodeReady); r != nil {
		switch r.Status {
		case corev1.ConditionFalse:
			out = append(out, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule},
				corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute})
		case corev1.ConditionUnknown:
			out = append(out, corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule},
				corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute})
		}
	}
	return out
}

func keysOf(ts []corev1.Taint) []string {
	var out []string
	for _, t := range ts {
		out = append(out, t.Key+"="+t.Value+":"+string(t.Effect))
	}
	slices.Sort(out)
	return out
}

// tolerationSeconds returns how long a pod stays on a node with these taints;
// false is for ever.
func tolerationSeconds(p *corev1.Pod, taints []corev1.Taint) (time.Duration, bool) {
	limit, limited := time.Duration(0), false
	for _, t := range taints {
		if t.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		forever := false
		var d time.Duration
		for _, tol := range p.Spec.Tolerations {
			if !tolerates([]corev1.Toleration{tol}, t) {
				continue
			}
			if tol.TolerationSeconds == nil {
				forever = true
			} else {
				d = max(d, time.Duration(*tol.TolerationSeconds)*time.Second)
			}
		}
		if forever {
			continue
		}
		if !limited || d < limit {
			limit, limited = d, true
		}
	}
	return limit, limited
}
