package step

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// drained is one drain against the fake API, whose evictions a test decides.
type drained struct {
	t      *testing.T
	env    *Env
	client *fake.Clientset
	events *bytes.Buffer
	told   bytes.Buffer // warnings on the terminal
	asked  int
	begun  time.Time
}

func newDrained(t *testing.T, evict func(n int, pod string) error, objects ...runtime.Object) *drained {
	t.Helper()
	d := &drained{t: t, begun: time.Now()}
	d.env, d.events = newEnv(driver{}, append(objects, node("w", "v1.34.4", false, true))...)
	d.env.Log = slog.New(slog.NewTextHandler(&d.told, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var ok bool
	if d.client, ok = d.env.Cluster.Client.(*fake.Clientset); !ok {
		t.Fatalf("the client is a %T", d.env.Cluster.Client)
	}
	d.client.PrependReactor("create", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
		c, ok := a.(kubetesting.CreateAction)
		if !ok || a.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		e, ok := c.GetObject().(*policyv1.Eviction)
		if !ok {
			return true, nil, fmt.Errorf("evicted a %T", c.GetObject())
		}
		d.asked++
		if err := evict(d.asked, e.Name); err != nil {
			return true, nil, err
		}
		return true, nil, d.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), e.Namespace, e.Name)
	})
	return d
}

func (d *drained) run(o DrainOptions) error {
	return drainNode(d.t.Context(), d.env, node("w", "v1.34.4", false, true), o)
}

// timeline returns the events of the kinds, each as "kind subject" and details.
func (d *drained) timeline(kinds ...string) []string {
	d.t.Helper()
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(d.events.String()), "\n") {
		var e timeline.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			d.t.Fatal(err)
		}
		for _, k := range kinds {
			if e.Kind == k {
				b, err := json.Marshal(e.Detail)
				if err != nil {
					d.t.Fatal(err)
				}
				out = append(out, fmt.Sprintf("%s %s %s %s", time.Duration(e.T).Round(time.Second), e.Kind, e.Subject, b))
			}
		}
	}
	return out
}

func tooMany(cause string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: cause})
	return err
}

func owned(kind, name string) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, Controller: &yes}}
}

// web is a Deployment of one replica on node w with its ReplicaSet and pod.
func web() []runtime.Object {
	one := int32(1)
	app := map[string]string{"app": "web"}
	return []runtime.Object{
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: appsv1.DeploymentSpec{Replicas: &one}, Status: appsv1.DeploymentStatus{ReadyReplicas: 1}},
		&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-5f", OwnerReferences: owned("Deployment", "web")}, Spec: appsv1.ReplicaSetSpec{Replicas: &one}},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-5f-1", UID: "u1", Labels: app, OwnerReferences: owned("ReplicaSet", "web-5f")},
			Spec:       corev1.PodSpec{NodeName: "w"},
		},
	}
}

func budget(name string, healthy, expected, desired int32) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status:     policyv1.PodDisruptionBudgetStatus{CurrentHealthy: healthy, ExpectedPods: expected, DesiredHealthy: desired},
	}
}

func TestDrainNamesPodBudgetOwnerAndRemedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrained(t, func(int, string) error {
			return tooMany("The disruption budget web needs 1 healthy pods and has 1 currently")
		},
			append(web(), budget("web", 1, 1, 1))...)
		err := d.run(DrainOptions{Timeout: time.Minute})
		want := "drain node w: not done after 1m0s; still there: pod shop/web-5f-1 (budget web: 1 of 1 healthy, 1 needed; it belongs to deployment/web with 1 of 1 replicas ready): " +
			"run one replica more while the upgrade lasts (kubectl scale -n shop deployment/web --replicas=2), or delete budget web"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if d.asked < 12 || d.asked > 13 {
			t.Errorf("%d evictions in a minute, want one every 5 s", d.asked)
		}
		why := "budget web: 1 of 1 healthy, 1 needed; it belongs to deployment/web with 1 of 1 replicas ready"
		remedy := "run one replica more while the upgrade lasts (kubectl scale -n shop deployment/web --replicas=2), or delete budget web"
		wantEvents := []string{
			`0s drain-stalled node/w {"budget":"web","cause":"budget","desired":"1","expected":"1","healthy":"1","owner":"deployment/web","pod":"shop/web-5f-1","reason":"Cannot evict pod as it would violate the pod's disruption budget.","remedy":"` + remedy + `","replicas":"1 of 1 ready","why":"` + why + `"}`,
		}
		if diff := cmp.Diff(wantEvents, d.timeline(timeline.KindDrainStalled, timeline.KindDrainResumed)); diff != "" {
			t.Errorf("timeline (-want +got):\n%s", diff)
		}
		findings := []record.Finding{{ID: "drain-stalled", Severity: record.SeverityBlock, Object: "pod/shop/web-5f-1",
			Cause: "It held the drain of node w up until its time of 1m0s was over: " + why + ".", Remedy: english.Capital(remedy) + "."}}
		if diff := cmp.Diff(findings, d.env.Run.Findings); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		if n := strings.Count(d.told.String(), "the drain of w is held up by pod shop/web-5f-1: "+why); n != 1 {
			t.Errorf("told %d times:\n%s", n, d.told.String())
		}
	})
}

// What holds a pod up that is no budget of its own is named as well.
func TestDrainNamesWhatIsNoBudget(t *testing.T) {
	status := func(code int32, reason metav1.StatusReason, text string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: text}}
	}
	for _, tc := range []struct {
		name    string
		err     error
		objects []runtime.Object
		cause   string
		want    string
	}{
		{"two budgets", status(500, "", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."),
			[]runtime.Object{budget("web", 1, 1, 0), budget("web-old", 1, 1, 0)}, causeOverlap,
			"budgets web and web-old all select it, and the API evicts no pod with more than one): keep one budget for each pod: narrow the selector of web-old, or delete it"},
		{"a webhook that denies", status(http.StatusForbidden, metav1.StatusReasonForbidden, `admission webhook "evict.example.com" denied the request: move the primary first`), nil, causeWebhook,
			`webhook evict.example.com denies its eviction: admission webhook "evict.example.com" denied the request: move the primary first): ask the owner of webhook evict.example.com when it lets pods go, or except pods/eviction from its rules for the upgrade`},
		{"a webhook that denies with 429", status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, `admission webhook "evict.example.com" denied the request: later`), nil, causeWebhook,
			`webhook evict.example.com denies its eviction: admission webhook "evict.example.com" denied the request: later): ask the owner of webhook evict.example.com when it lets pods go, or except pods/eviction from its rules for the upgrade`},
		{"a webhook that is down", status(500, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "evict.example.com": failed to call webhook: connection refused`), nil, causeWebhook,
			`webhook evict.example.com cannot be called, and without it no eviction is admitted: Internal error occurred: failed calling webhook "evict.example.com": failed to call webhook: connection refused): bring the service of webhook evict.example.com back, or set its failurePolicy to Ignore`},
		{"a policy", status(422, metav1.StatusReasonInvalid, `pods "web-5f-1" is forbidden: ValidatingAdmissionPolicy 'no-evictions' with binding 'all' denied request: not now`), nil, causeWebhook,
			`ValidatingAdmissionPolicy no-evictions (binding all) denies its eviction: pods "web-5f-1" is forbidden: ValidatingAdmissionPolicy 'no-evictions' with binding 'all' denied request: not now): except pods/eviction from binding all for the upgrade`},
		{"429 without a budget", status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests, please try again later"), nil, causeBusy,
			"the API server answers 429 and no budget selects the pod: too many requests, please try again later): the API server is overloaded, or something before it limits requests: look at its flow control"},
		{"a missing permission", status(http.StatusForbidden, metav1.StatusReasonForbidden, `pods "web-5f-1" is forbidden: User "drainer" cannot create resource "pods/eviction"`), nil, causeRefused,
			`its eviction was refused: pods "web-5f-1" is forbidden: User "drainer" cannot create resource "pods/eviction"): read the refusal: it is no budget's, so waiting alone will not help`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDrained(t, func(int, string) error { return tc.err }, append(web(), tc.objects...)...)
				err := d.run(DrainOptions{Timeout: 29 * time.Second})
				want := "drain node w: not done after 29s; still there: pod shop/web-5f-1 (" + tc.want
				if err == nil || err.Error() != want {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				stalls := d.timeline(timeline.KindDrainStalled)
				if len(stalls) != 1 || !strings.Contains(stalls[0], `"cause":"`+tc.cause+`"`) {
					t.Fatalf("stalls: %s", stalls)
				}
				if at := stalls[0][:2]; at != "0s" && at != "5s" {
					t.Errorf("told of at %s, want at the first refusal or the second", at)
				}
			})
		})
	}
}

func TestDrainGoesOnWhenTheBudgetLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrained(t, func(n int, _ string) error {
			if n <= 6 {
				return tooMany("")
			}
			return nil
		}, append(web(), budget("web", 1, 2, 1))...)
		if err := d.run(DrainOptions{Timeout: time.Minute}); err != nil {
			t.Fatal(err)
		}
		got := d.timeline(timeline.KindDrainResumed, timeline.KindEvict, timeline.KindDrainEnd)
		want := []string{
			`30s evict pod/shop/web-5f-1 {"node":"w"}`,
			`30s drain-resumed node/w {"after":"30s","how":"gone","pod":"shop/web-5f-1"}`,
			`30s drain-end node/w {"evicted":"1"}`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("timeline (-want +got):\n%s", diff)
		}
		if f := d.env.Run.Findings; len(f) != 1 || f[0].Severity != record.SeverityWarn || !strings.HasPrefix(f[0].Cause, "It held the drain of node w up for 30s: budget web: 1 of 2 healthy, 1 needed") {
			t.Errorf("findings %+v", f)
		}
		// It could let go all the time: that is a warning only when it lasts.
		if n := strings.Count(d.told.String(), "level=WARN"); n != 1 || !strings.Contains(d.told.String(), "the drain of w is held up by pod shop/web-5f-1: budget web: 1 of 2 healthy, 1 needed") {
			t.Errorf("warned %d times:\n%s", n, d.told.String())
		}
	})
}

// A budget that lets go after a few seconds works as it should: it is told on
// the timeline and is no finding.
func TestAShortStallIsNoFinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrained(t, func(n int, _ string) error {
			switch n {
			case 1:
				return errors.New("dial tcp 127.0.0.1:6443: connect: connection refused")
			case 2:
				return tooMany("")
			}
			return nil
		}, append(web(), budget("web", 2, 2, 1))...)
		if err := d.run(DrainOptions{Timeout: time.Minute}); err != nil || len(d.env.Run.Findings) != 0 {
			t.Errorf("%v, findings %+v", err, d.env.Run.Findings)
		}
		if got := d.timeline(timeline.KindDrainStalled, timeline.KindDrainResumed); len(got) != 2 {
			t.Errorf("timeline %s", got)
		}
		if d.told.Len() > 0 {
			t.Errorf("warned of a budget at its work:\n%s", d.told.String())
		}
	})
}

func TestOnStallDeletesExactlyTheRefusedPods(t *testing.T) {
	for _, tc := range []struct{ action, grace, what string }{
		{OnStallDelete, "none given", "deleted past what refused its eviction, with its own grace period"},
		{OnStallForce, "0", "deleted without grace"},
	} {
		t.Run(tc.action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				willing := &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "willing", UID: "u2", OwnerReferences: owned("ReplicaSet", "other")},
					Spec:       corev1.PodSpec{NodeName: "w"},
				}
				d := newDrained(t, func(_ int, pod string) error {
					if pod == "willing" {
						return nil
					}
					return tooMany("")
				}, append(web(), budget("web", 1, 1, 1), willing)...)
				if err := d.run(DrainOptions{Timeout: 5 * time.Minute, OnStall: tc.action, StallTimeout: time.Minute}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(d.begun); took < time.Minute || took > 62*time.Second {
					t.Errorf("took %s, want a minute", took)
				}
				var deleted []string
				for _, a := range d.client.Actions() {
					if x, ok := a.(kubetesting.DeleteActionImpl); ok {
						grace := "none given"
						if g := x.DeleteOptions.GracePeriodSeconds; g != nil {
							grace = fmt.Sprint(*g)
						}
						deleted = append(deleted, x.Name+" "+grace)
					}
				}
				if diff := cmp.Diff([]string{"web-5f-1 " + tc.grace}, deleted); diff != "" {
					t.Errorf("deleted (-want +got):\n%s", diff)
				}
				why := "budget web: 1 of 1 healthy, 1 needed; it belongs to deployment/web with 1 of 1 replicas ready"
				want := []string{fmt.Sprintf(`1m0s pod-forced pod/shop/web-5f-1 {"action":"%s","after":"1m0s","node":"w","what":"%s","why":"%s"}`, tc.action, tc.what, why)}
				if diff := cmp.Diff(want, d.timeline(timeline.KindPodForced)); diff != "" {
					t.Errorf("timeline (-want +got):\n%s", diff)
				}
				if f := d.env.Run.Findings; len(f) != 2 || f[0].ID != "pod-forced" || f[0].Severity != record.SeverityWarn {
					t.Errorf("findings %+v", f)
				}
			})
		})
	}
}

func TestDrainNamesWhyATerminatingPodStays(t *testing.T) {
	for _, tc := range []struct {
		name       string
		finalizers []string
		grace      int64
		unready    bool
		want       string
	}{
		{"finalizer", []string{"example.com/hold"}, 30, false, "it is being deleted and waits for the finalizers example.com/hold): see why the controller that set the finalizer does not remove it"},
		{"long grace", nil, 3600, false, "it is being deleted with a grace period of 1h0m0s and ends no sooner): let it end sooner when it is told to stop, shorten its terminationGracePeriodSeconds, or give the drain more time"},
		{"node away", nil, 30, true, "it is being deleted and node w, which would have to stop it, is not Ready (KubeletNotReady: container runtime is down)): bring the kubelet of node w back; only if the machine is gone, delete the pod with --force"},
		{"kubelet stuck", nil, 30, false, "it is being deleted and its kubelet has not stopped it 1m30s after its grace period ended): read the kubelet's log on node w; a volume that cannot be unmounted is the usual reason"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := lingering(t, tc.finalizers, tc.grace, tc.unready)
				err := d.run(DrainOptions{Timeout: 2 * time.Minute})
				want := "drain node w: not done after 2m0s; still there: pod shop/web-5f-1 (" + tc.want
				if err == nil || err.Error() != want {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				stalls := d.timeline(timeline.KindDrainStalled)
				if len(stalls) != 1 || !strings.Contains(stalls[0], `"cause":"terminating"`) {
					t.Errorf("stalls %s", stalls)
				}
			})
		})
	}
}

// lingering is a pod whose eviction is accepted and that never goes.
func lingering(t *testing.T, finalizers []string, grace int64, unready bool) *drained {
	t.Helper()
	var d *drained
	d = newDrained(t, func(int, string) error {
		pod := web()[2].(*corev1.Pod) //nolint:forcetypeassert // made above
		at := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second))
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds, pod.Finalizers = &at, &grace, finalizers
		if err := d.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), pod, "shop"); err != nil {
			return err
		}
		return apierrors.NewConflict(corev1.Resource("pods"), "web-5f-1", errors.New("being deleted"))
	}, web()...)
	if unready {
		if err := d.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), node("w", "v1.34.4", false, false), ""); err != nil {
			t.Fatal(err)
		}
	}
	// The API keeps a pod with finalizers, or one that its kubelet has not stopped.
	d.client.PrependReactor("delete", "pods", func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	return d
}

func TestForceWaitsNoLongerForWhatDoesNotGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lingering(t, []string{"example.com/hold"}, 30, false)
		if err := d.run(DrainOptions{Timeout: 5 * time.Minute, OnStall: OnStallForce, StallTimeout: time.Minute}); err != nil {
			t.Fatal(err)
		}
		got := d.timeline(timeline.KindPodForced, timeline.KindDrainResumed, timeline.KindDrainEnd)
		for i := range got {
			got[i] = regexp.MustCompile(`^[0-9ms]+ `).ReplaceAllString(got[i], "")
		}
		why := "it is being deleted and waits for the finalizers example.com/hold"
		want := []string{
			`pod-forced pod/shop/web-5f-1 {"action":"force","after":"1m0s","node":"w","what":"deleted without grace","why":"` + why + `"}`,
			`pod-forced pod/shop/web-5f-1 {"action":"force","node":"w","what":"no longer waited for","why":"` + why + `"}`,
			`drain-resumed node/w {"after":"1m6s","how":"abandoned","pod":"shop/web-5f-1"}`,
			`drain-end node/w {"evicted":"0","forced":"1"}`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("timeline (-want +got):\n%s", diff)
		}
	})
}

func TestAnAPIThatDoesNotAnswerIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrained(t, func(int, string) error { return errors.New("dial tcp 127.0.0.1:6443: connect: connection refused") }, web()...)
		err := d.run(DrainOptions{Timeout: 10 * time.Second})
		want := "drain node w: not done after 10s; still there: pod shop/web-5f-1 (the API could not be asked to evict it: dial tcp 127.0.0.1:6443: connect: connection refused): see why the API server does not answer"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if got := d.timeline(timeline.KindDrainStalled, timeline.KindEvictRefused); len(got) != 0 {
			t.Errorf("timeline %s", got)
		}
	})
}
