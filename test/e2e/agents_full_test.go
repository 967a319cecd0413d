//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/load/agentjob"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// TestFullAgents is a whole rehearsal, an upgrade in place, whose load two pods of
// another cluster send.
func TestFullAgents(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		if !b.docker {
			t.Skip("SKIPPED: the embedded cluster runs no pods, so no agents either; test/rehearsal carries the same rehearsal out with agents in its own process, whether Docker is there or not")
		}
		agentsUpgrade(t, b)
	})
}

// reachable is the driver of clusters in containers, whose canary pods of another
// cluster reach: it goes by the balancer's address in the run's network, to which
// the other cluster's node is connected for as long as that network is there.
type reachable struct {
	*kind.Driver
	docker docker.Client
	node   string // container of the agents' cluster
}

func (r *reachable) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	c, err := r.Driver.Create(ctx, s)
	if err != nil {
		return nil, err
	}
	return c, r.docker.Run(ctx, "network", "connect", s.Name, r.node)
}

func (r *reachable) Expose(ctx context.Context, c *cluster.Cluster, s cluster.Service) (cluster.Endpoint, error) {
	if _, err := r.Driver.Expose(ctx, c, s); err != nil {
		return cluster.Endpoint{}, err
	}
	name := c.Spec.Name + "-balancer"
	got, found, err := r.docker.Container(ctx, name)
	if err != nil {
		return cluster.Endpoint{}, err
	}
	if !found || got.Addresses[c.Spec.Name] == "" {
		return cluster.Endpoint{}, fmt.Errorf("balancer %s has no address in network %s: %+v", name, c.Spec.Name, got)
	}
	return cluster.Endpoint{URL: "http://" + got.Addresses[c.Spec.Name] + ":8080"}, nil
}

func (r *reachable) Delete(ctx context.Context, s cluster.Spec) error {
	err := r.docker.Run(ctx, "network", "disconnect", "--force", s.Name, r.node)
	if err != nil && (docker.IsNotFound(err) || strings.Contains(err.Error(), "is not connected")) {
		err = nil // it was not made, or is gone
	}
	return errors.Join(err, r.Driver.Delete(ctx, s))
}

// told shows the progress in the test's output.
type told struct{ t *testing.T }

func (p told) Start(e harness.Entry, of int) {
	p.t.Logf("[%d/%d] %s", e.Number, of, e.Description)
}

func (p told) End(e harness.Entry, took time.Duration, err error, skipped bool) {
	p.t.Logf("[%d] %s after %s: %v (skipped: %v)", e.Number, e.Description, took.Round(time.Second), err, skipped)
}

// agentsCluster makes the cluster of one node that the agents run in, and returns
// it with the canary's image, which is in it, and its kubeconfig.
func agentsCluster(t *testing.T, d *kind.Driver, s cluster.Spec) (c *cluster.Cluster, image, kubeconfig string) {
	t.Helper()
	s.Workers = 0
	ctx := cluster.WithLog(t.Context(), nil, t.Output())
	c, err := d.Create(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	c.Spec = s
	if image, err = d.CanaryImage(ctx, c); err != nil {
		t.Fatal(err)
	}
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, c.Kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return c, image, kubeconfig
}

func agentsUpgrade(t *testing.T, b bed) {
	const agents = 2
	d, spec := driver(t, "agu001")
	there, image, kubeconfig := agentsCluster(t, d, spec)

	f, err := scenarios.LoadFile("testdata/scenarios.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Pick(b.scenario)
	if err != nil {
		t.Fatal(err)
	}
	// A file may not say this of the driver kind: only this test's reaches the canary.
	s.Load.Agents, s.Load.AgentsKubeconfig, s.Load.AgentImage = agents, kubeconfig, image
	target := &reachable{Driver: d, node: spec.Name + "-control-plane"}
	plan, err := harness.Plan(s, target)
	if err != nil {
		t.Fatal(err)
	}
	undo := &cleanup.Stack{}
	t.Cleanup(func() {
		if err := undo.Run(context.Background(), 5*time.Minute); err != nil {
			t.Error(err)
		}
	})
	res, err := harness.Run(cluster.WithLog(t.Context(), nil, t.Output()), plan, harness.Options{
		Out: filepath.Join(evidence, strings.ReplaceAll(t.Name(), "/", "-")), Tool: "e2e", Driver: target,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Progress: told{t}, Cleanup: undo, Report: reports.Write,
	})
	if err != nil || res.Err != nil {
		t.Fatalf("%v, %v", err, res)
	}
	var text bytes.Buffer
	if err := reports.Text(&text, reports.NewView(res.Record, res.Verdict), reports.TextOptions{Width: 160}); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	checkAgentsRecord(t, res, agents)
	_, err = there.Client.CoreV1().Namespaces().Get(t.Context(), agentjob.Namespace(res.Record.Run.ID), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the agents' namespace: %v", err)
	}
}

// checkAgentsRecord holds the record of an upgrade under the load of agents against
// what one of a single engine would be.
func checkAgentsRecord(t *testing.T, res *harness.Result, agents int) {
	t.Helper()
	rec := res.Record
	if res.Verdict.Outcome != judge.Go {
		t.Errorf("%s: %s", res.Verdict.Outcome, res.Verdict.Summary)
	}
	if rec.Run.Versions.Before != from || rec.Run.Versions.After != to {
		t.Errorf("versions %+v", rec.Run.Versions)
	}
	checkServed(t, rec)
	if len(rec.Run.Agents) != agents || len(events(rec, timeline.KindAgentEnd, "agent/")) != agents || len(events(rec, timeline.KindAgentLost, "agent/")) != 0 {
		t.Errorf("%d agents, %d told everything, %d lost; want %d, all of which told everything", len(rec.Run.Agents),
			len(events(rec, timeline.KindAgentEnd, "agent/")), len(events(rec, timeline.KindAgentLost, "agent/")), agents)
	}
	for _, l := range rec.Lanes {
		var whole, parts record.Window
		for i := range l.Windows {
			for c, n := range l.Windows[i].Counts {
				whole.Counts[c] += n
			}
		}
		if len(l.Parts) != agents {
			t.Errorf("lane %s has %d parts", l.Lane.Name, len(l.Parts))
		}
		for k := range l.Parts {
			for c, n := range l.Parts[k].Sum.Counts {
				parts.Counts[c] += n
			}
			// Slots are dealt in turn.
			if share := float64(l.Parts[k].Sum.Due()) * float64(agents) / float64(whole.Due()); share < 0.98 || share > 1.02 {
				t.Errorf("lane %s: agent %d sent %.3f of its share", l.Lane.Name, k, share)
			}
		}
		if whole.Counts != parts.Counts {
			t.Errorf("lane %s: %v in all, %v by agents", l.Lane.Name, whole.Counts, parts.Counts)
		}
	}
	for _, v := range res.Verdict.Validity {
		if v.Rule == "load-agents" || v.Rule == "agent-clocks" {
			t.Logf("%s %s: %s", v.Result, v.Rule, v.Explain)
			if v.Result != judge.Pass {
				t.Errorf("rule %s: %s", v.Rule, v.Result)
			}
		}
	}
}
