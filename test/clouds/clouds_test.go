// Package clouds runs whole rehearsals with the drivers of clusters in AWS: the
// drivers are the real ones, kops is a script that prints what the real kops
// printed, EKS is test/fakeaws, and beneath both the embedded cluster does what
// the tools say they do.
package clouds

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/drain"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/recompute"
)

// short is what both scenarios share: seconds of load, no intervals. One embedded
// API server stands for several, and goes away while it is replaced.
const short = `
  canary: {image: "registry.example/canary:1", replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 10s}
  load: {rate: 50, warmup: 1s, baseline: 5s, settle: 1s}
  checks: {systemComponents: [coredns, kube-proxy]}
  thresholds: {p50Increase: off, p99Increase: off, apiAvailability: off}
`

// fleet is the embedded cluster, whose machines the tools replace.
type fleet struct {
	t *testing.T
	*sim.Driver
	c *cluster.Cluster
}

func newFleet(t *testing.T) *fleet {
	return &fleet{t: t, Driver: sim.New(sim.Options{Seed: 7, Scale: 10, Log: slog.New(slog.DiscardHandler)})}
}

func (f *fleet) make(ctx context.Context, s cluster.Spec) error {
	s.Network = "default"
	c, err := f.Create(ctx, s)
	f.c = c
	return err
}

// nodes are the names of a role's nodes.
func (f *fleet) nodes(ctx context.Context, controlPlane bool) ([]string, error) {
	list, err := f.c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		if _, cp := list.Items[i].Labels[cloud.LabelControlPlane]; cp == controlPlane {
			names = append(names, list.Items[i].Name)
		}
	}
	return names, nil
}

// drain cordons and drains as kubectl and kops do.
func (f *fleet) drain(ctx context.Context, name string, out io.Writer) error {
	h := &drain.Helper{Ctx: ctx, Client: f.c.Client, Force: true, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true, GracePeriodSeconds: -1, Timeout: time.Minute, Out: out, ErrOut: io.Discard}
	node, err := f.c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := drain.RunCordonOrUncordon(h, node, true); err != nil {
		return err
	}
	return drain.RunNodeDrain(h, name)
}

// plane takes a drained control plane to the version.
func (f *fleet) plane(ctx context.Context, name string, to cluster.Version, first bool) error {
	node, err := f.c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	// A kubelet is never newer than its API server, on the way back neither.
	back := to.Less(cluster.Version(node.Status.NodeInfo.KubeletVersion))
	for _, kubelet := range []bool{back, !back} {
		if kubelet {
			err = f.UpgradeNode(ctx, f.c, name, to)
		} else {
			err = f.UpgradeControlPlane(ctx, f.c, name, to, first)
		}
		if err != nil {
			return err
		}
	}
	if err := drain.RunCordonOrUncordon(&drain.Helper{Ctx: ctx, Client: f.c.Client}, node, false); err != nil {
		return err
	}
	return f.ready(ctx, name, to)
}

// join adds a worker at the version and waits until it is Ready.
func (f *fleet) join(ctx context.Context, to cluster.Version) error {
	name, err := f.AddNode(ctx, f.c, to)
	if err != nil {
		return err
	}
	return f.ready(ctx, name, to)
}

// ready waits until a node is Ready at the version.
func (f *fleet) ready(ctx context.Context, name string, to cluster.Version) error {
	for {
		node, err := f.c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err == nil && node.Status.NodeInfo.KubeletVersion == to.String() {
			for _, c := range node.Status.Conditions {
				if c.Type == "Ready" && c.Status == "True" {
					return nil
				}
			}
		}
		if err := pause.For(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("node %s is not Ready at %s: %w", name, to, err)
		}
	}
}

type quiet struct{}

func (quiet) Start(harness.Entry, int)                      {}
func (quiet) End(harness.Entry, time.Duration, error, bool) {}

// rehearse runs a scenario to its end.
func rehearse(t *testing.T, file string, driver cluster.Driver) *harness.Result {
	t.Helper()
	res, err := harness.Run(t.Context(), planned(t, file, driver), options(t.TempDir(), driver))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func planned(t *testing.T, file string, driver cluster.Driver) *harness.RunPlan {
	t.Helper()
	f, err := scenarios.Parse("f", []byte("apiVersion: rehearse/v1alpha1\nscenarios:\n"+file+short))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := harness.Plan(&f.Scenarios[0], driver)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func options(out string, driver cluster.Driver) harness.Options {
	return harness.Options{Out: out, Tool: "test", Driver: driver, Log: slog.New(slog.DiscardHandler), Progress: quiet{}, Cleanup: &cleanup.Stack{}, Report: reports.Write}
}

// check asks what every good rehearsal shows.
func check(t *testing.T, res *harness.Result) {
	t.Helper()
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	for _, s := range res.Record.Run.Steps {
		if s.Outcome != record.OutcomePassed {
			t.Errorf("step %d, %s: %s %s", s.Number, s.Description, s.Outcome, s.Error)
		}
	}
	if res.Verdict.Outcome == judge.NoGo {
		t.Errorf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
	}
	for _, c := range res.Verdict.Criteria {
		t.Logf("%-28s %-12s %s", c.ID, c.Result, c.Explain)
		switch {
		case c.Result == judge.Fail, strings.HasPrefix(c.ID, "component/") && c.Result != judge.Pass:
			t.Errorf("%s: %s: %s", c.ID, c.Result, c.Explain)
		}
	}
	for _, lane := range res.Record.Lanes {
		var failed, sent uint64
		for i := range lane.Windows {
			failed, sent = failed+lane.Windows[i].Failed(), sent+lane.Windows[i].Sent()
		}
		if failed != 0 || sent == 0 {
			t.Errorf("lane %s lost %d of %d requests", lane.Lane.Name, failed, sent)
		}
	}
	recompute.Check(t, res.Dir)
}

// kinds counts the driver's own events.
func kinds(r *record.Record) map[string]int {
	n := map[string]int{}
	for _, e := range r.Events {
		if e.Source == "driver" {
			n[e.Kind]++
		}
	}
	return n
}

func explain(v judge.Verdict, id string) string {
	for _, c := range v.Criteria {
		if c.ID == id {
			return fmt.Sprintf("%s: %s", c.Result, c.Explain)
		}
	}
	return "no criterion " + id
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
