package clouds

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/eks"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// eksDriver is the real driver on the fake AWS; see kopsDriver.
type eksDriver struct {
	*eks.Driver
	fleet *fleet
}

// Expose implements cluster.Exposer.
func (d eksDriver) Expose(ctx context.Context, _ *cluster.Cluster, s cluster.Service) (cluster.Endpoint, error) {
	return d.fleet.Expose(ctx, d.fleet.c, s)
}

// CanaryImage implements cluster.CanaryImager.
func (d eksDriver) CanaryImage(ctx context.Context, c *cluster.Cluster) (string, error) {
	if _, err := d.Driver.CanaryImage(ctx, c); err != nil {
		return "", err
	}
	return d.fleet.CanaryImage(ctx, c)
}

// newEKS is a cluster that is there, with a group of three machines, in an account
// with room.
func newEKS(t *testing.T) (*fakeaws.AWS, eksDriver) {
	f := newFleet(t)
	if err := f.make(t.Context(), cluster.Spec{RunID: "theirs", Name: "payments", Version: "v1.34.4", ControlPlanes: 1, Workers: 3}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Delete(context.WithoutCancel(t.Context()), f.c.Spec) })
	a := fakeaws.New()
	a.EC2.Subnets = []fakeaws.Subnet{{ID: "subnet-a", VPC: "vpc-1", Zone: "eu-west-1a", State: "available", Free: 100}, {ID: "subnet-b", VPC: "vpc-1", Zone: "eu-west-1b", State: "available", Free: 100}}
	a.EKS.UpdateTakes = 200 * time.Millisecond
	a.EKS.Clusters["payments"] = &fakeaws.Cluster{
		Name: "payments", Version: "1.34", Subnets: []string{"subnet-a", "subnet-b"}, VPC: "vpc-1",
		Groups:   map[string]*fakeaws.Group{"apps": {Name: "apps", Version: "1.34", Desired: 3}},
		Addons:   map[string]string{"coredns": "v1.11.4-eksbuild.1"},
		Insights: []fakeaws.Insight{{ID: "i1", Name: "Kubelet version skew", Status: "PASSING", Version: "1.35", Refreshed: time.Now()}},
	}
	a.EKS.AddonDefaults = map[string]string{"coredns/1.35": "v1.12.4-eksbuild.1"}
	// EKS chooses the patch, and not the one that the scenario names.
	patch := map[string]cluster.Version{"1.34": "v1.34.4", "1.35": "v1.35.5"}
	a.EKS.Done = func(what, version string) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if err := f.update(ctx, what, patch[version]); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	return a, eksOf(a, f)
}

// eksOf is the driver of one process.
func eksOf(a *fakeaws.AWS, f *fleet) eksDriver {
	d := eks.New(eks.Options{
		Clients: aws.FromConfig(a.Config()), Existing: "payments", CanaryImage: "registry.example/canary:1", Every: 50 * time.Millisecond,
		Connect: func(cluster.Spec, *rest.Config) (*cluster.Cluster, error) { c := *f.c; return &c, nil },
	})
	return eksDriver{d, f}
}

// update does what EKS does behind an update: one machine joins before one goes.
func (f *fleet) update(ctx context.Context, what string, to cluster.Version) error {
	planes, err := f.nodes(ctx, true)
	if err != nil {
		return err
	}
	if what == "cluster" {
		return f.plane(ctx, planes[0], to, true)
	}
	if !strings.HasPrefix(what, "nodegroup/") {
		return nil
	}
	workers, err := f.nodes(ctx, false)
	for i := 0; i < len(workers) && err == nil; i++ {
		if err = f.join(ctx, to); err == nil {
			err = f.drain(ctx, workers[i], io.Discard)
		}
		if err == nil {
			err = f.RemoveNode(ctx, f.c, workers[i])
		}
	}
	return err
}

const eksScenario = `
- name: eks
  cluster: {driver: eks, workers: 3, eks: {existing: payments}}
  versions: {from: v1.34.4, to: v1.35.4}
  upgrade: {interval: 0s, validationInterval: 200ms}`

func TestRehearsalOnEKS(t *testing.T) {
	t.Parallel()
	a, d := newEKS(t)
	res := rehearse(t, eksScenario, d)
	check(t, res)
	same(t, "events of the driver", map[string]int{timeline.KindUpgradeStart: 3, timeline.KindUpgradeEnd: 3}, kinds(res.Record))
	if got, want := explain(res.Verdict, "versions"), "pass: The API server and 4 of 4 nodes run 1.35 and are Ready; 3 of them took the place of 3 that are gone. EKS chooses the patch, so minors are compared; the API server runs v1.35.5."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, c := range a.Calls() {
		if strings.HasPrefix(c, "eks:Delete") || strings.HasPrefix(c, "eks:Create") {
			t.Errorf("called %s", c)
		}
	}
	if ns, err := d.fleet.c.Client.CoreV1().Namespaces().Get(t.Context(), "rehearse", metav1.GetOptions{}); err == nil {
		t.Errorf("the canary's namespace is still there: %+v", ns)
	}
}

// TestWhatBlocksOnEKSStopsTheRunBeforeAnythingIsMade.
func TestWhatBlocksOnEKSStopsTheRunBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	a, d := newEKS(t)
	a.With(func() { a.EKS.Clusters["payments"].Groups["apps"].Desired, a.EC2.Subnets[0].Free = 5, 4 })
	res := rehearse(t, eksScenario, d)
	const want = "step 1, Check this machine and the cloud's account, and look for leftovers of earlier runs: " +
		"cluster/payments: its managed groups want 5 machines, the scenario says 3 workers: the roll would not be given the time that it needs; set cluster.workers to 5\n" +
		"subnets: 1 of 2 subnets have 5 free addresses or more, 2 are needed; free addresses, or add subnets"
	if res.Err == nil || res.Err.Error() != want {
		t.Errorf("got  %v\nwant %s", res.Err, want)
	}
	if n := len(res.Record.Run.Findings); n != 3 {
		t.Errorf("%d findings in the record: %+v", n, res.Record.Run.Findings)
	}
	for _, c := range a.Calls() {
		if strings.HasPrefix(c, "eks:Update") {
			t.Errorf("called %s", c)
		}
	}
}
