package forecast

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-rehearse/rehearse/probes/preflight"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// simulated is the cluster as the forecast goes on.
type simulated struct {
	nodes   []*corev1.Node
	pods    []*simPod
	budgets []*policyv1.PodDisruptionBudget
	// selectors of the budgets, by index.
	selectors []labels.Selector
	owners    map[types.UID]owner
	volumes   map[string]*corev1.NodeSelector // claim (namespace/name) to where its volume can be mounted

	// at and apart are what the scheduler looks at, see look.
	at    map[string]*occupied
	apart []*simPod // that are placed and must be apart from others
}

// simPod is a pod. Its spec is that of the snapshot.
type simPod struct {
	*corev1.Pod
	node    string // "" while it waits for one
	running bool   // of the phases only this decides over evictions
	ready   bool
	// broken is set where a new pod in its place would not become ready.
	broken bool
	// unstarted is set where it would not even run.
	unstarted bool
	// fresh is set for one that the forecast made.
	fresh bool

	requests map[corev1.ResourceName]int64 // in thousandths
	ports    []string                      // of the host
	terms    *terms
}

func (p *simPod) name() string { return p.Namespace + "/" + p.Name }

// owner is what makes pods again.
type owner struct {
	kind, namespace, name string
	// scale is how many pods it wants, for budgets; -1 where it is not known.
	scale int
	// top is the owner's own owner, or itself: a Deployment's ReplicaSets count
	// as one.
	top types.UID
}

func newCluster(s *preflight.State) *simulated {
	c := &simulated{owners: map[types.UID]owner{}, volumes: map[string]*corev1.NodeSelector{}}
	c.addOwners(s)
	for i := range s.Nodes {
		c.nodes = append(c.nodes, s.Nodes[i].DeepCopy())
	}
	for i := range s.Budgets {
		sel, err := metav1.LabelSelectorAsSelector(s.Budgets[i].Spec.Selector)
		if err != nil {
			continue // the API server would not have stored it
		}
		c.budgets = append(c.budgets, &s.Budgets[i])
		c.selectors = append(c.selectors, sel)
	}
	required := map[string]*corev1.NodeSelector{}
	for i := range s.Volumes {
		if a := s.Volumes[i].Spec.NodeAffinity; a != nil {
			required[s.Volumes[i].Name] = a.Required
		}
	}
	for i := range s.Claims {
		if r := required[s.Claims[i].Spec.VolumeName]; r != nil {
			c.volumes[s.Claims[i].Namespace+"/"+s.Claims[i].Name] = r
		}
	}
	healthy := map[types.UID]bool{}
	for i := range s.Pods {
		p := &s.Pods[i]
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil {
			continue // a drain takes the first two without asking, and the last is gone soon
		}
		sp := &simPod{Pod: p, node: p.Spec.NodeName, running: p.Status.Phase == corev1.PodRunning, ready: preflight.IsReady(p), requests: requests(p), ports: hostPorts(p), terms: termsOf(p)}
		if sp.ready {
			healthy[c.topOf(p)] = true
		}
		c.pods = append(c.pods, sp)
	}
	for _, p := range c.pods {
		p.broken = p.node != "" && !p.ready && !healthy[c.topOf(p.Pod)]
	}
	return c
}

func (c *simulated) addOwners(s *preflight.State) {
	count := func(n *int32) int {
		if n == nil {
			return 1
		}
		return int(*n)
	}
	for i := range s.Deployments {
		d := &s.Deployments[i]
		c.owners[d.UID] = owner{"deployment", d.Namespace, d.Name, count(d.Spec.Replicas), d.UID}
	}
	for i := range s.StatefulSets {
		d := &s.StatefulSets[i]
		c.owners[d.UID] = owner{"statefulset", d.Namespace, d.Name, count(d.Spec.Replicas), d.UID}
	}
	for i := range s.ReplicaSets {
		r := &s.ReplicaSets[i]
		o := owner{"replicaset", r.Namespace, r.Name, count(r.Spec.Replicas), r.UID}
		if up := metav1.GetControllerOfNoCopy(r); up != nil {
			if d, ok := c.owners[up.UID]; ok {
				o = d
			}
		}
		c.owners[r.UID] = o
	}
}

// ownerOf returns what makes a pod again, if anything does.
func (c *simulated) ownerOf(p *corev1.Pod) (owner, bool) {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil {
		return owner{}, false
	}
	if o, ok := c.owners[ref.UID]; ok {
		return o, true
	}
	return owner{strings.ToLower(ref.Kind), p.Namespace, ref.Name, -1, ref.UID}, true
}

func (c *simulated) topOf(p *corev1.Pod) types.UID {
	if o, ok := c.ownerOf(p); ok {
		return o.top
	}
	return p.UID
}

// order returns the names of control planes or workers in the order in which
// they are rolled: by name, a trailing number counting as one.
func (c *simulated) order(controlPlanes bool) []string {
	var out []string
	for _, n := range c.nodes {
		if system.IsControlPlane(n) == controlPlanes {
			out = append(out, n.Name)
		}
	}
	key := func(s string) (string, int) {
		stem := strings.TrimRight(s, "0123456789")
		n, _ := strconv.Atoi(s[len(stem):])
		return stem, n
	}
	slices.SortFunc(out, func(a, b string) int {
		x, m := key(a)
		y, n := key(b)
		if x != y {
			return strings.Compare(x, y)
		}
		return m - n
	})
	return out
}

func (c *simulated) node(name string) *corev1.Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// join adds a node like another one, with the pods of DaemonSets that it will
// have too.
func (c *simulated) join(name, like string) {
	n := c.node(like).DeepCopy()
	n.Name, n.UID, n.Spec.Unschedulable = name, types.UID(name), false
	n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return strings.HasPrefix(t.Key, "node.kubernetes.io/") })
	labels := map[string]string{}
	for k, v := range n.Labels {
		labels[k] = v
	}
	labels[corev1.LabelHostname] = name
	n.Labels = labels
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == corev1.NodeReady {
			n.Status.Conditions[i].Status = corev1.ConditionTrue
		}
	}
	c.nodes = append(c.nodes, n)
	for _, p := range slices.Clone(c.pods) {
		if p.node == like && stays(p.Pod) && p.Annotations[corev1.MirrorPodAnnotationKey] == "" {
			c.pods = append(c.pods, &simPod{Pod: p.Pod, node: name, running: p.running, ready: p.ready, fresh: true, requests: p.requests, ports: p.ports, terms: p.terms})
		}
	}
}

// leave removes a node with what is still on it. What came to it after it was
// drained is made again elsewhere.
func (c *simulated) leave(name string) {
	for _, p := range c.on([]string{name}) {
		c.evict(p)
	}
	c.nodes = slices.DeleteFunc(c.nodes, func(n *corev1.Node) bool { return n.Name == name })
	c.pods = slices.DeleteFunc(c.pods, func(p *simPod) bool { return p.node == name })
}

func (c *simulated) cordon(name string, on bool) { c.node(name).Spec.Unschedulable = on }

// stays reports pods that a drain leaves alone: static ones, and DaemonSets'.
func stays(p *corev1.Pod) bool {
	ref := metav1.GetControllerOfNoCopy(p)
	return p.Annotations[corev1.MirrorPodAnnotationKey] != "" || ref != nil && ref.Kind == "DaemonSet"
}
