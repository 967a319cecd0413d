package onsim

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// TestTable holds every row to what a row must have.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	clean := 0
	for _, f := range New(Options{}).Faults() {
		if seen[f.Name] || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(f.Name) {
			t.Errorf("name %q is taken, or not in kebab case", f.Name)
		}
		seen[f.Name] = true
		if f.What == "" || len(f.Expect.Outcomes) == 0 || f.Takes < 15*time.Second || f.Takes > 3*time.Minute {
			t.Errorf("%s: what %q, outcomes %v, takes %s", f.Name, f.What, f.Expect.Outcomes, f.Takes)
		}
		x := f.Expect
		switch found := len(x.Failed) + len(x.Warned) + len(x.Rules); {
		case f.Clean:
			clean++
			if found > 0 {
				t.Errorf("%s is clean and expects something to be found", f.Name)
			}
		case found == 0 && f.Name != "core-burnt":
			t.Errorf("%s expects nothing to be found", f.Name)
		}
	}
	if clean == 0 {
		t.Error("no row is a clean run")
	}
}

// TestScenarios checks what the rows make of the common scenario as a scenario
// file is checked.
func TestScenarios(t *testing.T) {
	for _, f := range table() {
		sc, err := f.resolve()
		if err != nil {
			t.Fatal(err)
		}
		file := scenarios.File{APIVersion: scenarios.APIVersion, Scenarios: []scenarios.Scenario{*sc}}
		if errs := file.Validate(); len(errs) > 0 {
			t.Errorf("%s: %v", f.Name, errs.ToAggregate())
		}
		if _, err := harness.Plan(sc, &driver{Driver: sim.New(sim.Options{})}); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		on := s.during(settleBegins, time.Second, 2*time.Second).node(chosen)
		ask := func(want bool) {
			t.Helper()
			if got := on("x-worker2"); got != want {
				t.Errorf("after %s: on %t", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), got)
			}
			if on("x-worker") {
				t.Error("another node is hit as well")
			}
		}
		ask(false)
		s.Start(harness.Entry{Section: harness.SectionUpgrade, Step: step.UpgradeNode{}}, 1)
		time.Sleep(5 * time.Second)
		ask(false)
		s.Start(harness.Entry{Section: harness.SectionJudge, Step: step.Hold{Phase: "settle"}}, 1)
		began := time.Now()
		ask(false)
		time.Sleep(1500 * time.Millisecond)
		ask(true)
		time.Sleep(time.Second)
		ask(true)
		time.Sleep(time.Second)
		ask(false)
		time.Sleep(time.Second)
		ask(false)
		want := prove.Planted{From: began.Add(1500 * time.Millisecond), To: began.Add(3500 * time.Millisecond), Object: "node/x-worker2"}
		if got := s.planted(); !got.From.Equal(want.From) || !got.To.Equal(want.To) || got.Object != want.Object {
			t.Errorf("planted %+v, want %+v", got, want)
		}
	})
}

// TestFaultsThatNeedTheirOwnProcess are refused where there is no way to start one.
func TestFaultsThatNeedTheirOwnProcess(t *testing.T) {
	b := New(Options{})
	_, _, err := b.Rehearse(t.Context(), "generator-stopped", t.TempDir())
	if err == nil || err.Error() != "fault generator-stopped needs a process of its own, and there is no way to start one" {
		t.Errorf("error %v", err)
	}
	if err := b.Child(t.Context(), "clean", t.TempDir(), os.Stderr); err == nil || err.Error() != "fault clean needs no process of its own" {
		t.Errorf("error %v", err)
	}
	if _, _, err := b.Rehearse(t.Context(), "none", t.TempDir()); err == nil || err.Error() != `no fault is called "none"` {
		t.Errorf("error %v", err)
	}
}

// TestDeadlyProbeIsTheOnlyOne plants the death of a probe in one address alone.
func TestDeadlyProbeIsTheOnlyOne(t *testing.T) {
	s := &stage{}
	d := &driver{Driver: sim.New(sim.Options{Scale: 50}), stage: s, dies: "api"}
	spec := clusterSpec("t")
	c, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Delete(t.Context(), spec); err != nil {
			t.Error(err)
		}
	}()
	var wrapped []string
	for _, a := range c.APIServers {
		if a.Config.WrapTransport != nil {
			wrapped = append(wrapped, a.Name)
		}
	}
	if strings.Join(wrapped, " ") != "api" {
		t.Errorf("wrapped: %v", wrapped)
	}
	d.dies = "other"
	other := clusterSpec("u")
	defer func() {
		if err := d.Delete(t.Context(), other); err != nil {
			t.Error(err)
		}
	}()
	if _, err := d.Create(t.Context(), other); err == nil || err.Error() != "no API server is called other" {
		t.Errorf("error %v", err)
	}
}

func clusterSpec(id string) cluster.Spec {
	return cluster.Spec{RunID: id, Name: id, Version: "v1.34.4", ControlPlanes: 1, Workers: 1, Network: "flannel"}
}
