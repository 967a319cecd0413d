// Package watch writes into the timeline what the cluster says about itself
// while it is upgraded: nodes that are cordoned, turn not ready or come back
// with another version, the lives of pods, endpoints that come and go, leases
// that change holder, kubelets that fall silent, Events of type Warning.
//
// What happened is computed by comparing each object with its state before, so
// after an outage of the API server the same comparison gives what happened in
// between, once. While any part of the watch sees nothing, the timeline says so.
package watch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// SystemNamespaces are followed beside the canary's own namespace.
var SystemNamespaces = []string{metav1.NamespaceSystem, "kube-flannel"}

// Options says what to follow. Nodes, leases and warnings are followed always.
type Options struct {
	// PodNamespaces are the namespaces whose pods are followed.
	PodNamespaces []string
	// EndpointNamespaces are the namespaces whose endpoints are followed.
	EndpointNamespaces []string
}

// ForCanary follows the pods and endpoints of the canary's namespace and of the
// system's.
func ForCanary(namespace string) Options {
	return Options{
		PodNamespaces:      append([]string{namespace}, SystemNamespaces...),
		EndpointNamespaces: []string{namespace, metav1.NamespaceSystem, metav1.NamespaceDefault},
	}
}

// Watcher follows one cluster.
//
// The client should not be rate limited (rest.Config.QPS = -1): after an outage
// all feeds ask again at once, and each second that they queue is one they miss.
type Watcher struct {
	events *timeline.Recorder
	log    *slog.Logger
	sight  *sight
	beats  *heartbeats
	warns  *eventDiffer
	nodes  *nodeList
	runs   []func(context.Context) error

	mu    sync.Mutex
	ended map[string]bool // pods that were told to stop

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

const heartbeatFeed = "leases/" + corev1.NamespaceNodeLease

// New returns a watcher of client's cluster that writes to events.
func New(client kubernetes.Interface, events *timeline.Recorder, o Options, log *slog.Logger) *Watcher {
	w := &Watcher{events: events, log: log, sight: newSight(events), warns: newEventDiffer(), nodes: newNodeList(), ended: map[string]bool{}}
	w.beats = newHeartbeats(w.sight.now)

	nodes := client.CoreV1().Nodes()
	addFeed(w, &feed[corev1.Node, *corev1.Node]{name: "nodes", learn: w.nodes.learn, diff: w.nodes.changes},
		newSource("nodes", w.sight, nodes.List, nodes.Watch, ""), &corev1.Node{})
	for _, ns := range slices.Compact(slices.Sorted(slices.Values(o.PodNamespaces))) {
		name, pods := "pods/"+ns, client.CoreV1().Pods(ns)
		addFeed(w, &feed[corev1.Pod, *corev1.Pod]{name: name, diff: newPodDiffer().changes},
			newSource(name, w.sight, pods.List, pods.Watch, ""), &corev1.Pod{})
	}
	for _, ns := range slices.Compact(slices.Sorted(slices.Values(o.EndpointNamespaces))) {
		name, eps, d := "endpoints/"+ns, client.DiscoveryV1().EndpointSlices(ns), newEndpointDiffer()
		addFeed(w, &feed[discoveryv1.EndpointSlice, *discoveryv1.EndpointSlice]{name: name, diff: d.changes, learn: d.learn},
			newSource(name, w.sight, eps.List, eps.Watch, ""), &discoveryv1.EndpointSlice{})
	}
	warnings := client.CoreV1().Events(metav1.NamespaceAll)
	addFeed(w, &feed[corev1.Event, *corev1.Event]{name: "events", diff: w.warns.changes, learn: w.warns.learn},
		newSource("events", w.sight, warnings.List, warnings.Watch, "type="+corev1.EventTypeWarning), &corev1.Event{})
	leaders := client.CoordinationV1().Leases(metav1.NamespaceSystem)
	addFeed(w, &feed[coordinationv1.Lease, *coordinationv1.Lease]{name: "leases/kube-system", diff: leaderChanges},
		newSource("leases/kube-system", w.sight, leaders.List, leaders.Watch, ""), &coordinationv1.Lease{})
	beats := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	addFeed(w, &feed[coordinationv1.Lease, *coordinationv1.Lease]{name: heartbeatFeed, diff: w.beats.changes, learn: w.beats.learn},
		newSource(heartbeatFeed, w.sight, beats.List, beats.Watch, ""), &coordinationv1.Lease{})
	return w
}

func addFeed[T any, P interface {
	*T
	metav1.Object
}](w *Watcher, f *feed[T, P], src source, expected runtime.Object) {
	f.known, f.emit = map[string]*T{}, w.emit
	var store cache.ReflectorStore = f
	w.sight.add(f.name)
	w.runs = append(w.runs, func(ctx context.Context) error { return follow(ctx, f.name, src, expected, store) })
}

// Start begins to watch and returns at once; it goes on until Stop is called or
// ctx ends. What exists when a feed is first listed makes no events.
func (w *Watcher) Start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(ctx)
	for _, run := range w.runs {
		w.wg.Go(func() {
			if err := run(ctx); err != nil {
				w.log.Error("watch lost", "error", err)
				w.events.Record(timeline.SourceProbe, timeline.KindProbeLost, "probe/watch", detail("reason", err.Error()))
			}
		})
	}
	w.wg.Go(func() { w.pulse(ctx) })
}

// Synced blocks until every feed was listed and is being watched, so that no
// later change escapes. When ctx ends before, the error names the feeds that
// are missing and why.
func (w *Watcher) Synced(ctx context.Context) error {
	select {
	case <-w.sight.ready:
		return nil
	case <-ctx.Done():
		w.sight.mu.Lock()
		defer w.sight.mu.Unlock()
		return fmt.Errorf("the watch of the cluster did not begin: %s: %w", strings.Join(w.sight.unopened(), "; "), context.Cause(ctx))
	}
}

// Stop ends the watch, writes the final count of repeated warnings, and returns
// when nothing more will be written. It may be called more than once, and
// without Start.
func (w *Watcher) Stop() {
	if w.cancel == nil {
		return
	}
	w.cancel()
	w.wg.Wait()
	w.emit("events", w.warns.rest())
}

// pulse looks once a second for what no message tells: silence.
func (w *Watcher) pulse(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.sight.check()
		if w.sight.blind(heartbeatFeed) {
			w.beats.excuse()
			continue
		}
		w.emit(heartbeatFeed, w.beats.silent())
	}
}

// emit writes changes at the present instant, and says where they may have
// happened in a gap before it.
func (w *Watcher) emit(feed string, changes []change) {
	if len(changes) == 0 {
		return
	}
	w.note(changes)
	gap := w.sight.gapBefore(feed)
	for _, c := range changes {
		if gap > 0 {
			if c.detail == nil {
				c.detail = map[string]string{}
			}
			c.detail["gap"] = gap.Round(time.Millisecond).String()
		}
		w.events.Record(timeline.SourceKube, c.kind, c.subject, c.detail)
	}
}
