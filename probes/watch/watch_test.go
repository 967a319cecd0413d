package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kubewatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestMain(m *testing.M) {
	// One of them slows errors down by the time since the last one, which makes
	// no sense across bubbles that each begin at the same instant.
	utilruntime.ErrorHandlers = nil
	goleak.VerifyTestMain(m)
}

// api is a fake clientset whose API server can be taken away.
type api struct {
	*fake.Clientset
	mu   sync.Mutex
	down error
	open []kubewatch.Interface
}

func newAPI(objs ...runtime.Object) *api {
	a := &api{Clientset: fake.NewClientset(objs...)}
	a.PrependReactor("list", "*", func(kubetesting.Action) (bool, runtime.Object, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.down != nil, nil, a.down
	})
	a.PrependWatchReactor("*", func(action kubetesting.Action) (bool, kubewatch.Interface, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.down != nil {
			return true, nil, a.down
		}
		w, err := a.Tracker().Watch(action.GetResource(), action.GetNamespace())
		if err == nil {
			a.open = append(a.open, w)
		}
		return true, w, err
	})
	return a
}

// fall breaks every watch and answers everything else with err.
func (a *api) fall(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = err
	for _, w := range a.open {
		w.Stop()
	}
	a.open = nil
}

func (a *api) rise() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = nil
}

// rig is a watcher in a synctest bubble.
type rig struct {
	*api
	t      *testing.T
	w      *Watcher
	events bytes.Buffer
}

func newRig(t *testing.T, objs ...runtime.Object) *rig {
	r := &rig{t: t, api: newAPI(objs...)}
	rec := timeline.NewRecorder(timeline.NewClock(time.Now()), &r.events)
	r.w = New(r.api, rec, ForCanary("canary"), slog.New(slog.NewTextHandler(io.Discard, nil)))
	return r
}

func (r *rig) start() {
	r.t.Helper()
	r.w.Start(r.t.Context())
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.w.Synced(ctx); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) timeline() []string {
	r.t.Helper()
	var out []string
	dec := json.NewDecoder(&r.events)
	for {
		var e timeline.Event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, time.Duration(e.T).Round(time.Second).String()+" "+e.Source+" "+line(e.Kind, e.Subject, e.Detail))
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestWatchFollowsADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, node("w1"), pod("a"), slice("s", ep("10.0.1.1", "a", "w1", true, true, false)),
			lease("kube-node-lease", "w1", "w1", 1), lease("kube-system", "kube-scheduler", "cp-1_a", 1), warning("old", 3))
		r.start()
		ctx := t.Context()
		var err error
		update := metav1.UpdateOptions{}

		time.Sleep(5 * time.Second)
		_, err = r.CoreV1().Nodes().Update(ctx, node("w1", func(n *corev1.Node) { n.Spec.Unschedulable = true }), update)
		r.must(err)
		time.Sleep(time.Second)
		_, err = r.CoreV1().Pods("canary").Update(ctx, pod("a", terminating), update)
		r.must(err)
		_, err = r.DiscoveryV1().EndpointSlices("canary").Update(ctx, slice("s", ep("10.0.1.1", "a", "w1", false, true, true)), update)
		r.must(err)
		synctest.Wait()
		time.Sleep(time.Second)
		r.must(r.CoreV1().Pods("canary").Delete(ctx, "a", metav1.DeleteOptions{}))
		time.Sleep(time.Second)
		_, err = r.CoreV1().Events("canary").Create(ctx, warning("fresh", 1), metav1.CreateOptions{})
		r.must(err)
		time.Sleep(time.Second)
		for count := int32(2); count < 4; count++ {
			_, err = r.CoreV1().Events("canary").Update(ctx, warning("fresh", count), update)
			r.must(err)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		_, err = r.CoordinationV1().Leases("kube-system").Update(ctx, lease("kube-system", "kube-scheduler", "cp-2_b", 9), update)
		r.must(err)
		time.Sleep(30 * time.Second)
		r.w.Stop()
		r.w.Stop()

		got := r.timeline()
		// Two feeds wrote in the sixth second; their order is not fixed.
		if len(got) > 3 && got[1] > got[2] {
			got[1], got[2] = got[2], got[1]
		}
		equal(t, "timeline", got, []string{
			`5s kube cordon node/w1`,
			`6s kube endpoint-removed endpoint/10.0.1.1:8080 node="w1" pod="canary/a" ready="false" service="canary" serving="true" terminating="true"`,
			`6s kube pod-terminating pod/canary/a grace="30s" node="w1"`,
			`7s kube pod-deleted pod/canary/a node="w1"`,
			`8s kube kube-event pod/canary/a component="kubelet" count="1" host="w1" last="2026-01-02T03:04:05Z" message="Back-off restarting failed container" reason="BackOff"`,
			`9s kube kube-event pod/canary/a component="kubelet" count="2" host="w1" last="2026-01-02T03:04:05Z" message="Back-off restarting failed container" reason="BackOff"`,
			`10s kube lease lease/kube-system/kube-scheduler from="cp-1_a" to="cp-2_b"`,
			`31s kube heartbeat-lost node/w1 silent="31s"`,
			`40s kube kube-event pod/canary/a component="kubelet" count="3" host="w1" last="2026-01-02T03:04:05Z" message="Back-off restarting failed container" reason="BackOff"`,
		})
	})
}

func TestWatchSurvivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, node("w1"), pod("a"), pod("b"), lease("kube-node-lease", "w1", "w1", 1))
		r.start()
		time.Sleep(10 * time.Second)
		r.fall(&url.Error{Op: "Get", URL: "https://127.0.0.1:6443/api/v1/nodes", Err: errors.New("dial tcp 127.0.0.1:6443: connect: connection refused")})
		time.Sleep(10 * time.Second)
		// What happens while nobody can look is learned of afterwards, once.
		r.must(r.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), node("w1", func(n *corev1.Node) { n.Spec.Unschedulable = true }), ""))
		r.must(r.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "canary", "b"))
		r.must(r.Tracker().Add(pod("c")))
		time.Sleep(50 * time.Second)
		r.rise()
		time.Sleep(20 * time.Second)
		_, err := r.CoreV1().Nodes().Update(t.Context(), node("w1"), metav1.UpdateOptions{})
		r.must(err)
		synctest.Wait()
		r.w.Stop()

		// The order of the feeds after the outage is not fixed, nor is the moment
		// within the backoff at which each comes back.
		got := r.timeline()
		stretch := regexp.MustCompile(`(gap|blind)="1m[01]\.?[0-9]*s"`)
		for i := range got {
			got[i] = stretch.ReplaceAllString(got[i], `$1="about 1m"`)
			got[i] = regexp.MustCompile(`^1m1[01]s`).ReplaceAllString(got[i], "after")
		}
		slices.Sort(got)
		equal(t, "timeline", got, []string{
			`10s kube watch-blind watch/kube error="dial tcp 127.0.0.1:6443: connect: connection refused"`,
			`1m30s kube uncordon node/w1`,
			`after kube cordon node/w1 gap="about 1m"`,
			`after kube pod-deleted pod/canary/b gap="about 1m" node="w1"`,
			`after kube pod-ready pod/canary/c gap="about 1m" ip="10.244.1.5" node="w1"`,
			`after kube pod-scheduled pod/canary/c gap="about 1m" node="w1"`,
			`after kube watch-seeing watch/kube blind="about 1m" feeds="endpoints/canary, endpoints/default, endpoints/kube-system, events, leases/kube-node-lease, leases/kube-system, nodes, pods/canary, pods/kube-flannel, pods/kube-system"`,
		})
	})
}

// A watch that the server closes in the ordinary way, as it does every few
// minutes, is opened again at once: that is no gap and no event.
func TestWatchClosedByTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, node("w1"))
		r.start()
		time.Sleep(5 * time.Second)
		r.fall(nil)
		time.Sleep(5 * time.Second)
		_, err := r.CoreV1().Nodes().Update(t.Context(), node("w1", func(n *corev1.Node) { n.Spec.Unschedulable = true }), metav1.UpdateOptions{})
		r.must(err)
		synctest.Wait()
		r.w.Stop()
		equal(t, "timeline", r.timeline(), []string{`10s kube cordon node/w1`})
	})
}

// An API server that takes a connection and never answers is a gap too.
func TestWatchUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, node("w1"))
		nodes := r.CoreV1().Nodes()
		var stuck atomic.Bool
		// Not a reactor, because the fake clientset holds a lock while it reacts.
		watch := func(ctx context.Context, o metav1.ListOptions) (kubewatch.Interface, error) {
			if stuck.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nodes.Watch(ctx, o)
		}
		addFeed(r.w, &feed[corev1.Node, *corev1.Node]{name: "slow", diff: func([]pair[corev1.Node]) []change { return nil }},
			newSource("slow", r.w.sight, nodes.List, watch, ""), &corev1.Node{})
		r.start()
		time.Sleep(5 * time.Second)
		stuck.Store(true)
		r.fall(nil)
		r.rise()
		time.Sleep(9 * time.Second)
		stuck.Store(false)
		time.Sleep(3 * time.Second)
		r.w.Stop()
		got := r.timeline()
		for i := range got {
			got[i] = regexp.MustCompile(`^1[567]s|blind="1[01]\.?[0-9]*s"`).ReplaceAllString(got[i], "LATER")
		}
		equal(t, "timeline", got, []string{
			`5s kube watch-blind watch/kube error="no answer within 2s"`,
			`LATER kube watch-seeing watch/kube LATER feeds="slow"`,
		})
	})
}

func TestWatchThatPanicsIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, node("w1"))
		addFeed(r.w, &feed[corev1.Node, *corev1.Node]{name: "broken", diff: func([]pair[corev1.Node]) []change { panic("index out of range") }},
			newSource("broken", r.w.sight, r.CoreV1().Nodes().List, r.CoreV1().Nodes().Watch, ""), &corev1.Node{})
		r.start()
		_, err := r.CoreV1().Nodes().Update(t.Context(), node("w1", func(n *corev1.Node) { n.Spec.Unschedulable = true }), metav1.UpdateOptions{})
		r.must(err)
		time.Sleep(time.Second)
		r.w.Stop()
		got := r.timeline()
		slices.Sort(got)
		equal(t, "timeline", got, []string{
			`0s kube cordon node/w1`,
			`0s probe probe-lost probe/watch reason="watch of broken panicked: index out of range"`,
		})
	})
}

func TestSyncedNamesWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.PrependReactor("list", "endpointslices", func(kubetesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New(`endpointslices is forbidden: User "viewer" cannot list resource "endpointslices"`)
		})
		r.w.Start(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := r.w.Synced(ctx)
		forbidden := `endpointslices is forbidden: User "viewer" cannot list resource "endpointslices"`
		want := "the watch of the cluster did not begin: endpoints/canary: " + forbidden + "; endpoints/default: " + forbidden +
			"; endpoints/kube-system: " + forbidden + ": context deadline exceeded"
		if err == nil || err.Error() != want {
			t.Errorf("Synced = %v\nwant %s", err, want)
		}
		r.w.Stop()
		equal(t, "timeline", r.timeline(), nil)
	})
}

func TestStopWithoutStart(t *testing.T) { newRig(t).w.Stop() }
