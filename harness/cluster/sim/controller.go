package sim

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// controller is one control loop of the cluster. Each looks at everything it is
// responsible for whenever something of its resources changed: a simulated
// cluster is small, and a loop that keeps no state of its own cannot be wrong
// about it.
type controller struct {
	name string
	// component is the process it lives in; without a leader it rests.
	component string
	watches   []schema.GroupVersionResource
	// delay is how long a change takes to be acted upon, in the cluster's time.
	delay time.Duration
	// every is the longest time between two looks, in the cluster's time; 0 is
	// only on changes.
	every time.Duration
	sync  func(ctx context.Context) error
}

// drive runs a controller until ctx ends.
func (c *simulation) drive(ctx context.Context, k controller) {
	w := c.store.Wake(k.watches...)
	defer w.Stop()
	d := newDice(c.opt.Seed, "controller/"+k.name)
	for {
		if c.plane.awaitLeader(ctx, k.component) != nil {
			return
		}
		if err := k.sync(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("simulated controller failed", "controller", k.name, "error", err)
		}
		var timer <-chan time.Time
		var t *time.Timer
		if k.every > 0 {
			t = time.NewTimer(c.clock.of(k.every))
			timer = t.C
		}
		select {
		case <-w.C:
		case <-timer:
		case <-ctx.Done():
		}
		if t != nil {
			t.Stop()
		}
		if c.clock.sleep(ctx, d.spread(k.delay)) != nil {
			return
		}
	}
}

// templateHash names a pod template, as pod-template-hash does.
func templateHash(t *corev1.PodTemplateSpec) string {
	b, err := json.Marshal(t)
	if err != nil {
		return "unhashable"
	}
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	sum := sha256.Sum256(b)
	out := make([]byte, 10)
	for i := range out {
		out[i] = alphabet[int(sum[i])%len(alphabet)]
	}
	return string(out)
}

// event records a Kubernetes Event; a repetition raises its count.
func (c *simulation) event(about object, kind, eventType, reason, message, component string) {
	key := templateHash(&corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Name: string(about.GetUID()) + reason + message}})
	name := about.GetName() + "." + key
	ns := about.GetNamespace()
	if ns == "" {
		ns = "default"
	}
	now := metav1.Now()
	_, err := c.store.Update(resEvents, ns, name, func(obj runtime.Object) error {
		e, ok := obj.(*corev1.Event)
		if !ok {
			return fmt.Errorf("event %s/%s: stored as %T", ns, name, obj)
		}
		e.Count++
		e.LastTimestamp = now
		return nil
	})
	if err == nil || !apierrors.IsNotFound(err) {
		c.must(err)
		return
	}
	e := &corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: kind, APIVersion: "v1", Namespace: about.GetNamespace(), Name: about.GetName(), UID: about.GetUID()},
		Type:           eventType, Reason: reason, Message: message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: component}, ReportingController: component,
	}
	e.Name, e.Namespace = name, ns
	if _, err := c.store.Create(resEvents, e); err != nil && !apierrors.IsAlreadyExists(err) {
		c.must(err)
	}
}

// must logs an error that means a mistake in the simulation itself.
func (c *simulation) must(err error) {
	if err != nil {
		c.log.Error("simulated cluster: unexpected", "error", err)
	}
}
