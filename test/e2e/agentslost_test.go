//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/load/agentjob"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// killed deletes one agent's pod in the midst of the load, as an eviction does.
func (b *agentsBed) killed(t *testing.T) {
	env, path := b.env(t, "killed", agentsTarget)
	in, agents, start := b.steps("killed")
	ctx := t.Context()
	for _, s := range []step.Step{step.CheckAgents{In: in}, agents, start, step.Hold{Phase: timeline.PhaseBaseline, For: 8 * time.Second}} {
		if err := s.Run(ctx, env); err != nil {
			t.Fatalf("%s: %v", s.Describe(), err)
		}
	}
	victim := env.Run.Agents[1].Name
	killed := make(chan error, 1)
	go func() {
		time.Sleep(4 * time.Second)
		killed <- b.cluster.Client.CoreV1().Pods(agentjob.Namespace("killed")).Delete(ctx, victim, metav1.DeleteOptions{})
	}()
	for _, s := range []step.Step{step.Hold{Phase: timeline.PhaseUpgrade, For: 12 * time.Second}, step.StopLoad{}} {
		if err := s.Run(ctx, env); err != nil {
			t.Fatalf("%s: %v", s.Describe(), err)
		}
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	env.Run.Outcome, env.Run.Ended = record.OutcomePassed, time.Now()
	if err := env.Dir.SaveRun(*env.Run); err != nil {
		t.Fatal(err)
	}
	if err := env.Dir.Seal(); err != nil {
		t.Fatal(err)
	}
	rec, err := record.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	sc := scenarios.Default()
	v := judge.Judge(rec, sc.Criteria())
	if v.Outcome != judge.Inconclusive {
		t.Errorf("%s: %s", v.Outcome, v.Summary)
	}
	found := false
	for _, r := range v.Validity {
		if strings.HasPrefix(r.Rule, "agent") || r.Rule == "load-agents" {
			t.Logf("%s %s: %s", r.Result, r.Rule, r.Explain)
		}
		if r.Rule == "load-agents" {
			found = r.Result == judge.Fail && strings.Contains(r.Explain, victim) && strings.Contains(r.Explain, "pod")
		}
	}
	if !found {
		t.Errorf("the lost agent %s is not named", victim)
	}
	for _, o := range v.Outages {
		t.Errorf("an outage was made of it: %+v", o)
	}
	for _, l := range rec.Lanes {
		var failed, unsent uint64
		for i := range l.Windows {
			failed += l.Windows[i].Failed()
			unsent += l.Windows[i].Counts[record.Unsent]
		}
		if failed > 0 {
			t.Errorf("lane %s: %d requests failed", l.Lane.Name, failed)
		}
		t.Logf("lane %s: %d unsent; seconds by agent: %d %d %d", l.Lane.Name, unsent, l.Parts[0].Seconds, l.Parts[1].Seconds, l.Parts[2].Seconds)
		if l.Parts[1].Seconds >= l.Parts[0].Seconds {
			t.Errorf("lane %s: the killed agent told %d seconds, another %d", l.Lane.Name, l.Parts[1].Seconds, l.Parts[0].Seconds)
		}
	}
	b.gone(t, "killed")
}

// gone checks that nothing of a run is left.
func (b *agentsBed) gone(t *testing.T, run string) {
	t.Helper()
	_, err := b.cluster.Client.CoreV1().Namespaces().Get(t.Context(), agentjob.Namespace(run), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("namespace %s: %v", agentjob.Namespace(run), err)
	}
}

func (b *agentsBed) unreachable(t *testing.T) {
	const nobody = "http://canary.nowhere.svc.cluster.local/"
	env, _ := b.env(t, "unreachable", nobody)
	_, agents, start := b.steps("unreachable")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := agents.Run(ctx, env); err != nil {
		t.Fatal(err)
	}
	err := start.Run(ctx, env)
	if err == nil {
		t.Fatal("load was started to an address that nobody has")
	}
	t.Log(err)
	for _, a := range env.Run.Agents {
		for _, want := range []string{"agent " + a.Name + " on node ", ": lane new: " + nobody + " has a name that does not resolve"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q", want)
			}
		}
	}
	if err := env.Cleanup.Run(t.Context(), 2*time.Minute); err != nil {
		t.Error(err)
	}
	b.gone(t, "unreachable")
}
