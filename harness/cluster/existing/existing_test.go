package existing_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/existing"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func on(t *testing.T, v string, objects ...runtime.Object) (*existing.Driver, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(objects...)
	fd, _ := client.Discovery().(*fakediscovery.FakeDiscovery)
	fd.FakedServerVersion = &version.Info{GitVersion: v}
	d, err := existing.New(existing.Options{
		Kubeconfig: "my kube", Context: "c", Namespace: "rehearse", Image: "registry.example/canary:1",
		Connect: func(s cluster.Spec) (*cluster.Cluster, error) { return &cluster.Cluster{Spec: s, Client: client}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, client
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

var spec = cluster.Spec{RunID: "abc123", Name: "x", Version: "v1.34.4"}

// TestOnlyOwnNamespacesAreDeleted holds that nothing of the cluster is touched
// but what carries the run's label.
func TestOnlyOwnNamespacesAreDeleted(t *testing.T) {
	d, client := on(t, "v1.34.4-gke.7", namespace("shop", nil), namespace("older", map[string]string{cluster.LabelRun: "fff000"}))
	c, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if c.ControlPlane != "v1.34.4-gke.7" || c.Spec.RunID != "abc123" {
		t.Errorf("cluster %+v", c)
	}
	left, err := d.Leftovers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []cluster.Leftover{
		{Kind: "namespace", Name: "older", RunID: "fff000", Delete: "kubectl --kubeconfig 'my kube' --context c delete namespace -l io.rehearse.run=fff000"},
		{Kind: "namespace", Name: "rehearse", RunID: "abc123", Delete: d.DeleteCommand(spec)},
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("leftovers (-want +got):\n%s", diff)
	}
	for range 2 { // the second finds nothing
		if err := d.Delete(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	changed := []string{}
	for _, a := range client.Actions() {
		if v := a.GetVerb(); v != "get" && v != "list" {
			changed = append(changed, v+" "+a.GetResource().Resource)
		}
	}
	if diff := cmp.Diff([]string{"create namespaces", "delete namespaces"}, changed); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for name, gone := range map[string]bool{"shop": false, "older": false, "rehearse": true} {
		_, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) != gone {
			t.Errorf("namespace %s: %v", name, err)
		}
	}
}

func TestPreflight(t *testing.T) {
	for _, c := range []struct {
		name, version string
		objects       []runtime.Object
		want          []string
	}{
		{"as it shall be", "v1.34.4+k3s1", nil, nil},
		{"another version", "v1.34.5", nil, []string{"version-from cluster"}},
		{"left", "v1.34.4", []runtime.Object{namespace("rehearse", map[string]string{cluster.LabelRun: "fff000"})}, []string{"namespace-left namespace/rehearse"}},
		{"foreign", "v1.34.4", []runtime.Object{namespace("rehearse", nil)}, []string{"namespace-foreign namespace/rehearse"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := on(t, c.version, c.objects...)
			findings, err := d.Preflight(t.Context(), spec, "v1.35.4")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, f.ID+" "+f.Object)
				if f.Severity != record.SeverityBlock || f.Cause == "" || f.Remedy == "" {
					t.Errorf("finding %+v", f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNamespaceThatDoesNotGoIsNamed waits no longer than it may.
func TestNamespaceThatDoesNotGoIsNamed(t *testing.T) {
	stuck := namespace("rehearse", map[string]string{cluster.LabelRun: "abc123"})
	stuck.DeletionTimestamp, stuck.Finalizers = &metav1.Time{Time: time.Now()}, []string{"kubernetes"}
	d, _ := on(t, "v1.34.4", stuck)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := d.Delete(ctx, spec); err == nil || !strings.HasPrefix(err.Error(), "namespace rehearse is being deleted and not gone: ") {
		t.Errorf("error %v", err)
	}
}

func TestWithoutAKubeconfig(t *testing.T) {
	if _, err := existing.New(existing.Options{}); err == nil || !strings.Contains(err.Error(), "cluster.kubeconfig") {
		t.Errorf("error %v", err)
	}
	d, err := existing.New(existing.Options{Kubeconfig: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Preflight(t.Context(), spec, "v1.35.4"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v", err)
	}
}

const scenario = `apiVersion: rehearse/v1alpha1
scenarios:
- name: existing
  cluster: {driver: existing, kubeconfig: none}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: IMAGE, url: "URL", replicas: 2}
  load: {rate: 20, warmup: 1s, baseline: 5s, settle: 1s, lanes: [new]}
  upgrade: {strategy: command, command: [touch, FILE], commandTimeout: 2m, validationInterval: 100ms}
  checks: {systemComponents: [coredns, kube-proxy]}
`

// TestRehearsal upgrades a simulated cluster that is none of the driver's, by a
// command that sets the upgrade off and ends at once, as a commit to a GitOps
// repository does.
func TestRehearsal(t *testing.T) {
	world := sim.New(sim.Options{Seed: 1, Log: slog.New(slog.DiscardHandler)})
	there := cluster.Spec{RunID: "world", Name: "world", Version: "v1.34.4", ControlPlanes: 1, Workers: 2, Network: "flannel"}
	c, err := world.Create(t.Context(), there)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = world.Delete(context.Background(), there) }()
	way, err := world.Expose(t.Context(), c, cluster.Service{Namespace: "rehearse", Name: "canary", NodePort: 30080, HealthPath: "/readyz"})
	if err != nil {
		t.Fatal(err)
	}
	trigger := filepath.Join(t.TempDir(), "trigger")
	f, err := scenarios.Parse("f", []byte(strings.NewReplacer("IMAGE", sim.CanaryImage, "URL", way.URL, "FILE", trigger).Replace(scenario)))
	if err != nil {
		t.Fatal(err)
	}
	s := &f.Scenarios[0]
	d, err := existing.New(existing.Options{
		Kubeconfig: "none", Namespace: "rehearse", Image: s.Canary.Image, URL: s.Canary.URL,
		Connect: func(cluster.Spec) (*cluster.Cluster, error) { shared := *c; return &shared, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := harness.Plan(s, d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	rolled := make(chan error, 1)
	go func() { rolled <- roll(ctx, world, c, trigger) }()
	res, err := harness.Run(ctx, p, harness.Options{
		Out: t.TempDir(), Driver: d, Log: slog.New(slog.DiscardHandler), Progress: silent{}, Cleanup: &cleanup.Stack{},
		Report: func(string, *record.Record, judge.Verdict) error { return nil },
	})
	if err != nil || res.Err != nil {
		t.Fatalf("%v, %+v", err, res)
	}
	if err := <-rolled; err != nil {
		t.Fatal(err)
	}
	if v := res.Record.Run.Versions; v.Before != "v1.34.4" || v.After != "v1.35.4" || res.Record.Run.Outcome != record.OutcomePassed {
		t.Errorf("versions %+v, outcome %s", v, res.Record.Run.Outcome)
	}
	for _, cr := range res.Verdict.Criteria {
		if cr.ID == "versions" && cr.Result != judge.Pass {
			t.Errorf("versions: %s", cr.Explain)
		}
	}
	seen := map[string]int{}
	for _, e := range res.Record.Events {
		seen[e.Kind]++
	}
	if seen["node-version"] < 3 {
		t.Errorf("the watch saw %d nodes change their version, want 3", seen["node-version"])
	}
	if _, err := c.Client.CoreV1().Namespaces().Get(t.Context(), "rehearse", metav1.GetOptions{}); err == nil {
		t.Error("the namespace is still there")
	}
	if _, err := c.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("the cluster is not as it was: %v", err)
	}
}

// roll is the user's tool, which begins when the trigger is there.
func roll(ctx context.Context, world *sim.Driver, c *cluster.Cluster, trigger string) error {
	for {
		if _, err := os.Stat(trigger); err == nil {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, plane := range []bool{true, false} {
		for _, n := range nodes.Items {
			if _, is := n.Labels["node-role.kubernetes.io/control-plane"]; is != plane {
				continue
			}
			if plane {
				if err := world.UpgradeControlPlane(ctx, c, n.Name, "v1.35.4", true); err != nil {
					return err
				}
			}
			if err := world.UpgradeNode(ctx, c, n.Name, "v1.35.4"); err != nil {
				return err
			}
		}
	}
	return nil
}

type silent struct{}

func (silent) Start(harness.Entry, int)                      {}
func (silent) End(harness.Entry, time.Duration, error, bool) {}
