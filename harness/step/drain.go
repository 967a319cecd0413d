package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/kubectl/pkg/drain"

	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// What is done with a pod that holds a drain up.
const (
	// OnStallFail lets the drain fail when its time is over.
	OnStallFail = "fail"
	// OnStallDelete deletes the pod past its budget, with the pod's own grace period.
	OnStallDelete = "delete-pod"
	// OnStallForce deletes it without any grace, and waits no longer for a pod
	// that is being deleted and never goes.
	OnStallForce = "force"
)

// DrainOptions bound a drain.
type DrainOptions struct {
	Timeout time.Duration // for all of the node's pods together
	After   time.Duration // rest after the last pod is gone
	// OnStall is one of the OnStall constants, and StallTimeout for how long a pod
	// may hold the drain up before it is done; empty is OnStallFail.
	OnStall      string
	StallTimeout time.Duration
}

// String says what a drain does, for the description of a step.
func (o DrainOptions) String() string {
	switch o.OnStall {
	case OnStallDelete:
		return fmt.Sprintf("drain (a pod refused for %s is deleted)", o.StallTimeout)
	case OnStallForce:
		return fmt.Sprintf("drain (a pod that holds it up for %s is deleted without grace)", o.StallTimeout)
	}
	return "drain"
}

// noteAfter is for how long a pod must hold a drain up to be a finding of the
// record: a budget that lets go after a few seconds works as it should.
const noteAfter = 20 * time.Second

// drainNode cordons the node and evicts its pods, honouring every budget. A
// refused eviction is asked for again until the timeout; what holds it up is
// named at once, on the terminal and in the timeline. The error names all pods
// that are still there, what holds each and what to do.
func drainNode(ctx context.Context, env *Env, node *corev1.Node, o DrainOptions) error {
	subject := "node/" + node.Name
	h := drainHelper(ctx, env)
	if err := retryAPI(ctx, env, "cordon "+node.Name, func() error { return drain.RunCordonOrUncordon(h, node, true) }); err != nil {
		return fmt.Errorf("cordon node %s: %w", node.Name, err)
	}
	env.event(timeline.KindDrainStart, subject, map[string]string{"timeout": o.Timeout.String()})
	d := &drainer{env: env, node: node.Name, o: o}
	err := d.run(ctx, h)
	detail := map[string]string{"evicted": fmt.Sprint(d.evicted)}
	if d.forced > 0 {
		detail["forced"] = fmt.Sprint(d.forced)
	}
	if err != nil {
		detail["error"] = err.Error()
	}
	env.event(timeline.KindDrainEnd, subject, detail)
	env.keepFindings(d.findings)
	if err != nil {
		return err
	}
	return pause.For(ctx, o.After)
}

// DrainNode drains one node as every step that drains does, for those who hold
// what a drain does against something else. Of env it takes Cluster, Timeline,
// Run and Log.
func DrainNode(ctx context.Context, env *Env, node *corev1.Node, o DrainOptions) error {
	return drainNode(ctx, env, node, o)
}

// uncordonNode lets the scheduler use the node again.
func uncordonNode(ctx context.Context, env *Env, node *corev1.Node) error {
	h := drainHelper(ctx, env)
	if err := retryAPI(ctx, env, "uncordon "+node.Name, func() error { return drain.RunCordonOrUncordon(h, node, false) }); err != nil {
		return fmt.Errorf("uncordon node %s: %w", node.Name, err)
	}
	return nil
}

// drainHelper is kubectl's own, for cordoning and for which pods a drain takes.
func drainHelper(ctx context.Context, env *Env) *drain.Helper {
	return &drain.Helper{
		Ctx: ctx, Client: env.client(), GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		Out: io.Discard, ErrOut: io.Discard,
	}
}

// drainer evicts the pods of one node, each in a goroutine of its own.
type drainer struct {
	env  *Env
	node string
	o    DrainOptions

	mu       sync.Mutex
	evicted  int
	forced   int
	left     []string // why each pod is still there, when time is over
	findings []record.Finding
}

// errTimeOver is the cause of the end of a drain's own context.
var errTimeOver = errors.New("the drain's time is over")

func (d *drainer) run(ctx context.Context, h *drain.Helper) error {
	var pods []corev1.Pod
	err := retryAPI(ctx, d.env, "list the pods of "+d.node, func() error {
		list, errs := h.GetPodsForDeletion(d.node)
		switch len(errs) {
		case 0:
			pods = list.Pods()
			return nil
		case 1:
			return errs[0]
		}
		return utilerrors.NewAggregate(errs)
	})
	if err != nil {
		return fmt.Errorf("drain node %s: %w", d.node, err)
	}
	inner, cancel := context.WithTimeoutCause(ctx, d.o.Timeout, errTimeOver)
	defer cancel()
	var wg sync.WaitGroup
	for i := range pods {
		e := &eviction{drainer: d, pod: &pods[i], name: pods[i].Namespace + "/" + pods[i].Name}
		wg.Go(func() { e.run(inner) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("drain node %s: %w", d.node, context.Cause(ctx))
	}
	if len(d.left) > 0 {
		slices.Sort(d.left)
		return fmt.Errorf("drain node %s: not done after %s; still there: %s", d.node, d.o.Timeout, strings.Join(d.left, "; "))
	}
	return nil
}

// gone notes that a pod left.
func (d *drainer) gone() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.evicted++
}

// keep adds what the record keeps of one pod's stall: why it is still there,
// where it is, and the finding, where it is worth one.
func (d *drainer) keep(left string, f *record.Finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if left != "" {
		d.left = append(d.left, left)
	}
	if f != nil {
		d.findings = append(d.findings, *f)
	}
}
