package system

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Kinds of components, as record.Component spells them.
const (
	KindDeployment = "Deployment"
	KindDaemonSet  = "DaemonSet"
	KindStatic     = "Static"
)

const (
	etcd      = "etcd"
	kubeProxy = "kube-proxy"
)

// aliases are other names under which clusters run a component. Any component
// is found under its own name too, so the table holds only what differs.
var aliases = map[string][]string{
	"kube-flannel":        {"kube-flannel-ds", "kube-flannel-ds-amd64", "flannel"},
	"coredns":             {"kube-dns"},
	"kube-dns":            {"coredns"},
	"kube-dns-autoscaler": {"dns-autoscaler", "coredns-autoscaler"},
	"dns-autoscaler":      {"kube-dns-autoscaler", "coredns-autoscaler"},
	etcd:                  {"etcd-server", "etcd-manager-main"}, // kops
	"etcd-server":         {"etcd-manager-main", etcd},
	"etcd-server-events":  {"etcd-manager-events", "etcd-events"},
}

// componentLabels are the labels whose value names a component: kops' and
// kubeadm's.
var componentLabels = []string{"k8s-app", "component", "app", "app.kubernetes.io/name"}

// component finds a component and says what is wrong with it. It looks for a
// Deployment or DaemonSet of that name first, and then for static pods.
func (v inventory) component(name string) record.Component {
	names := append([]string{name}, aliases[name]...)
	for _, n := range names {
		if i := slices.IndexFunc(v.deployments, func(d appsv1.Deployment) bool { return d.Name == n }); i >= 0 {
			return v.deployment(name, &v.deployments[i])
		}
		if i := slices.IndexFunc(v.daemonSets, func(d appsv1.DaemonSet) bool {
			return d.Name == n && slices.Contains(Namespaces, d.Namespace)
		}); i >= 0 {
			return v.daemonSet(name, &v.daemonSets[i])
		}
	}
	if pods := v.staticPods(names); len(pods) > 0 {
		return v.static(name, pods)
	}
	return record.Component{Name: name, Problem: fmt.Sprintf(
		"No Deployment, DaemonSet or static pod called %s was found in the system's namespaces.", strings.Join(names, " or "))}
}

func (v inventory) deployment(name string, d *appsv1.Deployment) record.Component {
	c := record.Component{Name: name, Kind: KindDeployment, Present: true, Desired: int(wanted(d)), Ready: int(d.Status.ReadyReplicas)}
	c.Instances = instances(v.ownedBy(d.Namespace, d.Spec.Selector), name)
	c.Problem = first(
		shortage(c),
		unfinishedDeployment(d))
	return c
}

func (v inventory) daemonSet(name string, d *appsv1.DaemonSet) record.Component {
	c := record.Component{Name: name, Kind: KindDaemonSet, Present: true,
		Desired: int(d.Status.DesiredNumberScheduled), Ready: int(d.Status.NumberReady)}
	c.Instances = instances(v.ownedBy(d.Namespace, d.Spec.Selector), name)
	c.Problem = first(
		shortage(c),
		unfinishedDaemonSet(d))
	if name == kubeProxy {
		// Whatever the controller wants, a node without kube-proxy reaches no Service.
		c.Desired = max(c.Desired, len(v.nodes))
		c.Problem = first(c.Problem, missing(c, v.nodeNames(), "node"))
	}
	return c
}

func (v inventory) static(name string, pods []*corev1.Pod) record.Component {
	c := record.Component{Name: name, Kind: KindStatic, Present: true, Instances: instances(pods, name)}
	on, what := v.controlPlanes(), "control plane"
	if name == kubeProxy {
		on, what = v.nodeNames(), "node"
	}
	c.Desired = max(len(on), len(c.Instances))
	for _, p := range c.Instances {
		if p.Ready {
			c.Ready++
		}
	}
	c.Problem = first(missing(c, on, what), shortage(c))
	return c
}

// withMembers adds etcd's own view of itself to its component.
func withMembers(c *record.Component, members []record.Named, controlPlanes int) {
	c.Members = members
	var sick []string
	for _, m := range members {
		if !m.OK {
			sick = append(sick, strings.TrimSpace(m.Name+" "+brackets(m.Detail)))
		}
	}
	switch {
	case c.Problem != "":
	case len(sick) > 0:
		c.Problem = fmt.Sprintf("%d of %d members are unhealthy: %s.", len(sick), len(members), strings.Join(sick, ", "))
	case controlPlanes > 0 && c.Kind == KindStatic && len(members) != controlPlanes:
		c.Problem = fmt.Sprintf("It has %s for %s.", count(len(members), "member"), count(controlPlanes, "control plane"))
	}
}

// staticPods returns the pods that belong to a node and carry one of names.
// They are told from others by their owner, which is the Node.
func (v inventory) staticPods(names []string) []*corev1.Pod {
	var out []*corev1.Pod
	for _, name := range names {
		for i := range v.pods {
			p := &v.pods[i]
			if isStatic(p) && called(p, name) {
				out = append(out, p)
			}
		}
		if len(out) > 0 {
			break
		}
	}
	return out
}

func isStatic(p *corev1.Pod) bool {
	return p.Annotations[corev1.MirrorPodAnnotationKey] != "" ||
		slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "Node" })
}

func called(p *corev1.Pod, name string) bool {
	for _, l := range componentLabels {
		if p.Labels[l] == name {
			return true
		}
	}
	return p.Name == name+"-"+p.Spec.NodeName
}

// ownedBy returns the living pods of a workload: neither going nor done.
func (v inventory) ownedBy(namespace string, selector *metav1.LabelSelector) []*corev1.Pod {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		s = labels.Nothing() // the API server would not have stored it
	}
	var out []*corev1.Pod
	for i := range v.pods {
		p := &v.pods[i]
		if p.Namespace == namespace && s.Matches(labels.Set(p.Labels)) && p.DeletionTimestamp == nil &&
			p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
			out = append(out, p)
		}
	}
	return out
}

func instances(pods []*corev1.Pod, component string) []record.PodState {
	out := make([]record.PodState, 0, len(pods))
	for _, p := range pods {
		out = append(out, podState(p, component))
	}
	slices.SortFunc(out, func(a, b record.PodState) int { return strings.Compare(a.Pod, b.Pod) })
	return out
}

// shortage says that fewer pods are ready than shall be, and which are not.
func shortage(c record.Component) string {
	if c.Desired == 0 {
		return "It is scaled to no pod at all."
	}
	if c.Ready >= c.Desired {
		return ""
	}
	var sick []string
	for _, p := range c.Instances {
		if !p.Ready {
			at := p.Pod
			if p.Node != "" {
				at += " on " + p.Node
			}
			sick = append(sick, strings.TrimSpace(at+" "+brackets(p.Reason)))
		}
	}
	out := fmt.Sprintf("%d of %d pods are ready", c.Ready, c.Desired)
	if len(sick) > 0 {
		out += "; not ready: " + strings.Join(sick, ", ")
	}
	return out + "."
}

func unfinishedDeployment(d *appsv1.Deployment) string {
	return unfinished(d.Generation, d.Status.ObservedGeneration, int(d.Status.UpdatedReplicas), int(wanted(d)))
}

func unfinishedDaemonSet(d *appsv1.DaemonSet) string {
	updated, desired := d.Status.UpdatedNumberScheduled, d.Status.DesiredNumberScheduled
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		updated = desired // old pods stay until somebody deletes them, and that is meant
	}
	return unfinished(d.Generation, d.Status.ObservedGeneration, int(updated), int(desired))
}

// wanted returns how many pods a Deployment shall have.
func wanted(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// unfinished says that a rollout is under way: what is ready is not yet what
// shall be.
func unfinished(generation, observed int64, updated, desired int) string {
	switch {
	case observed < generation:
		return "Its controller has not acted on its latest specification yet."
	case updated < desired:
		return fmt.Sprintf("Its rollout is not finished: %d of %d pods are of the latest specification.", updated, desired)
	}
	return ""
}

// missing names the nodes without an instance.
func missing(c record.Component, on []string, what string) string {
	var bare []string
	for _, n := range on {
		if !slices.ContainsFunc(c.Instances, func(p record.PodState) bool { return p.Node == n }) {
			bare = append(bare, n)
		}
	}
	if len(bare) == 0 {
		return ""
	}
	return fmt.Sprintf("It does not run on %s %s.", what, strings.Join(bare, ", "))
}

func first(problems ...string) string {
	for _, p := range problems {
		if p != "" {
			return p
		}
	}
	return ""
}

func brackets(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
