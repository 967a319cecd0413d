package sim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestFaultsOfTheUpgrade(t *testing.T) {
	d, c := newCluster(t, Options{Faults: Faults{
		KubeletVersion: func(node string, to cluster.Version) cluster.Version {
			switch node {
			case "t-worker":
				return "" // left old
			case "t-worker2":
				return "v1.99.0" // newer than any API server
			}
			return to
		},
	}}, spec(1, 3))
	ctx := t.Context()
	for _, n := range []string{"t-worker", "t-worker2", "t-worker3"} {
		if err := d.UpgradeNode(ctx, c, n, from); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the nodes are as planted", func() error {
		return expectNodes(t, c, map[string]string{"t-worker": "v1.34.4 true", "t-worker2": "v1.99.0 false", "t-worker3": "v1.34.4 true"})
	})
	n, err := c.Client.CoreV1().Nodes().Get(ctx, "t-worker2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := nodeCondition(n, corev1.NodeReady).Message, "kubelet v1.99.0 is newer than the API server v1.34.4, which is not supported"; got != want {
		t.Errorf("node says %q, want %q", got, want)
	}
}

func expectNodes(t *testing.T, c *cluster.Cluster, want map[string]string) error {
	nodes, err := c.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range nodes.Items {
		got := fmt.Sprintf("%s %t", n.Status.NodeInfo.KubeletVersion, nodeIsReady(&n))
		if w, ok := want[n.Name]; ok && w != got {
			return fmt.Errorf("node %s: %s, want %s", n.Name, got, w)
		}
	}
	return nil
}

func TestUpgradeThatChangesNothing(t *testing.T) {
	d, c := newCluster(t, Options{Faults: Faults{UpgradeChangesNothing: true}}, spec(1, 1))
	if err := d.UpgradeControlPlane(t.Context(), c, "t-control-plane", to, true); err != nil {
		t.Fatal(err)
	}
	if err := d.UpgradeNode(t.Context(), c, "t-worker", to); err != nil {
		t.Fatal(err)
	}
	v, err := c.Client.Discovery().ServerVersion()
	if err != nil || v.GitVersion != string(from) {
		t.Errorf("server version %v, %v; want %s still", v, err, from)
	}
	eventually(t, "the node is Ready, and old", func() error {
		return expectNodes(t, c, map[string]string{"t-worker": "v1.34.4 true"})
	})
}

func TestNodeFallsBack(t *testing.T) {
	var back atomic.Bool
	d, c := newCluster(t, Options{Faults: Faults{FallBack: func(n string) bool { return back.Load() && n == "t-worker" }}}, spec(1, 1))
	if err := d.UpgradeControlPlane(t.Context(), c, "t-control-plane", to, true); err != nil {
		t.Fatal(err)
	}
	if err := d.UpgradeNode(t.Context(), c, "t-worker", to); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is upgraded", func() error {
		return expectNodes(t, c, map[string]string{"t-worker": "v1.35.4 true"})
	})
	back.Store(true)
	eventually(t, "the node is old again", func() error {
		return expectNodes(t, c, map[string]string{"t-worker": "v1.34.4 true"})
	})
}

func TestControlPlanesTogetherTakeTheAPIDown(t *testing.T) {
	d, c := newCluster(t, Options{Faults: Faults{PlanesTogether: true}}, spec(3, 1))
	done := make(chan error, 1)
	go func() { done <- d.UpgradeControlPlane(t.Context(), c, "t-control-plane", to, true) }()
	refused := 0
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if refused == 0 {
				t.Error("two control planes were upgraded at once, and the API never went away")
			}
			return
		case <-time.After(5 * time.Millisecond):
			if _, err := c.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); errors.Is(err, syscall.ECONNREFUSED) {
				refused++
			}
		}
	}
}

func TestFaultsOfSystemPods(t *testing.T) {
	var on atomic.Bool
	_, c := newCluster(t, Options{Faults: Faults{
		OverlayDown: func(node string) bool { return on.Load() && node == "t-worker" },
		NoDaemon:    func(ds, node string) bool { return on.Load() && ds == "kube-proxy" && node == "t-worker2" },
		DNSDown:     on.Load,
		Objects:     []Object{FailedPod("kube-system", "lingering", "t-worker"), BarePod("default", "bare", "t-worker")},
	}}, spec(1, 2))
	ctx := t.Context()
	p, err := c.Client.CoreV1().Pods("kube-system").Get(ctx, "lingering", metav1.GetOptions{})
	if err != nil || p.Status.Phase != corev1.PodFailed {
		t.Errorf("lingering pod: %v, %v", p.Status.Phase, err)
	}
	on.Store(true)
	crashing := func(ns, label string) error {
		pods, err := c.Client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			if s := p.Status.ContainerStatuses; len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff" && s[0].RestartCount > 0 {
				return nil
			}
		}
		return errors.New("no pod crash-loops")
	}
	eventually(t, "flannel crash-loops", func() error { return crashing("kube-flannel", "app=flannel") })
	eventually(t, "CoreDNS crash-loops", func() error { return crashing("kube-system", "k8s-app=kube-dns") })
	eventually(t, "kube-proxy is missing on one node", func() error {
		ds, err := c.Client.AppsV1().DaemonSets("kube-system").Get(ctx, "kube-proxy", metav1.GetOptions{})
		if err == nil && (ds.Status.DesiredNumberScheduled != 3 || ds.Status.NumberReady != 2) {
			err = fmt.Errorf("%d of %d ready", ds.Status.NumberReady, ds.Status.DesiredNumberScheduled)
		}
		return err
	})
	msg, phase := runLookup(t, c, "kubernetes.default.svc.cluster.local")
	if phase != corev1.PodFailed || !strings.HasPrefix(msg, "lookup kubernetes.default.svc.cluster.local: no answer within ") {
		t.Errorf("the DNS check without CoreDNS: %s %q", phase, msg)
	}
	on.Store(false)
	eventually(t, "all is well again", func() error {
		for _, ns := range []string{"kube-system", "kube-flannel"} {
			pods, err := c.Client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, p := range pods.Items {
				if p.Name != "lingering" && !isReady(&p) {
					return fmt.Errorf("pod %s is not ready", p.Name)
				}
			}
		}
		return nil
	})
}

func TestFaultsOfTheBalancer(t *testing.T) {
	var effect atomic.Pointer[Effect]
	effect.Store(&Effect{})
	var onlyReused, down atomic.Bool
	d, c := newCluster(t, Options{Faults: Faults{
		BalancerDown: down.Load,
		Response: func(r Request) Effect {
			if onlyReused.Load() && !r.Reused {
				return Effect{}
			}
			return *effect.Load()
		},
	}}, spec(1, 2))
	ep := deployCanary(t, d, c, canaryOptions{replicas: 2, grace: 1, args: []string{"--shutdown-delay=0s", "--body-bytes=4096"}})

	if err := fetch(ep.URL); err != nil {
		t.Fatalf("without an effect: %v", err)
	}
	effect.Store(&Effect{Status: http.StatusServiceUnavailable})
	if err := fetch(ep.URL); err == nil || err.Error() != "status 503" {
		t.Errorf("with a status: %v", err)
	}
	effect.Store(&Effect{Truncate: true})
	if err := fetch(ep.URL); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("with half a body: %v", err)
	}
	effect.Store(&Effect{Delay: 80 * time.Millisecond})
	start := time.Now()
	if err := fetch(ep.URL); err != nil || time.Since(start) < 80*time.Millisecond {
		t.Errorf("with a delay: %v after %s", err, time.Since(start))
	}
	effect.Store(&Effect{Hang: true})
	if err := fetch(ep.URL); err == nil || !strings.Contains(err.Error(), "Client.Timeout exceeded") {
		t.Errorf("hanging: %v", err)
	}
	effect.Store(&Effect{Reset: true})
	if err := fetch(ep.URL); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("with a reset: %v", err)
	}
	onlyReused.Store(true)
	for range 3 {
		if err := fetch(ep.URL); err != nil {
			t.Errorf("a new connection while only reused ones are reset: %v", err)
		}
	}
	onlyReused.Store(false)
	effect.Store(&Effect{})
	down.Store(true)
	eventually(t, "the balancer refuses", func() error {
		if err := fetch(ep.URL); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	down.Store(false)
	eventually(t, "the balancer is back", func() error { return fetch(ep.URL) })
}

func TestStaleSliceAndKeptNode(t *testing.T) {
	var stale, lost atomic.Bool
	d, c := newCluster(t, Options{Faults: Faults{
		StaleSlices:     func(ns, service string) bool { return stale.Load() && service == "canary" },
		NodeUnreachable: func(node string) bool { return lost.Load() && node == "t-worker" },
		BalancerKeeps:   func(node string) bool { return node == "t-worker" },
	}}, spec(1, 2))
	ep := deployCanary(t, d, c, canaryOptions{replicas: 2, grace: 1, args: []string{"--shutdown-delay=0s"}})
	stale.Store(true)
	pods, err := c.Client.CoreV1().Pods("rehearse").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Client.CoreV1().Pods("rehearse").Delete(t.Context(), pods.Items[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead endpoint is still routed to", func() error {
		if fetch(ep.URL) == nil {
			return errors.New("served")
		}
		return nil
	})
	stale.Store(false)
	// Any change of a pod wakes the controller.
	if err := c.Client.CoreV1().Pods("rehearse").Delete(t.Context(), pods.Items[1].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	served := func() error {
		for range 6 {
			if err := fetch(ep.URL); err != nil {
				return err
			}
		}
		return nil
	}
	eventually(t, "the endpoints are right again", served)
	lost.Store(true)
	if served() == nil {
		t.Error("the balancer keeps a node that is unreachable, and no request was lost")
	}
}

func TestAPIServersDownAndAStoppedKubelet(t *testing.T) {
	var down, stopped atomic.Bool
	_, c := newCluster(t, Options{Faults: Faults{
		APIDown:        func(string) bool { return down.Load() },
		KubeletStopped: func(n string) bool { return stopped.Load() && n == "t-worker" },
	}}, spec(2, 1))
	list := func() error {
		_, err := c.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		return err
	}
	down.Store(true)
	eventually(t, "the API is down", func() error {
		if err := list(); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	down.Store(false)
	eventually(t, "the API is back", list)
	stopped.Store(true)
	eventually(t, "the node is NotReady", func() error {
		n, err := c.Client.CoreV1().Nodes().Get(t.Context(), "t-worker", metav1.GetOptions{})
		if err == nil && nodeCondition(n, corev1.NodeReady).Status != corev1.ConditionUnknown {
			err = errors.New("still ready")
		}
		return err
	})
	stopped.Store(false)
	eventually(t, "the node is Ready again", func() error {
		return expectNodes(t, c, map[string]string{"t-worker": "v1.34.4 true"})
	})
}
