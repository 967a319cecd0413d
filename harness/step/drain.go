package step

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/kubectl/pkg/drain"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// DrainOptions bound a drain.
type DrainOptions struct {
	Timeout time.Duration // for all of the node's pods together
	After   time.Duration // rest after the last pod is gone
}

// evictRetry is the pause before a refused eviction is asked for again, as
// kubectl and kops have it. The library's zero value would ask without a pause,
// thousands of times a second.
const evictRetry = 5 * time.Second

// drainNode cordons the node and evicts its pods, honouring every budget. A
// refused eviction is retried until the timeout; the error then names the pods
// that are still there and the budgets that hold them.
func drainNode(ctx context.Context, env *Env, node *corev1.Node, o DrainOptions) error {
	subject := "node/" + node.Name
	d := &drainer{env: env, node: node.Name, refused: map[string]string{}}
	h := d.helper(ctx, o.Timeout)
	if err := retryAPI(ctx, env, "cordon "+node.Name, func() error { return drain.RunCordonOrUncordon(h, node, true) }); err != nil {
		return fmt.Errorf("cordon node %s: %w", node.Name, err)
	}
	env.event(timeline.KindDrainStart, subject, map[string]string{"timeout": o.Timeout.String()})
	err := retryAPI(ctx, env, "drain "+node.Name, func() error { return drain.RunNodeDrain(h, node.Name) })
	detail := map[string]string{"evicted": fmt.Sprint(d.evicted)}
	if err != nil {
		detail["error"] = err.Error()
		err = d.explain(ctx, err)
	}
	env.event(timeline.KindDrainEnd, subject, detail)
	if err != nil {
		return err
	}
	return sleep(ctx, o.After)
}

// uncordonNode lets the scheduler use the node again.
func uncordonNode(ctx context.Context, env *Env, node *corev1.Node) error {
	h := (&drainer{env: env, node: node.Name}).helper(ctx, 0)
	if err := retryAPI(ctx, env, "uncordon "+node.Name, func() error { return drain.RunCordonOrUncordon(h, node, false) }); err != nil {
		return fmt.Errorf("uncordon node %s: %w", node.Name, err)
	}
	return nil
}

// drainer listens to the drain library, which tells of refused evictions only
// in the text that it prints for a person.
type drainer struct {
	env  *Env
	node string

	mu      sync.Mutex
	evicted int
	refused map[string]string // pod -> reason of the last refusal
	partial string
}

func (d *drainer) helper(ctx context.Context, timeout time.Duration) *drain.Helper {
	return &drain.Helper{
		Ctx: ctx, Client: d.env.client(), GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		Timeout: timeout, EvictErrorRetryDelay: evictRetry, Out: io.Discard, ErrOut: d, OnPodDeletionOrEvictionFinished: d.finished,
	}
}

var refusal = regexp.MustCompile(`error when evicting pods/"([^"]+)" -n "([^"]+)" \(will retry after [^)]*\): (.*)`)

func (d *drainer) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.partial += string(b)
	for {
		line, rest, ok := strings.Cut(d.partial, "\n")
		if !ok {
			return len(b), nil
		}
		d.partial = rest
		m := refusal.FindStringSubmatch(line)
		if m == nil {
			d.env.Log.Debug(line, "node", d.node)
			continue
		}
		pod := m[2] + "/" + m[1]
		if _, again := d.refused[pod]; !again {
			d.env.Log.Warn("eviction refused, retrying", "pod", pod, "node", d.node, "reason", m[3])
		}
		d.refused[pod] = m[3]
		d.env.event(timeline.KindEvictRefused, "pod/"+pod, map[string]string{"node": d.node, "reason": m[3]})
	}
}

func (d *drainer) finished(pod *corev1.Pod, _ bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := pod.Namespace + "/" + pod.Name
	detail := map[string]string{"node": d.node}
	if err != nil {
		detail["error"] = err.Error()
	} else {
		d.evicted++
		delete(d.refused, name)
	}
	d.env.event(timeline.KindEvict, "pod/"+name, detail)
}

// explain says which pods held the drain up and what holds them.
func (d *drainer) explain(ctx context.Context, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.refused) == 0 || ctx.Err() != nil {
		return fmt.Errorf("drain node %s: %w", d.node, err)
	}
	var held []string
	for pod, reason := range d.refused {
		held = append(held, fmt.Sprintf("pod %s (%s; %s)", pod, strings.TrimSuffix(reason, "."), d.budgets(ctx, pod)))
	}
	sort.Strings(held)
	return fmt.Errorf("drain node %s: %w; still there: %s; give the workload one replica more than its budget demands, or loosen the budget",
		d.node, err, strings.Join(held, ", "))
}

// budgets names the disruption budgets that select the pod.
func (d *drainer) budgets(ctx context.Context, name string) string {
	ns, podName, _ := strings.Cut(name, "/")
	pod, err := d.env.client().CoreV1().Pods(ns).Get(ctx, podName, metav1.GetOptions{})
	if err != nil {
		return "the pod could not be read: " + err.Error()
	}
	list, err := d.env.client().PolicyV1().PodDisruptionBudgets(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "its budgets could not be read: " + err.Error()
	}
	var out []string
	for _, b := range list.Items {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && sel.Matches(labels.Set(pod.Labels)) {
			out = append(out, fmt.Sprintf("budget %s: %d of %d healthy, %d needed", b.Name, b.Status.CurrentHealthy, b.Status.ExpectedPods, b.Status.DesiredHealthy))
		}
	}
	if len(out) == 0 {
		return "no budget selects it"
	}
	return strings.Join(out, "; ")
}
