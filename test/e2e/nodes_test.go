//go:build e2e

package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
)

// TestWorkersComeAndGo adds a worker to a real cluster and removes another,
// while a client that keeps its connection sends 200 requests a second, and
// finds the cluster again as another process would.
func TestWorkersComeAndGo(t *testing.T) {
	d, s := driver(t, "drv003")
	ctx := cluster.WithLog(t.Context(), nil, t.Output())
	if _, err := d.Attach(ctx, s); err == nil || !strings.Contains(err.Error(), "there is no cluster "+s.Name+" any more") {
		t.Errorf("attach to a cluster that is not there: %v", err)
	}
	c, err := d.Create(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	c.Spec = s
	endpoint := exposeCanary(ctx, t, d, c)
	client := startClient(t, endpoint.URL+canary.PathRoot, 200)

	start := time.Now()
	node, err := d.AddNode(ctx, c, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("AddNode took %s", time.Since(start))
	if want := s.Name + "-worker2"; node != want {
		t.Errorf("the new node is %s, want %s", node, want)
	}
	n := awaitReady(ctx, t, c, node)
	if got := n.Status.NodeInfo.KubeletVersion; got != from {
		t.Errorf("the new node's kubelet is %s, want %s", got, from)
	}
	if want := "kind://docker/" + s.Name + "/" + node; n.Spec.ProviderID != want {
		t.Errorf("provider ID %q, want %q", n.Spec.ProviderID, want)
	}
	// The old worker's pods go to the new one, whose image of the canary is the
	// one that was loaded into it: there is no registry that has it.
	old := s.Name + "-worker"
	drainByHand(ctx, t, c, old)
	client.awaitNode(t, node)

	start = time.Now()
	for range 2 { // it is idempotent
		if err := d.RemoveNode(ctx, c, old); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("RemoveNode took %s", time.Since(start))
	time.Sleep(3 * time.Second)
	if sent, failed := client.stop(); len(failed) > 0 || sent < 1000 {
		t.Errorf("%d of %d requests failed: %q", len(failed), sent, failed[:min(len(failed), 5)])
	} else {
		t.Logf("%d requests, none failed", sent)
	}

	again, err := d.Attach(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := again.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes.Items {
		names = append(names, strings.TrimPrefix(n.Name, s.Name+"-"))
	}
	if got := strings.Join(names, " "); got != "control-plane worker2" {
		t.Errorf("nodes of the cluster found again: %s", got)
	}
	svc := cluster.Service{Namespace: deploy.DefaultNamespace, Name: deploy.DefaultName, NodePort: deploy.DefaultNodePort, HealthPath: canary.PathReady}
	if same, err := d.Expose(ctx, again, svc); err != nil || same != endpoint {
		t.Errorf("the balancer found again is at %s (%v), it was at %s", same.URL, err, endpoint.URL)
	}
	// What is staged to all nodes reaches an added one, which goes to the version
	// and back.
	if err := d.Stage(ctx, again, from); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	if err := d.RollbackNode(ctx, again, node, from); err != nil {
		t.Fatal(err)
	}
	t.Logf("RollbackNode took %s", time.Since(start))
	awaitReady(ctx, t, again, node)
}

func exposeCanary(ctx context.Context, t *testing.T, d *kind.Driver, c *cluster.Cluster) cluster.Endpoint {
	t.Helper()
	image, err := d.CanaryImage(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	cfg := deploy.Config{Image: image, Replicas: 2, ShutdownDelay: 5 * time.Second, GracePeriod: 5 * time.Second}
	if err := deploy.Deploy(ctx, c.Client, cfg); err != nil {
		t.Fatal(err)
	}
	if err := deploy.WaitReady(ctx, c.Client, cfg, 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	endpoint, err := d.Expose(ctx, c, cluster.Service{
		Namespace: deploy.DefaultNamespace, Name: deploy.DefaultName, NodePort: deploy.DefaultNodePort, HealthPath: canary.PathReady,
	})
	if err != nil {
		t.Fatal(err)
	}
	return endpoint
}

func awaitReady(ctx context.Context, t *testing.T, c *cluster.Cluster, node string) *corev1.Node {
	t.Helper()
	var found *corev1.Node
	err := wait.For(func(ctx context.Context) (bool, error) {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return false, nil
		}
		for _, condition := range n.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				found = n
				return true, nil
			}
		}
		return false, nil
	}, wait.WithContext(ctx), wait.WithTimeout(2*time.Minute), wait.WithInterval(time.Second))
	if err != nil {
		t.Fatalf("node %s was not Ready after 2m: %v", node, err)
	}
	return found
}

// drainByHand cordons the node and deletes the canary's pods on it, one at a
// time, each after the one before has been replaced.
func drainByHand(ctx context.Context, t *testing.T, c *cluster.Cluster, node string) {
	t.Helper()
	patch := []byte(`{"spec":{"unschedulable":true}}`)
	if _, err := c.Client.CoreV1().Nodes().Patch(ctx, node, "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	pods, err := c.Client.CoreV1().Pods(deploy.DefaultNamespace).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		if err := c.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		awaitReplaced(ctx, t, c, p.Name)
	}
}

// awaitReplaced waits until two canaries are Ready without the pod that was
// deleted: the Deployment's status still counts that for a moment.
func awaitReplaced(ctx context.Context, t *testing.T, c *cluster.Cluster, deleted string) {
	t.Helper()
	err := wait.For(func(ctx context.Context) (bool, error) {
		pods, err := c.Client.CoreV1().Pods(deploy.DefaultNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil
		}
		ready := 0
		for _, p := range pods.Items {
			if p.Name == deleted || p.DeletionTimestamp != nil {
				continue
			}
			for _, condition := range p.Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		return ready >= 2, nil
	}, wait.WithContext(ctx), wait.WithTimeout(2*time.Minute), wait.WithInterval(200*time.Millisecond))
	if err != nil {
		t.Fatalf("pod %s was not replaced within 2m: %v", deleted, err)
	}
}

// client sends requests at a rate over one connection that it keeps, with the
// standard library alone.
type client struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	sent   int
	failed []string
	nodes  map[string]int
}

func startClient(t *testing.T, url string, rate int) *client {
	ctx, cancel := context.WithCancel(t.Context())
	c := &client{cancel: cancel, done: make(chan struct{}), nodes: map[string]int{}}
	t.Cleanup(func() { c.stop() })
	one := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 8, MaxIdleConnsPerHost: 8}, Timeout: 5 * time.Second}
	go func() {
		defer close(c.done)
		defer one.CloseIdleConnections()
		var pending sync.WaitGroup
		defer pending.Wait()
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			pending.Go(func() { c.send(one, url) })
		}
	}()
	return c
}

func (c *client) send(one *http.Client, url string) {
	resp, err := one.Get(url)
	problem, node := "", ""
	if err != nil {
		problem = err.Error()
	} else {
		node = resp.Header.Get(canary.HeaderNode)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			problem = err.Error()
		} else if resp.StatusCode != http.StatusOK {
			problem = resp.Status
		}
		_ = resp.Body.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	if problem != "" {
		c.failed = append(c.failed, time.Now().UTC().Format("15:04:05.000 ")+problem)
	} else {
		c.nodes[node]++
	}
}

// awaitNode waits until answers come from pods on the node.
func (c *client) awaitNode(t *testing.T, node string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		c.mu.Lock()
		n := c.nodes[node]
		c.mu.Unlock()
		if n > 100 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d answers from pods on node %s within a minute", n, node)
		}
	}
}

func (c *client) stop() (sent int, failed []string) {
	c.cancel()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.failed
}
