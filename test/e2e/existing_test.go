//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const existingScenario = `
apiVersion: rehearse/v1alpha1
scenarios:
- name: existing
  cluster: {driver: existing, kubeconfig: %s}
  versions: {from: %s, to: %s}
  canary: {image: %q, url: %q, replicas: 3, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 12s}
  load: {rate: 50, lanes: [new, reused], timeout: 5s, warmup: 10s, baseline: 30s, settle: 20s}
  upgrade: {strategy: command, command: [testdata/upgrade.sh, %s], commandTimeout: 20m}
  thresholds: {successRate: 99.9%%, longestOutage: 1s, p50Increase: off, p99Increase: off}
`

// TestFullExisting upgrades a real cluster that is none of the run's, by a script
// such as operators have: kubeadm, kubectl drain, another kubelet. What happens is
// seen through the API alone.
func TestFullExisting(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		if !b.docker {
			t.Log("harness/cluster/existing holds the driver against the embedded cluster")
			return
		}
		ctx := cluster.WithLog(t.Context(), nil, t.Output())
		d, s := driver(t, "drv004")
		s.Workers = 2
		c, err := d.Create(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		c.Spec = s
		if err := d.Stage(ctx, c, to); err != nil {
			t.Fatal(err)
		}
		image, err := d.CanaryImage(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		// A way to the Service's port on the workers, as an ingress of the user's is.
		way := exposeCanary(ctx, t, d, c)
		removeNamespace(ctx, t, c)

		dir := t.TempDir()
		kubeconfig, file, out := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "existing.yaml"), filepath.Join(evidence, "TestFullExisting")
		text := fmt.Sprintf(existingScenario, kubeconfig, from, to, image, way.URL, s.Name)
		for name, data := range map[string][]byte{kubeconfig: c.Kubeconfig, file: []byte(text)} {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o := rehearse(ctx, t, "run", "-f", file, "--out", out)
		if o.code != 0 {
			t.Fatalf("exit code %d, want 0 (GO)\n%s", o.code, o.stdout)
		}
		if strings.Contains(o.stderr, "go on with") {
			t.Error("a run whose command is the user's is told to be gone on with")
		}
		o.dir = runDir(t, out, "existing")
		rec := load(t, o.dir)
		checkServed(t, rec)
		checkRecomputed(ctx, t, o.dir)
		if rec.Run.Versions.Before != from || rec.Run.Versions.After != to {
			t.Errorf("versions %+v", rec.Run.Versions)
		}
		// The script drained every node, and the watch saw it.
		if cordons, changes := events(rec, timeline.KindCordon, ""), events(rec, timeline.KindNodeVersion, ""); len(cordons) != 3 || len(changes) != 3 {
			t.Errorf("the watch saw %v cordoned and %v change their version, want 3 of each", subjects(cordons), subjects(changes))
		}
		checkLeftAsItWas(ctx, t, c)
	})
}

// removeNamespace makes room for the canary of a run.
func removeNamespace(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	t.Helper()
	namespaces := c.Client.CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, deploy.DefaultNamespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err := wait.For(func(ctx context.Context) (bool, error) {
		_, err := namespaces.Get(ctx, deploy.DefaultNamespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	}, wait.WithContext(ctx), wait.WithTimeout(2*time.Minute), wait.WithInterval(time.Second))
	if err != nil {
		t.Fatalf("namespace %s is still there: %v", deploy.DefaultNamespace, err)
	}
}

// checkLeftAsItWas asks the cluster itself: every node is upgraded and in service,
// and of the run nothing is left.
func checkLeftAsItWas(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	t.Helper()
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkUpgraded(t, nodes.Items, 3)
	namespaces, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range namespaces.Items {
		if name := namespaces.Items[i].Name; strings.Contains(name, "rehearse") {
			t.Errorf("namespace %s is left", name)
		}
	}
}
