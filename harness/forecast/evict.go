package forecast

import (
	"fmt"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// standing is what the disruption controller computes of a budget.
type standing struct {
	pods, expected, desired, healthy, allowed int
	// failed says why it cannot be computed, or is "".
	failed string
}

// standing follows k8s.io/kubernetes/pkg/controller/disruption at v1.35: a number
// as minAvailable counts against the pods that are there, everything else against
// the scale of their controllers; percentages are rounded up.
func (c *simulated) standing(i int) standing {
	b := c.budgets[i]
	var s standing
	owners := map[types.UID]int{}
	unknown := ""
	for _, p := range c.pods {
		if p.Namespace != b.Namespace || !c.selectors[i].Matches(labels.Set(p.Labels)) {
			continue
		}
		s.pods++
		if p.running && p.ready {
			s.healthy++
		}
		if o, ok := c.ownerOf(p.Pod); ok {
			owners[o.top] = o.scale
			if o.scale < 0 {
				unknown = fmt.Sprintf("the scale of %s %s/%s is not known", o.kind, o.namespace, o.name)
			}
		}
	}
	s.expected, s.desired = s.pods, s.pods
	if m := b.Spec.MinAvailable; m != nil && m.Type == intstr.Int {
		s.desired = int(m.IntVal)
	} else {
		s.expected = 0
		for _, scale := range owners {
			s.expected += scale
		}
		if unknown != "" {
			// A resource of its own with a scale: the controller has computed it.
			if s.expected = int(b.Status.ExpectedPods); syncFailed(b) || s.expected == 0 {
				s.failed = unknown
			}
		}
		switch {
		case b.Spec.MaxUnavailable != nil:
			n, _ := intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, s.expected, true)
			s.desired = max(0, s.expected-n)
		case m != nil:
			s.desired, _ = intstr.GetScaledValueFromIntOrPercent(m, s.expected, true)
		default:
			s.desired = 0
		}
	}
	if s.expected > 0 && s.failed == "" {
		s.allowed = max(0, s.healthy-s.desired)
	}
	return s
}

func syncFailed(b *policyv1.PodDisruptionBudget) bool {
	for _, c := range b.Status.Conditions {
		if c.Type == policyv1.DisruptionAllowedCondition && c.Reason == policyv1.SyncFailedReason {
			return true
		}
	}
	return false
}

// refused returns why the eviction API does not let a pod go, or nil. The rules
// and their order are those of
// k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go at v1.35.
func (c *simulated) refused(p *simPod) *Stop {
	if !p.running {
		return nil
	}
	var on []int
	var names []string
	for i, b := range c.budgets {
		if b.Namespace == p.Namespace && c.selectors[i].Matches(labels.Set(p.Labels)) {
			on = append(on, i)
			names = append(names, b.Name)
		}
	}
	switch len(on) {
	case 0:
		return nil
	case 1:
	default:
		return &Stop{Pod: p.name(), Budgets: names, Why: fmt.Sprintf("budgets %s select it, and the API refuses to evict a pod with more than one", strings.Join(names, " and ")),
			Remedy: "keep one budget for each pod"}
	}
	b, s := c.budgets[on[0]], c.standing(on[0])
	if !p.ready {
		if policy := b.Spec.UnhealthyPodEvictionPolicy; policy != nil && *policy == policyv1.AlwaysAllow {
			return nil
		}
		if s.healthy >= s.desired && s.desired > 0 {
			return nil
		}
	}
	if s.allowed > 0 {
		return nil
	}
	stop := &Stop{Pod: p.name(), Budgets: names, Why: fmt.Sprintf("budget %s allows 0 of %d: %d are healthy and %d must be", b.Name, s.pods, s.healthy, s.desired)}
	waiting := c.waitingUnder(on[0])
	switch {
	case s.failed != "":
		stop.Why = fmt.Sprintf("budget %s cannot be computed: %s", b.Name, s.failed)
		stop.Remedy = "let it select only pods of workloads with a scale, or state minAvailable as a number"
	case len(waiting) > 0:
		stop.Placement = true
		stop.Why += "; " + strings.Join(waiting, ", ") + " waits for a node"
		stop.Remedy = "add a node before the upgrade, or loosen the rules that keep its pods apart"
	case s.healthy < s.expected:
		stop.Remedy = "repair the pods that are not ready, or set unhealthyPodEvictionPolicy: AlwaysAllow"
	case s.expected <= 1:
		stop.Remedy = "run at least two replicas, or delete the budget for the time of the upgrade"
	default:
		stop.Remedy = "set maxUnavailable: 1, or run more replicas than the budget demands"
	}
	return stop
}

// waitingUnder names the pods under a budget that have no node.
func (c *simulated) waitingUnder(i int) []string {
	var out []string
	for _, p := range c.pods {
		if p.node == "" && p.Namespace == c.budgets[i].Namespace && c.selectors[i].Matches(labels.Set(p.Labels)) {
			out = append(out, "pod "+p.name())
		}
	}
	return out
}

// bare reports a pod that nobody makes again.
func bare(p *simPod) bool { return metav1.GetControllerOfNoCopy(p.Pod) == nil }
