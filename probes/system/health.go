package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// HealthOptions says when a cluster counts as healthy.
type HealthOptions struct {
	// Consecutive healthy validations are needed, Interval apart, within Timeout.
	Consecutive       int
	Interval, Timeout time.Duration
	// CanaryNamespace and CanaryName are those of the canary's Deployment; no
	// canary is looked for where CanaryName is empty.
	CanaryNamespace, CanaryName string
	// Events takes one event of kind validation for each that passed, and one each
	// time that what blocks has changed.
	Events *timeline.Recorder
	// Blocked, if set, is told each time that what blocks has changed.
	Blocked func(by string)
}

// Blocker is something that keeps the cluster from being healthy.
type Blocker struct {
	Object string // "node/NAME", "pod/NAMESPACE/NAME", "deployment/NAMESPACE/NAME", ...
	Why    string
}

// String returns the object and why it blocks, in one line.
func (b Blocker) String() string { return b.Object + " " + b.Why }

// NotHealthyError says that the cluster did not become healthy in time, and
// what blocked it.
type NotHealthyError struct {
	Consecutive, Reached int
	Timeout              time.Duration
	Blockers             []Blocker
	// For is how long each blocker, by Object, blocked without a break.
	For map[string]time.Duration
	// Err is set where the last validation could not look.
	Err error
	// Before is what blocked last where the last validation names nothing.
	Before string
}

// Error names what blocked, longest first.
func (e *NotHealthyError) Error() string {
	out := fmt.Sprintf("the cluster was not healthy for %s within %v", count(e.Consecutive, "consecutive validation"), e.Timeout)
	switch {
	case e.Err != nil:
		return out + ": the last validation could not look: " + e.Err.Error() + e.before()
	case len(e.Blockers) == 0:
		return out + fmt.Sprintf(": the last %d were", e.Reached) + e.before()
	}
	blockers := slices.Clone(e.Blockers)
	slices.SortStableFunc(blockers, func(a, b Blocker) int { return int(e.For[b.Object] - e.For[a.Object]) })
	var parts []string
	for _, b := range blockers {
		parts = append(parts, fmt.Sprintf("%s, for %v", b, e.For[b.Object].Round(time.Second)))
	}
	return out + ": " + strings.Join(parts, "; ")
}

func (e *NotHealthyError) before() string {
	if e.Before == "" {
		return ""
	}
	return "; it was blocked before by " + e.Before
}

// Unwrap returns Err.
func (e *NotHealthyError) Unwrap() error { return e.Err }

// WaitHealthy blocks until o.Consecutive validations in a row found the cluster
// healthy; a single one can fall between two troubles. It returns a
// *NotHealthyError when that was not reached in time, and ctx's cause when ctx
// ended. A validation that cannot look, as while API servers restart, counts as
// not healthy.
func WaitHealthy(ctx context.Context, client kubernetes.Interface, o HealthOptions) error {
	start := time.Now()
	since := map[string]time.Time{}
	reached := 0
	told, before := "", ""
	for {
		blockers, err := validateWithin(ctx, client, o, start)
		if ctx.Err() != nil {
			return fmt.Errorf("wait for a healthy cluster: %w", context.Cause(ctx))
		}
		since = stillBlocking(since, blockers, time.Now())
		reached++
		if err != nil || len(blockers) > 0 {
			reached = 0
		}
		by := blockedBy(blockers, err)
		if len(blockers) > 0 {
			before = by
		}
		if by != told && by != "" && o.Blocked != nil {
			o.Blocked(by)
		}
		if by == "" || by != told {
			o.record(reached, by)
		}
		told = by
		if reached >= o.Consecutive {
			return nil
		}
		if time.Since(start)+o.Interval > o.Timeout {
			e := &NotHealthyError{Consecutive: o.Consecutive, Reached: reached, Timeout: o.Timeout, Blockers: blockers, Err: err, Before: before, For: map[string]time.Duration{}}
			for object, t := range since {
				e.For[object] = time.Since(t)
			}
			return e
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a healthy cluster: %w", context.Cause(ctx))
		case <-time.After(o.Interval):
		}
	}
}

// validationTimeout bounds one validation, so that a hanging API server does
// not hide how often it was asked.
const validationTimeout = 30 * time.Second

func validateWithin(ctx context.Context, client kubernetes.Interface, o HealthOptions, start time.Time) ([]Blocker, error) {
	left := max(o.Timeout-time.Since(start), time.Second)
	ctx, cancel := context.WithTimeout(ctx, min(left, validationTimeout))
	defer cancel()
	return Validate(ctx, client, o.CanaryNamespace, o.CanaryName)
}

// stillBlocking carries over since when each object blocks, and forgets those
// that no longer do.
func stillBlocking(since map[string]time.Time, blockers []Blocker, now time.Time) map[string]time.Time {
	out := map[string]time.Time{}
	for _, b := range blockers {
		out[b.Object] = now
		if t, ok := since[b.Object]; ok {
			out[b.Object] = t
		}
	}
	return out
}

// blockedBy is what blocks in one line, "" where nothing does.
func blockedBy(blockers []Blocker, err error) string {
	var by []string
	for _, b := range blockers {
		by = append(by, b.String())
	}
	if err != nil {
		by = append(by, "could not look: "+err.Error())
	}
	return strings.Join(by, "; ")
}

func (o HealthOptions) record(reached int, by string) {
	if o.Events == nil {
		return
	}
	detail := map[string]string{"passed": strconv.FormatBool(by == ""), "consecutive": fmt.Sprintf("%d of %d", reached, o.Consecutive)}
	if by != "" {
		detail["blockedBy"] = by
	}
	o.Events.Record(timeline.SourceStep, timeline.KindValidation, "cluster", detail)
}

// Validate looks once and returns what keeps the cluster from being healthy:
// nodes that are not Ready; pods of a system-critical priority, in any
// namespace, that are not; system-critical Deployments and DaemonSets with
// fewer pods than wanted or in the middle of a rollout; control planes without a static pod that another one
// has; and the canary, unless it is fully Ready. The error means it could not look.
func Validate(ctx context.Context, client kubernetes.Interface, canaryNamespace, canaryName string) ([]Blocker, error) {
	all := metav1.ListOptions{}
	var errs [4]error
	nodes, err := client.CoreV1().Nodes().List(ctx, all)
	errs[0] = err
	pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, all)
	errs[1] = err
	deployments, err := client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, all)
	errs[2] = err
	daemonSets, err := client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, all)
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	out := blockedByNodes(nodes.Items)
	out = append(out, blockedByPods(pods.Items)...)
	out = append(out, blockedByStatic(nodes.Items, pods.Items)...)
	out = append(out, blockedByDaemonSets(daemonSets.Items)...)
	out = append(out, blockedByDeployments(deployments.Items, canaryNamespace, canaryName)...)
	return out, nil
}

func blockedByNodes(nodes []corev1.Node) []Blocker {
	if len(nodes) == 0 {
		return []Blocker{{"cluster", "has no nodes"}}
	}
	var out []Blocker
	for i := range nodes {
		if ok, why := NodeReady(&nodes[i]); !ok {
			out = append(out, Blocker{"node/" + nodes[i].Name, strings.TrimSpace("is not Ready " + brackets(why))})
		}
	}
	return out
}

// isCritical reports whether pods of that priority class are the system's.
func isCritical(priorityClass string) bool {
	return priorityClass == "system-node-critical" || priorityClass == "system-cluster-critical"
}

func blockedByPods(pods []corev1.Pod) []Blocker {
	var out []Blocker
	for i := range pods {
		p := &pods[i]
		// One that is going is replaced by another, which its workload counts.
		if !isCritical(p.Spec.PriorityClassName) || p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || podReady(p) {
			continue
		}
		why := "is not Ready"
		if p.Status.Phase == corev1.PodFailed {
			why = "lingers as Failed"
		}
		if r := podReason(p); r != "" && r != "NotReady" {
			why += " " + brackets(r)
		}
		if p.Spec.NodeName != "" {
			why += " on " + p.Spec.NodeName
		}
		out = append(out, Blocker{"pod/" + p.Namespace + "/" + p.Name, why})
	}
	return out
}

// blockedByStatic finds control planes that lack a static pod which another
// control plane has: while it is not there, no pod can be seen not to be Ready.
func blockedByStatic(nodes []corev1.Node, pods []corev1.Pod) []Blocker {
	var control []string
	for i := range nodes {
		if IsControlPlane(&nodes[i]) {
			control = append(control, nodes[i].Name)
		}
	}
	slices.Sort(control)
	on := map[string][]string{} // component to nodes
	var components []string
	for i := range pods {
		p := &pods[i]
		name, ok := strings.CutSuffix(p.Name, "-"+p.Spec.NodeName)
		if !ok || !isStatic(p) || p.Namespace != metav1.NamespaceSystem || !slices.Contains(control, p.Spec.NodeName) {
			continue
		}
		if on[name] == nil {
			components = append(components, name)
		}
		on[name] = append(on[name], p.Spec.NodeName)
	}
	slices.Sort(components)
	var out []Blocker
	for _, c := range components {
		for _, n := range control {
			if !slices.Contains(on[c], n) {
				out = append(out, Blocker{"node/" + n, "runs no " + c})
			}
		}
	}
	return out
}

func blockedByDaemonSets(sets []appsv1.DaemonSet) []Blocker {
	var out []Blocker
	for i := range sets {
		d := &sets[i]
		if !isCritical(d.Spec.Template.Spec.PriorityClassName) {
			continue
		}
		if why := holdsUp(d.Status.NumberReady, d.Status.DesiredNumberScheduled, unfinishedDaemonSet(d)); why != "" {
			out = append(out, Blocker{"daemonset/" + d.Namespace + "/" + d.Name, why})
		}
	}
	return out
}

// holdsUp says what a workload lacks: ready pods, or the end of a rollout. The
// second matters because old pods are ready too.
func holdsUp(ready, desired int32, rollout string) string {
	if ready < desired {
		return fmt.Sprintf("has %d of %d pods ready", ready, desired)
	}
	if rollout != "" {
		return "is not settled: " + strings.ToLower(rollout[:1]) + strings.TrimSuffix(rollout[1:], ".")
	}
	return ""
}

func blockedByDeployments(deployments []appsv1.Deployment, canaryNamespace, canaryName string) []Blocker {
	var out []Blocker
	seen := canaryName == ""
	for i := range deployments {
		d := &deployments[i]
		canary := d.Namespace == canaryNamespace && d.Name == canaryName
		seen = seen || canary
		if !canary && !isCritical(d.Spec.Template.Spec.PriorityClassName) {
			continue
		}
		if why := holdsUp(d.Status.ReadyReplicas, wanted(d), unfinishedDeployment(d)); why != "" {
			out = append(out, Blocker{"deployment/" + d.Namespace + "/" + d.Name, why})
		}
	}
	if !seen {
		out = append(out, Blocker{"deployment/" + canaryNamespace + "/" + canaryName, "does not exist"})
	}
	return out
}
