package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubectl/pkg/drain"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/test/buffer"
)

func helper(ctx context.Context, c *cluster.Cluster) (*drain.Helper, *buffer.Locked) {
	out := &buffer.Locked{}
	return &drain.Helper{Ctx: ctx, Client: c.Client, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		Timeout: 20 * time.Second, EvictErrorRetryDelay: 100 * time.Millisecond, Out: out, ErrOut: out}, out
}

func cordon(t *testing.T, h *drain.Helper, node string, desired bool) {
	t.Helper()
	n, err := h.Client.CoreV1().Nodes().Get(h.Ctx, node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := drain.RunCordonOrUncordon(h, n, desired); err != nil {
		t.Fatal(err)
	}
}

// load sends requests until stop, each on a connection of its own if fresh,
// and counts.
type load struct {
	sent, lost int
	errs       []string
	stop       chan struct{}
	done       chan struct{}
}

func startLoad(url string, fresh bool) *load {
	l := &load{stop: make(chan struct{}), done: make(chan struct{})}
	tr := &http.Transport{DisableKeepAlives: fresh}
	client := &http.Client{Timeout: 2 * time.Second, Transport: tr}
	go func() {
		defer close(l.done)
		defer tr.CloseIdleConnections()
		for {
			select {
			case <-l.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			l.sent++
			resp, err := client.Get(url)
			if err == nil {
				var b bytes.Buffer
				_, err = b.ReadFrom(resp.Body)
				resp.Body.Close()
				if err == nil && resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
			}
			if err != nil {
				l.lost++
				l.errs = append(l.errs, err.Error())
			}
		}
	}()
	return l
}

func (l *load) finish() { close(l.stop); <-l.done }

// nodeOfCanary returns a worker that runs a canary pod.
func nodeOfCanary(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	pods, err := c.Client.CoreV1().Pods("rehearse").List(t.Context(), metav1.ListOptions{LabelSelector: "app=canary"})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("list canary pods: %d, %v", len(pods.Items), err)
	}
	return pods.Items[0].Spec.NodeName
}

func TestDrainWithGracefulShutdownLosesNothing(t *testing.T) {
	d, c := newCluster(t, Options{Scale: 10}, spec(1, 3))
	ep := deployCanary(t, d, c, canaryOptions{replicas: 3, grace: 30, args: []string{"--shutdown-delay=12s", "--grace-period=5s"}})
	node := nodeOfCanary(t, c)
	fresh, reused := startLoad(ep.URL, true), startLoad(ep.URL, false)

	h, out := helper(t.Context(), c)
	cordon(t, h, node, true)
	if err := drain.RunNodeDrain(h, node); err != nil {
		t.Fatalf("drain: %v\n%s", err, out)
	}
	eventually(t, "three canaries are ready elsewhere", func() error {
		pods, err := c.Client.CoreV1().Pods("rehearse").List(t.Context(), metav1.ListOptions{LabelSelector: "app=canary"})
		if err != nil {
			return err
		}
		ready := 0
		for _, p := range pods.Items {
			if p.Spec.NodeName == node {
				return fmt.Errorf("%s is on the drained node", p.Name)
			}
			if isReady(&p) {
				ready++
			}
		}
		if ready != 3 {
			return fmt.Errorf("%d ready", ready)
		}
		return nil
	})
	fresh.finish()
	reused.finish()
	if fresh.sent < 50 || reused.sent < 50 {
		t.Fatalf("sent %d and %d requests, want at least 50 each", fresh.sent, reused.sent)
	}
	if fresh.lost != 0 || reused.lost != 0 {
		t.Errorf("lost %d of %d (new) and %d of %d (reused): %q %q", fresh.lost, fresh.sent, reused.lost, reused.sent, fresh.errs, reused.errs)
	}
	if !strings.Contains(out.String(), "WARNING: ignoring DaemonSet-managed Pods: kube-flannel/kube-flannel-ds-") {
		t.Errorf("drain did not report that it ignores DaemonSet pods:\n%s", out)
	}
}

func TestKillingWithoutGraceLosesRequests(t *testing.T) {
	d, c := newCluster(t, Options{Scale: 4}, spec(1, 2))
	ep := deployCanary(t, d, c, canaryOptions{replicas: 2, grace: 30})
	var lanes []*load
	for range 6 {
		lanes = append(lanes, startLoad(ep.URL, true))
	}
	pods, err := c.Client.CoreV1().Pods("rehearse").List(t.Context(), metav1.ListOptions{LabelSelector: "app=canary"})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	now := int64(0)
	if err := c.Client.CoreV1().Pods("rehearse").Delete(t.Context(), pods.Items[0].Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	lost := 0
	for _, l := range lanes {
		l.finish()
		lost += l.lost
	}
	if lost == 0 {
		t.Error("a pod was killed under load and no request was lost")
	}
}

func TestEvictionBlockedByBudget(t *testing.T) {
	d, c := newCluster(t, Options{}, spec(1, 2))
	deployCanary(t, d, c, canaryOptions{replicas: 1, grace: 1, args: []string{"--shutdown-delay=0s"}})
	ctx := t.Context()
	zero := intstr.FromInt32(0)
	b, err := c.Client.PolicyV1().PodDisruptionBudgets("rehearse").Get(ctx, "canary", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.Spec.MaxUnavailable = &zero
	if _, err := c.Client.PolicyV1().PodDisruptionBudgets("rehearse").Update(ctx, b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the budget allows nothing", func() error {
		b, err := c.Client.PolicyV1().PodDisruptionBudgets("rehearse").Get(ctx, "canary", metav1.GetOptions{})
		if err == nil && (b.Status.ObservedGeneration != b.Generation || b.Status.DisruptionsAllowed != 0) {
			err = fmt.Errorf("status %+v", b.Status)
		}
		return err
	})
	pods, err := c.Client.CoreV1().Pods("rehearse").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := pods.Items[0]
	err = c.Client.PolicyV1().Evictions("rehearse").Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: "rehearse"}})
	if !apierrors.IsTooManyRequests(err) {
		t.Fatalf("evict: %v, want 429", err)
	}
	if got, want := err.Error(), "Cannot evict pod as it would violate the pod's disruption budget."; got != want {
		t.Errorf("evict says %q, want %q", got, want)
	}
	if !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
		t.Errorf("the refusal has no cause DisruptionBudget: %#v", err)
	}
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		if got, want := status.ErrStatus.Details.Causes[0].Message, "The disruption budget canary needs 1 healthy pods and has 1 currently"; got != want {
			t.Errorf("cause says %q, want %q", got, want)
		}
	}

	h, out := helper(ctx, c)
	h.Timeout = 500 * time.Millisecond
	err = h.DeleteOrEvictPods([]corev1.Pod{pod})
	want := fmt.Sprintf("error when evicting pods/%q -n %q: global timeout reached: 500ms", pod.Name, "rehearse")
	if err == nil || err.Error() != want {
		t.Errorf("drain ends with %v, want %s", err, want)
	}
	line := fmt.Sprintf("error when evicting pods/%q -n %q (will retry after 100ms): Cannot evict pod as it would violate the pod's disruption budget.", pod.Name, "rehearse")
	if !strings.Contains(out.String(), line) {
		t.Errorf("drain printed\n%s\nwant a line\n%s", out, line)
	}
}

func TestEvictionUnderTwoBudgets(t *testing.T) {
	d, c := newCluster(t, Options{}, spec(1, 2))
	deployCanary(t, d, c, canaryOptions{replicas: 2, grace: 1})
	ctx := t.Context()
	min := intstr.FromInt32(1)
	if _, err := c.Client.PolicyV1().PodDisruptionBudgets("rehearse").Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "second"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &min, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "canary"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods, err := c.Client.CoreV1().Pods("rehearse").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := helper(ctx, c)
	err = h.DeleteOrEvictPods(pods.Items[:1])
	want := fmt.Sprintf("error when evicting pods/%q -n %q: This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.", pods.Items[0].Name, "rehearse")
	if err == nil || err.Error() != want {
		t.Errorf("drain ends with %v, want %s", err, want)
	}
}

func TestDrainOfABarePod(t *testing.T) {
	_, c := newCluster(t, Options{}, spec(1, 1))
	ctx := t.Context()
	if _, err := c.Client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "bare"},
		Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: new(int64), Containers: []corev1.Container{{Name: "app", Image: "registry.k8s.io/pause:3.10"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod runs", func() error {
		p, err := c.Client.CoreV1().Pods("default").Get(ctx, "bare", metav1.GetOptions{})
		if err == nil && !isReady(p) {
			err = fmt.Errorf("phase %s", p.Status.Phase)
		}
		return err
	})
	h, out := helper(ctx, c)
	h.Timeout = 5 * time.Second
	cordon(t, h, "t-worker", true)
	err := drain.RunNodeDrain(h, "t-worker")
	if want := "cannot delete Pods that declare no controller (use --force to override): default/bare"; err == nil || err.Error() != want {
		t.Errorf("drain without force ends with %v, want %s", err, want)
	}
	h.Force = true
	if err := drain.RunNodeDrain(h, "t-worker"); err != nil {
		t.Fatalf("drain with force: %v\n%s", err, out)
	}
	if _, err := c.Client.CoreV1().Pods("default").Get(ctx, "bare", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the bare pod is still there: %v", err)
	}
}
