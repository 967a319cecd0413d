package sim

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestWorkersComeAndGo(t *testing.T) {
	d, c := newCluster(t, Options{}, spec(1, 2))
	ep := deployCanary(t, d, c, canaryOptions{replicas: 2, args: []string{"-shutdown-delay=10s"}, grace: 30})
	ctx := t.Context()
	name, err := d.AddNode(ctx, c, from)
	if err != nil {
		t.Fatal(err)
	}
	if name != "t-worker3" {
		t.Errorf("the new worker is %s, want t-worker3", name)
	}
	n, err := c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if nodeIsReady(n) || n.Status.NodeInfo.KubeletVersion != from.String() || n.Spec.PodCIDR != "10.244.3.0/24" ||
		!slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeNotReady }) {
		t.Errorf("a worker that has just joined: ready %t, kubelet %s, subnet %s, taints %v", nodeIsReady(n), n.Status.NodeInfo.KubeletVersion, n.Spec.PodCIDR, n.Spec.Taints)
	}
	sim, err := d.simulation(c)
	if err != nil {
		t.Fatal(err)
	}
	front := sim.balancers[0]
	eventually(t, "the worker is Ready, runs its daemons and is balanced", func() error {
		if err := expectNodes(t, c, map[string]string{name: "v1.34.4 true"}); err != nil {
			return err
		}
		pods, err := c.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for i := range pods.Items {
			if p := &pods.Items[i]; p.Spec.NodeName == name && isReady(p) {
				ready++
			}
		}
		if ready < 2 || !slices.Contains(front.Healthy(), name) {
			return fmt.Errorf("%d pods ready, balanced %v", ready, front.Healthy())
		}
		return nil
	})

	// No request is lost with the worker, on a kept connection neither.
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
	defer client.CloseIdleConnections()
	get := func() error {
		resp, err := client.Get(ep.URL + "/")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	for range 10 {
		if err := get(); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []string{"t-worker3", "t-worker3"} { // twice: it may be gone already
		if err := d.RemoveNode(ctx, c, gone); err != nil {
			t.Fatal(err)
		}
		if err := get(); err != nil {
			t.Error(err)
		}
	}
	if slices.Contains(front.Members(), name) {
		t.Errorf("the balancer still has %v", front.Members())
	}
	if _, err := c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the removed node: %v, want that it is not found", err)
	}
	eventually(t, "the removed worker's pods are collected", func() error {
		pods, err := c.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			if p.Spec.NodeName == name {
				return fmt.Errorf("pod %s is still there", p.Name)
			}
		}
		return nil
	})
	if next, err := d.AddNode(ctx, c, from); err != nil || next != "t-worker4" {
		t.Errorf("the next worker is %s (%v), want t-worker4: names do not come again", next, err)
	}
}

func TestWorkersThatCannotComeOrGo(t *testing.T) {
	d, c := newCluster(t, Options{}, spec(1, 1))
	ctx := t.Context()
	for _, tc := range []struct {
		err  error
		want string
	}{
		{d.RemoveNode(ctx, c, "t-control-plane"), "remove node t-control-plane: it is a control plane"},
		{d.RollbackNode(ctx, c, "t-control-plane", "v1.33.6"), "roll node t-control-plane back to v1.33.6: it is a control plane: Kubernetes supports no way back for it"},
		{d.RollbackNode(ctx, c, "t-worker9", "v1.33.6"), `roll node t-worker9 back to v1.33.6: no node "t-worker9"; the simulated cluster has t-control-plane, t-worker`},
		{d.RemoveNode(ctx, c, "t-worker9"), ""},
	} {
		got := ""
		if tc.err != nil {
			got = tc.err.Error()
		}
		if got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
	// A kubelet that is newer than its API server joins and is never Ready.
	name, err := d.AddNode(ctx, c, to)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new node says why it is not Ready", func() error {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if m := nodeCondition(n, corev1.NodeReady).Message; !strings.Contains(m, "kubelet v1.35.4 is newer than the API server v1.34.4") {
			return fmt.Errorf("it says %q", m)
		}
		return nil
	})
	if err := d.RollbackNode(ctx, c, name, from); err != nil {
		t.Fatal(err)
	}
	eventually(t, "rolled back it is Ready", func() error { return expectNodes(t, c, map[string]string{name: "v1.34.4 true"}) })
	if _, err := d.AddNode(ctx, &cluster.Cluster{Spec: spec(1, 1)}, from); err != nil {
		t.Error(err)
	}
	if err := d.Delete(ctx, c.Spec); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddNode(ctx, c, from); err == nil || err.Error() != "add a worker: run run-1 has no simulated cluster: it was deleted or made by another driver" {
		t.Errorf("a worker for a deleted cluster: %v", err)
	}
}
