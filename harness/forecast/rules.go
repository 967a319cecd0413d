package forecast

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// term is one required term of a pod's affinity to other pods. A selector of
// namespaces by label is taken for the pod's own namespace, but for the empty
// one, which means all.
type term struct {
	key        string
	selector   labels.Selector
	all        bool
	namespaces []string
}

func (t *term) means(o *corev1.Pod) bool {
	return (t.all || slices.Contains(t.namespaces, o.Namespace)) && t.selector.Matches(labels.Set(o.Labels))
}

// terms are what a pod's spec says of other pods.
type terms struct {
	apart, beside []term
	spread        []labels.Selector // of its topology spread constraints; nil where it cannot be read
}

func termsOf(p *corev1.Pod) *terms {
	out := &terms{}
	if a := p.Spec.Affinity; a != nil {
		if a.PodAntiAffinity != nil {
			out.apart = compile(p, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		}
		if a.PodAffinity != nil {
			out.beside = compile(p, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		}
	}
	for _, s := range p.Spec.TopologySpreadConstraints {
		sel, err := metav1.LabelSelectorAsSelector(s.LabelSelector)
		if err != nil {
			sel = nil
		}
		out.spread = append(out.spread, sel)
	}
	return out
}

func compile(p *corev1.Pod, list []corev1.PodAffinityTerm) []term {
	out := make([]term, 0, len(list))
	for _, t := range list {
		sel, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
		if err != nil {
			continue // the API server would not have stored it
		}
		c := term{key: t.TopologyKey, selector: sel, namespaces: t.Namespaces}
		c.all = t.NamespaceSelector != nil && len(t.NamespaceSelector.MatchLabels)+len(t.NamespaceSelector.MatchExpressions) == 0
		if len(c.namespaces) == 0 {
			c.namespaces = []string{p.Namespace}
		}
		out = append(out, c)
	}
	return out
}

type domain struct{ key, value string }

// rules are what other pods mean for the placement of one, worked out once for
// all nodes.
type rules struct {
	forbidden map[domain]bool
	beside    []besideRule
	spreads   []spread
}

type besideRule struct {
	key     string
	domains map[string]bool
	first   bool // nothing is there yet, and the pod itself would do
}

func (c *simulated) rulesFor(p *simPod) *rules {
	r := &rules{forbidden: map[domain]bool{}}
	// What must not be beside the pod, whoever says so.
	for _, o := range c.apart {
		for i := range o.terms.apart {
			if t := &o.terms.apart[i]; t.means(p.Pod) {
				r.forbidden[domain{t.key, c.at[o.node].labels[t.key]}] = true
			}
		}
	}
	for i := range p.terms.apart {
		t := &p.terms.apart[i]
		c.whereMeant(t, func(value string) { r.forbidden[domain{t.key, value}] = true })
	}
	for i := range p.terms.beside {
		t := &p.terms.beside[i]
		b := besideRule{key: t.key, domains: map[string]bool{}}
		c.whereMeant(t, func(value string) { b.domains[value] = true })
		b.first = len(b.domains) == 0 && t.means(p.Pod)
		r.beside = append(r.beside, b)
	}
	for i, s := range p.Spec.TopologySpreadConstraints {
		r.spreads = append(r.spreads, c.spreadFor(p, s, p.terms.spread[i]))
	}
	return r
}

// whereMeant calls f with the domain of each pod that a term means.
func (c *simulated) whereMeant(t *term, f func(value string)) {
	for _, n := range c.nodes {
		value, ok := n.Labels[t.key]
		if !ok {
			continue
		}
		for _, q := range c.at[n.Name].pods {
			if t.means(q.Pod) {
				f(value)
			}
		}
	}
}

func (r *rules) repels(n *corev1.Node) bool {
	for d := range r.forbidden {
		if value, ok := n.Labels[d.key]; ok && value == d.value {
			return true
		}
	}
	return false
}

func (r *rules) attracts(n *corev1.Node) bool {
	for _, b := range r.beside {
		if !b.first && !b.domains[n.Labels[b.key]] {
			return false
		}
	}
	return true
}

func (r *rules) unspread(n *corev1.Node) bool {
	for i := range r.spreads {
		if s := &r.spreads[i]; s.must && s.skew(n) > s.most {
			return true
		}
	}
	return false
}

// spread is a topology spread constraint: how many pods it counts in each domain
// that the pod could go to
// (k8s.io/kubernetes/pkg/scheduler/framework/plugins/podtopologyspread).
type spread struct {
	key         string
	must        bool
	most, least int
	self        int // 1 where the pod itself counts
	count       map[string]int
	unreadable  bool
}

func (c *simulated) spreadFor(p *simPod, s corev1.TopologySpreadConstraint, sel labels.Selector) spread {
	out := spread{key: s.TopologyKey, must: s.WhenUnsatisfiable == corev1.DoNotSchedule, most: int(s.MaxSkew), count: map[string]int{}, unreadable: sel == nil}
	if sel == nil {
		return out
	}
	if sel.Matches(labels.Set(p.Labels)) {
		out.self = 1
	}
	for _, n := range c.nodes {
		value, ok := n.Labels[s.TopologyKey]
		ignoresAffinity := s.NodeAffinityPolicy != nil && *s.NodeAffinityPolicy == corev1.NodeInclusionPolicyIgnore
		if !ok || !ignoresAffinity && !affine(p.Pod, n) {
			continue
		}
		if s.NodeTaintsPolicy != nil && *s.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor && (tainted(p, n) || n.Spec.Unschedulable) {
			continue
		}
		out.count[value] += 0
		for _, q := range c.at[n.Name].pods {
			same := q.Namespace == p.Namespace && sel.Matches(labels.Set(q.Labels))
			for _, k := range s.MatchLabelKeys {
				same = same && q.Labels[k] == p.Labels[k]
			}
			if same {
				out.count[value]++
			}
		}
	}
	first := true
	for _, n := range out.count {
		if first || n < out.least {
			out.least, first = n, false
		}
	}
	if s.MinDomains != nil && len(out.count) < int(*s.MinDomains) {
		out.least = 0
	}
	return out
}

// skew is how many pods the node's domain would have, with the pod, over the
// emptiest one.
func (s *spread) skew(n *corev1.Node) int {
	value, ok := n.Labels[s.key]
	if !ok || s.unreadable {
		return s.most + 1
	}
	return s.count[value] + s.self - s.least
}
