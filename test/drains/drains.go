// Package drains holds the drain forecast against what drains really do: it makes
// workloads in a namespace of their own, foretells the drain from a snapshot,
// drains, and compares what stopped where.
package drains

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/forecast"
	"github.com/kube-rehearse/rehearse/probes/preflight"
)

// Bed is a cluster on which cases are played.
type Bed struct {
	Source preflight.Source
	// Workers are the nodes that may be drained.
	Workers []string
	// Image and Args are those of pods that do nothing.
	Image string
	Args  []string
	// Poll is how often things are looked at, and Patience how long they may take.
	Poll, Patience time.Duration
	// Drain cordons and drains a node. It returns an error where that did not end.
	Drain func(ctx context.Context, node string) error
}

// Case is a set of workloads and the nodes that are drained under them.
type Case struct {
	Name string
	Make func(ctx context.Context, n *Namespace) error
	// Nodes are indices of the bed's workers, drained one after another with none
	// uncordoned in between.
	Nodes []int
	// Stops are the nodes, of those, whose drain is expected to stop; nil expects
	// nothing but that forecast and reality are the same.
	Stops []int
}

// Namespace is where a case makes its workloads.
type Namespace struct {
	Bed  *Bed
	Name string
}

// Workload is a Deployment of a case.
type Workload struct {
	Name     string
	Replicas int32
	// On are indices of workers that its pods may go to; none means any.
	On []int
	// Unready pods never become ready; Apart, no two are on one node.
	Unready, Apart bool
}

// Deploy makes a Deployment.
func (n *Namespace) Deploy(ctx context.Context, w Workload) error {
	labels := map[string]string{"app": w.Name}
	spec := n.pod(w.On)
	if w.Apart {
		spec.Affinity.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: labels}, TopologyKey: corev1.LabelHostname}}}
	}
	if w.Unready {
		// The first probe comes after the case is over.
		spec.Containers[0].ReadinessProbe = &corev1.Probe{InitialDelaySeconds: 36000, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(1)}}}
	}
	_, err := n.Bed.Source.Client.AppsV1().Deployments(n.Name).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name},
		Spec: appsv1.DeploymentSpec{Replicas: &w.Replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}},
	}, metav1.CreateOptions{})
	return err
}

// Bare makes a pod without a controller on a worker.
func (n *Namespace) Bare(ctx context.Context, name string, on int) error {
	_, err := n.Bed.Source.Client.CoreV1().Pods(n.Name).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: n.pod([]int{on})}, metav1.CreateOptions{})
	return err
}

func (n *Namespace) pod(on []int) corev1.PodSpec {
	second := int64(1)
	spec := corev1.PodSpec{TerminationGracePeriodSeconds: &second, Containers: []corev1.Container{{Name: "app", Image: n.Bed.Image, Args: n.Bed.Args, ImagePullPolicy: corev1.PullIfNotPresent}}}
	if len(on) == 0 {
		for i := range n.Bed.Workers {
			on = append(on, i)
		}
	}
	var names []string
	for _, i := range on {
		names = append(names, n.Bed.Workers[i])
	}
	spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: names}}}}}}}
	return spec
}

// Guard makes a budget over the pods of a workload: "minAvailable=1" or
// "maxUnavailable=50%", and with always, those not ready are let go.
func (n *Namespace) Guard(ctx context.Context, name, app, rule string, always bool) error {
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name}}
	b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	key, value, _ := strings.Cut(rule, "=")
	x := intstr.Parse(value)
	if b.Spec.MinAvailable = &x; key == "maxUnavailable" {
		b.Spec.MinAvailable, b.Spec.MaxUnavailable = nil, &x
	}
	if always {
		policy := policyv1.AlwaysAllow
		b.Spec.UnhealthyPodEvictionPolicy = &policy
	}
	_, err := n.Bed.Source.Client.PolicyV1().PodDisruptionBudgets(n.Name).Create(ctx, b, metav1.CreateOptions{})
	return err
}

// Outcome is what was foretold and what came, by node.
type Outcome struct {
	Node string
	// Foretold and Real tell whether the drain stops. Unsure is set where the
	// forecast said only that it may.
	Foretold, Real, Unsure bool
	Why                    string // of the forecast
	Err                    string // of the drain
}

// Play makes the case's workloads, foretells, drains, and puts everything back.
func (b *Bed) Play(ctx context.Context, c Case, namespace string) (out []Outcome, err error) {
	client := b.Source.Client
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.putBack(ctx, namespace)) }()
	if err := c.Make(ctx, &Namespace{b, namespace}); err != nil {
		return nil, err
	}
	if err := b.await(ctx, "the workloads stand still", b.stillness(namespace)); err != nil {
		return nil, err
	}
	s, err := preflight.Observe(ctx, b.Source)
	if err != nil {
		return nil, err
	}
	o := forecast.Options{MaxUnavailable: len(c.Nodes)}
	for _, i := range c.Nodes {
		o.Nodes = append(o.Nodes, b.Workers[i])
	}
	roll, err := forecast.Of(s, o)
	if err != nil {
		return nil, err
	}
	for _, d := range roll.Drains {
		o := Outcome{Node: d.Name, Foretold: len(d.Stops) > 0, Unsure: len(d.Stops) > 0}
		for _, stop := range d.Stops {
			o.Unsure = o.Unsure && stop.Placement
			o.Why += stop.Pod + ": " + stop.Why + "; "
		}
		if err := b.Drain(ctx, d.Name); err != nil {
			o.Real, o.Err = true, err.Error()
		}
		out = append(out, o)
		if err := b.await(ctx, "the workloads stand still", b.stillness(namespace)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// putBack uncordons the workers and deletes the namespace.
func (b *Bed) putBack(ctx context.Context, namespace string) error {
	client := b.Source.Client
	for _, w := range b.Workers {
		if _, err := client.CoreV1().Nodes().Patch(ctx, w, types.StrategicMergePatchType, []byte(`{"spec":{"unschedulable":null}}`), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("uncordon %s: %w", w, err)
		}
	}
	// Budgets go first, so that nothing is held.
	if err := client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete namespace %s: %w", namespace, err)
	}
	return b.await(ctx, "the namespace is gone and the system stands still", func(ctx context.Context) (string, error) {
		if _, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("namespace %s is there (%w)", namespace, err)
		}
		return b.stillness("")(ctx)
	})
}

// stillness describes pods and budgets; an error says what still moves.
func (b *Bed) stillness(namespace string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		pods, err := b.Source.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		var seen []string
		perOwner := map[string]int32{}
		for i := range pods.Items {
			p := &pods.Items[i]
			if o := metav1.GetControllerOfNoCopy(p); o != nil {
				perOwner[p.Namespace+"/"+o.Name]++
			}
			unschedulable := slices.ContainsFunc(p.Status.Conditions, func(k corev1.PodCondition) bool {
				return k.Type == corev1.PodScheduled && k.Reason == corev1.PodReasonUnschedulable
			})
			waits := len(p.Spec.Containers) > 0 && p.Spec.Containers[0].ReadinessProbe != nil && p.Spec.Containers[0].ReadinessProbe.InitialDelaySeconds > 3600
			switch {
			case p.DeletionTimestamp != nil:
				return "", fmt.Errorf("pod %s/%s is going", p.Namespace, p.Name)
			case p.Status.Phase == corev1.PodRunning && (preflight.IsReady(p) || waits), p.Status.Phase == corev1.PodPending && unschedulable, p.Status.Phase == corev1.PodSucceeded:
			default:
				return "", fmt.Errorf("pod %s/%s is %s, ready %t", p.Namespace, p.Name, p.Status.Phase, preflight.IsReady(p))
			}
			seen = append(seen, fmt.Sprint(p.UID, p.Spec.NodeName, p.Status.Phase, preflight.IsReady(p)))
		}
		sets, err := b.Source.Client.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		for _, r := range sets.Items {
			if r.Spec.Replicas != nil && perOwner[r.Namespace+"/"+r.Name] != *r.Spec.Replicas {
				return "", fmt.Errorf("ReplicaSet %s/%s has %d of %d pods", r.Namespace, r.Name, perOwner[r.Namespace+"/"+r.Name], *r.Spec.Replicas)
			}
		}
		deployments, err := b.Source.Client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		if len(deployments.Items) > len(sets.Items) {
			return "", errors.New("a Deployment has no ReplicaSet yet")
		}
		budgets, err := b.Source.Client.PolicyV1().PodDisruptionBudgets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		for _, g := range budgets.Items {
			if g.Status.ObservedGeneration < g.Generation || len(g.Status.DisruptedPods) > 0 {
				return "", fmt.Errorf("budget %s is not computed", g.Name)
			}
			seen = append(seen, fmt.Sprint(g.Name, g.Status.ExpectedPods, g.Status.CurrentHealthy, g.Status.DisruptionsAllowed))
		}
		slices.Sort(seen)
		return strings.Join(seen, "\n"), nil
	}
}

// await polls until look succeeds with the same description three times.
func (b *Bed) await(ctx context.Context, what string, look func(context.Context) (string, error)) error {
	deadline := time.Now().Add(b.Patience)
	last, same := "", 0
	for {
		now, err := look(ctx)
		switch {
		case err != nil:
			same = 0
		case now == last && same > 0:
			same++
		default:
			last, same = now, 1
		}
		if same == 3 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait until %s: not within %s (%w)", what, b.Patience, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(b.Poll):
		}
	}
}
