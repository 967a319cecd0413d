package step

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const (
	// evictRetry is the pause before a refused eviction is asked for again, as
	// kubectl and kops have it.
	evictRetry = 5 * time.Second
	// goneEvery is how often a pod that was evicted is looked for, as kubectl does.
	goneEvery = time.Second
	// overdue is how long after its grace period a pod may still be there before
	// it counts as held up.
	overdue = 15 * time.Second
	// looking bounds what is asked of the API to find out what holds a pod.
	looking = 10 * time.Second
	// forcedGone is how long a pod that was deleted without grace may take to go.
	forcedGone = 5 * time.Second
)

// eviction is one pod on its way off the node. It follows kubectl's drain in
// what it asks of the API, and differs in that no refusal ends it before its
// time: a budget can be loosened and a webhook repaired meanwhile.
type eviction struct {
	*drainer
	pod  *corev1.Pod // as last seen
	name string      // NAMESPACE/NAME

	accepted bool  // the pod is being deleted
	offline  error // why the API could not be asked, the last time
	doubtful bool  // the last answer was a refusal that may pass by itself
	stall    *stall
	since    time.Time // when stall began
	acted    time.Time // when it was deleted past its budget, or without grace
}

// run returns when the pod is gone, or ctx ended.
func (e *eviction) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !e.accepted && e.ask(ctx) || e.accepted && e.look(ctx) {
			e.done()
			return
		}
		e.act(ctx)
		if !e.acted.IsZero() && e.o.OnStall == OnStallForce && time.Since(e.acted) > forcedGone {
			e.abandon(ctx)
			return
		}
		_ = pause.For(ctx, e.pause()) // its end is the loop's
	}
	e.left(ctx)
}

// ask asks for the eviction, and reports whether the pod is gone already.
func (e *eviction) ask(ctx context.Context) bool {
	err := e.evict(ctx)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		e.accepted, e.offline = true, nil
		return e.look(ctx)
	case apierrors.IsNotFound(err):
		return true
	case apierrors.IsConflict(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// Another pod has its name by now, or its namespace is being deleted and
		// the pod with it.
		if e.look(ctx) {
			return true
		}
		e.accepted = e.pod.DeletionTimestamp != nil
	case noAnswer(err):
		e.silent(err)
	default:
		e.refused(ctx, err)
	}
	return false
}

func (e *eviction) evict(ctx context.Context) error {
	return e.env.client().PolicyV1().Evictions(e.pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: e.pod.Namespace, Name: e.pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &e.pod.UID}},
	})
}

// noAnswer reports whether err is no answer of the API server, or one that says
// that it cannot decide now: nothing is known of the pod.
func noAnswer(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	return apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsInternalError(err) && !uncallable.MatchString(err.Error()) && !overlapping(err)
}

// silent notes once that the API does not answer.
func (e *eviction) silent(err error) {
	if e.offline == nil {
		e.env.event(timeline.KindRetry, "api", map[string]string{"call": "evict " + e.name, "error": err.Error()})
	}
	e.offline = err
}

// look reports whether the pod is gone. One that is overdue is a stall.
func (e *eviction) look(ctx context.Context) bool {
	p, err := e.env.client().CoreV1().Pods(e.pod.Namespace).Get(ctx, e.pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && p.UID != e.pod.UID:
		return true
	case err != nil:
		if ctx.Err() == nil {
			e.silent(err)
		}
		return false
	}
	e.pod, e.offline = p, nil
	if e.stall != nil && e.stall.cause != causeTerminating {
		e.resume("being-deleted") // what refused it gave way
	}
	if e.stall == nil && p.DeletionTimestamp != nil {
		over, bounded := ctx.Deadline()
		late := time.Since(p.DeletionTimestamp.Time) > overdue
		if late || bounded && p.DeletionTimestamp.After(over) {
			e.begin(ctx, e.terminating(ctx))
		}
	}
	return false
}

// refused notes a refusal, and the first time finds out what is behind it. One
// that may pass by itself, as while an API server fills its caches, must come
// twice.
func (e *eviction) refused(ctx context.Context, err error) {
	e.offline = nil
	e.env.event(timeline.KindEvictRefused, "pod/"+e.name, map[string]string{"node": e.node, "reason": err.Error()})
	if e.stall != nil {
		e.stall.err = err
		if e.stall.passes && time.Since(e.since) >= noteAfter {
			e.stall = e.refusal(ctx, err)
			e.stall.passes = false // told once
			e.tell(ctx)
		}
		return
	}
	s := e.refusal(ctx, err)
	if (s.cause == causeRefused || s.cause == causeBusy) && !e.doubtful {
		e.doubtful = true
		return
	}
	e.begin(ctx, s)
}

// begin tells of a stall: on the terminal and in the timeline.
func (e *eviction) begin(ctx context.Context, s *stall) {
	if ctx.Err() != nil {
		return
	}
	e.stall, e.since = s, time.Now()
	detail := s.detail()
	detail["pod"] = e.name
	e.env.event(timeline.KindDrainStalled, "node/"+e.node, detail)
	e.tell(ctx)
}

// tell says on the terminal what holds the drain up. A budget at its ordinary
// work is no warning.
func (e *eviction) tell(ctx context.Context) {
	level := slog.LevelWarn
	if e.stall.passes {
		level = slog.LevelInfo
	}
	e.env.Log.Log(ctx, level, fmt.Sprintf("the drain of %s is held up by pod %s: %s", e.node, e.name, e.stall.why), "remedy", e.stall.remedy)
}

// resume tells of the end of a stall.
func (e *eviction) resume(how string) {
	if e.stall == nil {
		return
	}
	after := time.Since(e.since).Round(time.Second)
	e.env.event(timeline.KindDrainResumed, "node/"+e.node, map[string]string{"pod": e.name, "after": after.String(), "how": how})
	e.env.Log.Info(fmt.Sprintf("the drain of %s goes on: pod %s held it up for %s", e.node, e.name, after))
	if after >= noteAfter {
		e.keep("", &record.Finding{
			ID: "drain-stalled", Severity: record.SeverityWarn, Object: "pod/" + e.name,
			Cause: fmt.Sprintf("It held the drain of node %s up for %s: %s.", e.node, after, e.stall.why), Remedy: english.Capital(e.stall.remedy) + ".",
		})
	}
	e.stall = nil
}

func (e *eviction) done() {
	e.env.event(timeline.KindEvict, "pod/"+e.name, map[string]string{"node": e.node})
	e.gone()
	how := "gone"
	if !e.acted.IsZero() {
		how = "forced"
	}
	e.resume(how)
}

// pause returns how long it is until something must be done.
func (e *eviction) pause() time.Duration {
	d := evictRetry
	switch {
	case e.accepted:
		d = goneEvery
	case e.offline != nil:
		d = retryEvery
	}
	if e.stall != nil && e.acted.IsZero() && (e.o.OnStall == OnStallDelete || e.o.OnStall == OnStallForce) {
		d = min(d, max(time.Until(e.since.Add(e.o.StallTimeout)), goneEvery/10))
	}
	return d
}

// act does with a pod that held the drain up for long enough what the scenario
// asks for, once.
func (e *eviction) act(ctx context.Context) {
	if e.stall == nil || !e.acted.IsZero() || time.Since(e.since) < e.o.StallTimeout || ctx.Err() != nil {
		return
	}
	o := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &e.pod.UID}}
	what := "deleted past what refused its eviction, with its own grace period"
	switch {
	case e.o.OnStall == OnStallForce:
		o.GracePeriodSeconds = new(int64)
		what = "deleted without grace"
	case e.o.OnStall != OnStallDelete || e.stall.cause == causeTerminating:
		return
	}
	err := e.env.client().CoreV1().Pods(e.pod.Namespace).Delete(ctx, e.pod.Name, o)
	if err != nil && !apierrors.IsNotFound(err) {
		e.env.Log.Warn("the pod could not be deleted; trying again", "pod", e.name, "error", err)
		return
	}
	e.acted, e.accepted = time.Now(), true
	e.force(what)
}

// force keeps that a pod had to be helped off the node.
func (e *eviction) force(what string) {
	after := time.Since(e.since).Round(time.Second)
	e.env.event(timeline.KindPodForced, "pod/"+e.name, map[string]string{
		"node": e.node, "action": e.o.OnStall, "what": what, "after": after.String(), "why": e.stall.why,
	})
	e.env.Log.Warn(fmt.Sprintf("pod %s was %s after it had held the drain of %s up for %s", e.name, what, e.node, after), "onStall", e.o.OnStall)
	e.mu.Lock()
	e.forced++
	e.mu.Unlock()
	e.keep("", &record.Finding{
		ID: "pod-forced", Severity: record.SeverityWarn, Object: "pod/" + e.name,
		Cause:  fmt.Sprintf("It was %s (onStall: %s), after it had held the drain of node %s up for %s: %s.", what, e.o.OnStall, e.node, after, e.stall.why),
		Remedy: english.Capital(e.stall.remedy) + "; in production somebody would have to do the same by hand.",
	})
}

// abandon goes on without a pod that does not go even so.
func (e *eviction) abandon(ctx context.Context) {
	if e.stall == nil {
		e.stall, e.since = e.terminating(ctx), e.acted
	}
	e.env.Log.Warn(fmt.Sprintf("pod %s is no longer waited for: %s", e.name, e.stall.why), "node", e.node)
	e.env.event(timeline.KindPodForced, "pod/"+e.name, map[string]string{
		"node": e.node, "action": e.o.OnStall, "what": "no longer waited for", "why": e.stall.why,
	})
	e.resume("abandoned")
}

// left says why the pod is still there, when the time is over.
func (e *eviction) left(ctx context.Context) {
	if !errors.Is(context.Cause(ctx), errTimeOver) {
		return // the run was ended, and that is no fault of the pod
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), looking)
	defer cancel()
	if e.accepted && e.look(asking) {
		e.done() // at the last moment
		return
	}
	// What holds it may have changed since it was looked at.
	switch {
	case e.accepted:
		e.stall = e.terminating(asking)
	case e.stall != nil:
		e.stall = e.refusal(asking, e.stall.err)
	case e.offline != nil:
		e.stall = &stall{cause: causeAPI, why: fmt.Sprintf("the API could not be asked to evict it: %v", e.offline), remedy: "see why the API server does not answer"}
	default:
		e.stall = &stall{cause: causeRefused, why: "its eviction was not accepted", remedy: "give the drain more time"}
	}
	e.keep(fmt.Sprintf("pod %s (%s): %s", e.name, e.stall.why, e.stall.remedy), &record.Finding{
		ID: "drain-stalled", Severity: record.SeverityBlock, Object: "pod/" + e.name,
		Cause: fmt.Sprintf("It held the drain of node %s up until its time of %s was over: %s.", e.node, e.o.Timeout, e.stall.why), Remedy: english.Capital(e.stall.remedy) + ".",
	})
}
