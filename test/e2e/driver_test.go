//go:build e2e

package e2e

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/nodeimage"
)

// driver is a kind driver and the spec of a cluster of its own, which is
// deleted when the test ends, however it does; nothing may be left of it then.
func driver(t *testing.T, runID string) (*kind.Driver, cluster.Spec) {
	t.Helper()
	images, err := nodeimage.New(nodeimage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := kind.New(kind.Options{Images: images})
	s := cluster.Spec{RunID: runID, Name: "rehearse-e2e-" + runID, Version: from, ControlPlanes: 1, Workers: 1, Network: "flannel"}
	t.Cleanup(func() {
		// t.Context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := d.Delete(ctx, s); err != nil {
			t.Error(err)
		}
		assertNothingLeft(ctx, t, d, s)
	})
	return d, s
}

func assertNothingLeft(ctx context.Context, t *testing.T, d *kind.Driver, s cluster.Spec) {
	t.Helper()
	left, err := d.Leftovers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.RunID == s.RunID || strings.HasPrefix(l.Name, s.Name) {
			t.Errorf("left behind: %s %s", l.Kind, l.Name)
		}
	}
}

func fetch(ctx context.Context, t *testing.T, url string) (http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get(canary.HeaderSum) != canary.Sum(b) {
		t.Fatalf("%s: %s, sum %s of %d bytes", url, resp.Status, resp.Header.Get(canary.HeaderSum), len(b))
	}
	return resp.Header, string(b)
}

// TestDriverServesStagesAndDeletes goes through what a rehearsal asks of the
// driver before and after the upgrade.
func TestDriverServesStagesAndDeletes(t *testing.T) {
	ctx := cluster.WithLog(t.Context(), nil, t.Output())
	d, s := driver(t, "drv001")
	if err := d.Prepare(ctx, s, to); err != nil {
		t.Fatal(err)
	}
	c, err := d.Create(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	image, err := d.CanaryImage(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	cfg := deploy.Config{Image: image, Replicas: 2, BodyBytes: 100, Budget: &deploy.Budget{MaxUnavailable: new(1)}}
	if err := deploy.Deploy(ctx, c.Client, cfg); err != nil {
		t.Fatal(err)
	}
	if err := deploy.WaitReady(ctx, c.Client, cfg, 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	service := cluster.Service{
		Namespace: deploy.DefaultNamespace, Name: deploy.DefaultName, NodePort: deploy.DefaultNodePort, HealthPath: canary.PathReady,
	}
	exposed, err := d.Expose(ctx, c, service)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := d.StartTwin(ctx, c, cluster.Workload{Image: image, Args: cfg.Args(), Port: canary.DefaultPort, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ url, node string }{{exposed.URL, s.Name + "-worker"}, {twin.URL, "outside"}} {
		if !strings.HasPrefix(tc.url, "http://127.0.0.1:") {
			t.Errorf("%s is not on loopback", tc.url)
		}
		header, _ := fetch(ctx, t, tc.url)
		if got := header.Get(canary.HeaderNode); got != tc.node {
			t.Errorf("%s is served from node %q, want %q", tc.url, got, tc.node)
		}
	}
	members, err := d.EtcdMembers(ctx, c)
	if err != nil || len(members) != 1 || !members[0].OK {
		t.Errorf("etcd: %+v, %v", members, err)
	}
	if err := d.Stage(ctx, c, to); err != nil {
		t.Fatal(err)
	}
	// Staging changes nothing that runs.
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		if got := n.Status.NodeInfo.KubeletVersion; got != from {
			t.Errorf("node %s is at %s after staging, want %s", n.Name, got, from)
		}
	}
	dockerMust(ctx, t, "exec", s.Name+"-worker", "test", "-x", "/opt/rehearse/"+to+"/kubelet")
}

// TestCancelledCreateLeavesNothing interrupts kind while it starts nodes.
func TestCancelledCreateLeavesNothing(t *testing.T) {
	d, s := driver(t, "drv002")
	ctx, cancel := context.WithTimeout(cluster.WithLog(t.Context(), nil, t.Output()), 15*time.Second)
	defer cancel()
	if _, err := d.Create(ctx, s); err == nil {
		t.Fatal("created a cluster within 15 s: interrupt it earlier")
	}
	// The network is Delete's; the nodes are gone when Create returns.
	left, err := d.Leftovers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.RunID == s.RunID && l.Kind != "network" {
			t.Errorf("left behind by Create: %s %s", l.Kind, l.Name)
		}
	}
}

func dockerMust(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput(); err != nil {
		t.Errorf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
