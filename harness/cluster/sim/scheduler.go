package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// schedule is the scheduler: it binds each pending pod to the best node that
// passes every filter, one after another, and says of the others why not.
func (c *simulation) schedule(context.Context) error {
	nodes := list[*corev1.Node](c.store, resNodes, "")
	pods := list[*corev1.Pod](c.store, resPods, "")
	waiting := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool {
		return p.Spec.NodeName != "" || p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodPending
	})
	slices.SortStableFunc(waiting, func(a, b *corev1.Pod) int { return int(priorityOf(b)) - int(priorityOf(a)) })
	for _, p := range waiting {
		placed := slices.DeleteFunc(list[*corev1.Pod](c.store, resPods, ""), func(p *corev1.Pod) bool {
			return p.Spec.NodeName == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		})
		if err := c.place(p, nodes, placed); err != nil {
			return err
		}
	}
	return nil
}

func priorityOf(p *corev1.Pod) int32 {
	if p.Spec.Priority == nil {
		return 0
	}
	return *p.Spec.Priority
}

func (c *simulation) place(p *corev1.Pod, nodes []*corev1.Node, placed []*corev1.Pod) error {
	var best *corev1.Node
	var bestScore float64
	why := map[string]int{}
	for _, n := range nodes {
		if reason := unfit(p, n, nodes, placed); reason != "" {
			why[reason]++
			continue
		}
		s := score(p, n, nodes, placed)
		if best == nil || s > bestScore {
			best, bestScore = n, s
		}
	}
	if best != nil {
		err := c.api.bind(p.Namespace, p.Name, best.Name)
		if err == nil {
			c.event(p, "Pod", corev1.EventTypeNormal, "Scheduled", fmt.Sprintf("Successfully assigned %s/%s to %s", p.Namespace, p.Name, best.Name), "default-scheduler")
		}
		return ignoreGone(err)
	}
	reasons := make([]string, 0, len(why))
	for r, n := range why {
		reasons = append(reasons, fmt.Sprintf("%d %s", n, r))
	}
	slices.Sort(reasons)
	message := fmt.Sprintf("0/%d nodes are available: %s.", len(nodes), strings.Join(reasons, ", "))
	changed := false
	err := update(c.store, resPods, p.Namespace, p.Name, func(p *corev1.Pod) {
		changed = setPodCondition(p, corev1.PodScheduled, corev1.ConditionFalse, corev1.PodReasonUnschedulable, message)
	})
	if changed {
		c.event(p, "Pod", corev1.EventTypeWarning, "FailedScheduling", message, "default-scheduler")
	}
	return err
}

// unfit says why a pod cannot run on a node, in the scheduler's words, or
// nothing when it can.
func unfit(p *corev1.Pod, n *corev1.Node, nodes []*corev1.Node, placed []*corev1.Pod) string {
	if n.Spec.Unschedulable && !tolerates(p.Spec.Tolerations, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}) {
		return "node(s) were unschedulable"
	}
	if !matchesNodeAffinity(p, n) {
		return "node(s) didn't match Pod's node affinity/selector"
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(p.Spec.Tolerations, t) {
			return fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)
		}
	}
	if r := shortOf(p, n, placed); r != "" {
		return r
	}
	if a := p.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		for _, term := range a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			if countInDomain(p, term.LabelSelector, term.TopologyKey, n, nodes, placed) > 0 {
				return "node(s) didn't match pod anti-affinity rules"
			}
		}
	}
	for _, s := range p.Spec.TopologySpreadConstraints {
		if s.WhenUnsatisfiable == corev1.DoNotSchedule && skew(p, s, n, nodes, placed) > int(s.MaxSkew) {
			return "node(s) didn't match pod topology spread constraints"
		}
	}
	return ""
}

func shortOf(p *corev1.Pod, n *corev1.Node, placed []*corev1.Pod) string {
	cpu, memory, count := requests(p)
	for _, o := range placed {
		if o.Spec.NodeName == n.Name {
			c, m, one := requests(o)
			cpu, memory, count = cpu+c, memory+m, count+one
		}
	}
	switch a := n.Status.Allocatable; {
	case count > a.Pods().Value():
		return "Too many pods"
	case cpu > a.Cpu().MilliValue():
		return "Insufficient cpu"
	case memory > a.Memory().Value():
		return "Insufficient memory"
	}
	return ""
}

func requests(p *corev1.Pod) (milliCPU, memory, pods int64) {
	var cpu, mem resource.Quantity
	for _, c := range p.Spec.Containers {
		cpu.Add(*c.Resources.Requests.Cpu())
		mem.Add(*c.Resources.Requests.Memory())
	}
	return cpu.MilliValue(), mem.Value(), 1
}

func matchesNodeAffinity(p *corev1.Pod, n *corev1.Node) bool {
	for k, v := range p.Spec.NodeSelector {
		if n.Labels[k] != v {
			return false
		}
	}
	a := p.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	return slices.ContainsFunc(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool {
		for _, f := range t.MatchFields {
			if f.Key == metav1.ObjectNameField && (f.Operator == corev1.NodeSelectorOpIn) != slices.Contains(f.Values, n.Name) {
				return false
			}
		}
		for _, e := range t.MatchExpressions {
			r, err := labels.NewRequirement(e.Key, nodeOperators[e.Operator], e.Values)
			if err != nil || !r.Matches(labels.Set(n.Labels)) {
				return false
			}
		}
		return len(t.MatchFields)+len(t.MatchExpressions) > 0
	})
}

var nodeOperators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

// countInDomain counts the placed pods that a selector matches in the node's
// topology domain; pods that are being deleted still take their place there.
func countInDomain(p *corev1.Pod, s *metav1.LabelSelector, key string, n *corev1.Node, nodes []*corev1.Node, placed []*corev1.Pod) int {
	sel, err := metav1.LabelSelectorAsSelector(s)
	domain, ok := n.Labels[key]
	if err != nil || !ok {
		return 0
	}
	in := map[string]bool{}
	for _, o := range nodes {
		if o.Labels[key] == domain {
			in[o.Name] = true
		}
	}
	count := 0
	for _, o := range placed {
		if in[o.Spec.NodeName] && o.Namespace == p.Namespace && sel.Matches(labels.Set(o.Labels)) {
			count++
		}
	}
	return count
}

// skew is what the spread of a constraint would be with the pod on the node:
// pods in the node's domain, with it, over those in the emptiest domain that
// the pod could go to. Pods that are being deleted do not count.
func skew(p *corev1.Pod, s corev1.TopologySpreadConstraint, n *corev1.Node, nodes []*corev1.Node, placed []*corev1.Pod) int {
	domain, ok := n.Labels[s.TopologyKey]
	sel, err := metav1.LabelSelectorAsSelector(s.LabelSelector)
	if !ok || err != nil {
		return int(s.MaxSkew) + 1
	}
	own := labels.Set(p.Labels)
	count := map[string]int{}
	for _, o := range nodes {
		d, ok := o.Labels[s.TopologyKey]
		if !ok || !matchesNodeAffinity(p, o) {
			continue
		}
		if s.NodeTaintsPolicy != nil && *s.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor && taintedFor(p, o) {
			continue
		}
		count[d] += 0
		for _, q := range placed {
			if q.Spec.NodeName != o.Name || q.Namespace != p.Namespace || q.DeletionTimestamp != nil || !sel.Matches(labels.Set(q.Labels)) {
				continue
			}
			same := true
			for _, k := range s.MatchLabelKeys {
				same = same && q.Labels[k] == p.Labels[k]
			}
			if same {
				count[d]++
			}
		}
	}
	least := -1
	for _, v := range count {
		if least < 0 || v < least {
			least = v
		}
	}
	here := count[domain]
	if sel.Matches(own) {
		here++
	}
	return here - max(least, 0)
}

func taintedFor(p *corev1.Pod, n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(p.Spec.Tolerations, t)
	})
}

// score prefers nodes with fewer pods of the same controller, then emptier ones.
func score(p *corev1.Pod, n *corev1.Node, nodes []*corev1.Node, placed []*corev1.Pod) float64 {
	s := 0.0
	for _, t := range p.Spec.TopologySpreadConstraints {
		s -= 10 * float64(skew(p, t, n, nodes, placed))
	}
	if a := p.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		for _, t := range a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			s -= float64(t.Weight) / 10 * float64(countInDomain(p, t.PodAffinityTerm.LabelSelector, t.PodAffinityTerm.TopologyKey, n, nodes, placed))
		}
	}
	ref := metav1.GetControllerOfNoCopy(p)
	cpu, _, _ := requests(p)
	for _, o := range placed {
		if o.Spec.NodeName != n.Name {
			continue
		}
		c, _, _ := requests(o)
		cpu += c
		s -= 0.01
		if r := metav1.GetControllerOfNoCopy(o); ref != nil && r != nil && r.UID == ref.UID && o.DeletionTimestamp == nil {
			s--
		}
	}
	return s - float64(cpu)/float64(max(1, n.Status.Allocatable.Cpu().MilliValue()))
}

// schedulingDelay is the scheduler's own time for a pod, with its informers'.
const schedulingDelay = 50 * time.Millisecond
