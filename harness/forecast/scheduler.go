package forecast

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/probes/preflight"
)

// place finds the best node for a pod, or says why there is none.
func (c *simulated) place(p *simPod) (string, string) {
	best, bestScore := "", 0.0
	why := map[string]int{}
	r := c.rulesFor(p)
	for _, n := range c.nodes {
		if reason := c.unfit(p, n, r); reason != "" {
			why[reason]++
			continue
		}
		if s := c.score(p, n, r); best == "" || s > bestScore {
			best, bestScore = n.Name, s
		}
	}
	if best != "" {
		return best, ""
	}
	reasons := make([]string, 0, len(why))
	for r, n := range why {
		reasons = append(reasons, fmt.Sprintf("%d %s", n, r))
	}
	slices.Sort(reasons)
	return "", strings.Join(reasons, ", ")
}

// unfit says why a pod cannot run on a node, or nothing when it can. These are
// the scheduler's filters that depend on nothing but the snapshot.
func (c *simulated) unfit(p *simPod, n *corev1.Node, r *rules) string {
	switch {
	case n.Spec.Unschedulable && !tolerates(p.Spec.Tolerations, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}):
		return "cordoned"
	case !nodeReady(n):
		return "not ready"
	case tainted(p, n):
		return "tainted"
	case !affine(p.Pod, n):
		return "outside its node affinity"
	case c.volumeElsewhere(p, n):
		return "without its volume"
	case c.short(p, n):
		return "without room"
	case r.repels(n):
		return "with pods that it must be apart from"
	case !r.attracts(n):
		return "without pods that it must be beside"
	case r.unspread(n):
		return "against its topology spread"
	}
	return ""
}

func nodeReady(n *corev1.Node) bool {
	for _, k := range n.Status.Conditions {
		if k.Type == corev1.NodeReady {
			return k.Status == corev1.ConditionTrue
		}
	}
	return true
}

func tolerates(list []corev1.Toleration, t corev1.Taint) bool {
	return slices.ContainsFunc(list, func(o corev1.Toleration) bool {
		if o.Effect != "" && o.Effect != t.Effect || o.Key != "" && o.Key != t.Key {
			return false
		}
		return o.Operator == corev1.TolerationOpExists || o.Key != "" && o.Value == t.Value
	})
}

func tainted(p *simPod, n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key != corev1.TaintNodeUnschedulable && t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(p.Spec.Tolerations, t)
	})
}

func affine(p *corev1.Pod, n *corev1.Node) bool {
	for k, v := range p.Spec.NodeSelector {
		if n.Labels[k] != v {
			return false
		}
	}
	a := p.Spec.Affinity
	return a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil ||
		preflight.Selects(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution, n)
}

func (c *simulated) volumeElsewhere(p *simPod, n *corev1.Node) bool {
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		if r := c.volumes[p.Namespace+"/"+v.PersistentVolumeClaim.ClaimName]; r != nil && !preflight.Selects(r, n) {
			return true
		}
	}
	return false
}

// short reports that the pod's requests, its place or its host ports are not
// free on the node.
func (c *simulated) short(p *simPod, n *corev1.Node) bool {
	at := c.at[n.Name]
	for _, port := range p.ports {
		if slices.Contains(at.ports, port) {
			return true
		}
	}
	a := n.Status.Allocatable
	if limit, ok := a[corev1.ResourcePods]; ok && int64(len(at.pods)+1) > limit.Value() {
		return true
	}
	for name, q := range p.requests {
		have := a[name]
		if q > 0 && q+at.used[name] > have.MilliValue() {
			return true
		}
	}
	return false
}

// requests are what a pod asks for, in thousandths: the sum of its containers and
// sidecars, or more where an init container needs more; with its overhead
// (k8s.io/component-helpers/resource).
func requests(p *corev1.Pod) map[corev1.ResourceName]int64 {
	out := map[corev1.ResourceName]int64{}
	for _, c := range p.Spec.Containers {
		for name, q := range c.Resources.Requests {
			out[name] += q.MilliValue()
		}
	}
	sidecars := map[corev1.ResourceName]int64{}
	peak := map[corev1.ResourceName]int64{}
	for _, c := range p.Spec.InitContainers {
		always := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		for name, q := range c.Resources.Requests {
			if always {
				sidecars[name] += q.MilliValue()
			}
			with := sidecars[name]
			if !always {
				with += q.MilliValue()
			}
			peak[name] = max(peak[name], with)
		}
	}
	for name, q := range sidecars {
		out[name] += q
	}
	for name, q := range peak {
		out[name] = max(out[name], q)
	}
	for name, q := range p.Spec.Overhead {
		out[name] += q.MilliValue()
	}
	return out
}

func hostPorts(p *corev1.Pod) []string {
	var out []string
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.HostPort != 0 {
				out = append(out, fmt.Sprintf("%s/%d", port.Protocol, port.HostPort))
			}
		}
	}
	return out
}

// score prefers nodes with fewer pods of the same workload, then emptier ones.
func (c *simulated) score(p *simPod, n *corev1.Node, r *rules) float64 {
	s := 0.0
	for i := range r.spreads {
		s -= 10 * float64(r.spreads[i].skew(n))
	}
	top := c.topOf(p.Pod)
	at := c.at[n.Name]
	for _, o := range at.pods {
		s -= 0.01
		if c.topOf(o.Pod) == top {
			s--
		}
	}
	a := n.Status.Allocatable
	return s - float64(p.requests[corev1.ResourceCPU]+at.used[corev1.ResourceCPU])/float64(max(1, a.Cpu().MilliValue()))
}

// occupied is what is on a node, for the scheduler.
type occupied struct {
	labels map[string]string
	pods   []*simPod
	used   map[corev1.ResourceName]int64 // in thousandths
	ports  []string
}

func (o *occupied) add(p *simPod) {
	o.pods = append(o.pods, p)
	o.ports = append(o.ports, p.ports...)
	for name, q := range p.requests {
		o.used[name] += q
	}
}

// look takes stock of what is where; place works from that.
func (c *simulated) look() {
	c.at, c.apart = map[string]*occupied{}, nil
	for _, n := range c.nodes {
		c.at[n.Name] = &occupied{labels: n.Labels, used: map[corev1.ResourceName]int64{}}
	}
	for _, p := range c.pods {
		c.noteOn(p)
	}
}

func (c *simulated) noteOn(p *simPod) {
	if at := c.at[p.node]; at != nil {
		at.add(p)
		if len(p.terms.apart) > 0 {
			c.apart = append(c.apart, p)
		}
	}
}
