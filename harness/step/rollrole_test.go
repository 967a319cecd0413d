package step

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

type roller struct {
	driver
	calls []string
	roll  func(context.Context, cluster.RollOptions) error
}

func (r *roller) RollControlPlane(ctx context.Context, _ *cluster.Cluster, to cluster.Version, o cluster.RollOptions) error {
	r.calls = append(r.calls, "control plane to "+to.String())
	return r.roll(ctx, o)
}

func (r *roller) RollWorkers(ctx context.Context, _ *cluster.Cluster, to cluster.Version, o cluster.RollOptions) error {
	r.calls = append(r.calls, "workers to "+to.String())
	return r.roll(ctx, o)
}

func TestRollRoleTellsWhatTheDriverTells(t *testing.T) {
	d := &roller{roll: func(_ context.Context, o cluster.RollOptions) error {
		o.Tell(timeline.KindDrainStart, "node/i-1", nil)
		return nil
	}}
	env, events := newEnv(d)
	for _, s := range []RollRole{{ControlPlane: true, Nodes: 3, To: "v1.35.4", Timeout: time.Minute}, {Nodes: 5, To: "v1.35.4", Timeout: time.Minute}} {
		if err := s.Run(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"control plane to v1.35.4", "workers to v1.35.4"}, d.calls); diff != "" {
		t.Error(diff)
	}
	var kinds []string
	for line := range strings.Lines(events.String()) {
		_, rest, _ := strings.Cut(line, `"source":"`)
		source, rest, _ := strings.Cut(rest, `","kind":"`)
		kind, rest, _ := strings.Cut(rest, `","subject":"`)
		subject, _, _ := strings.Cut(rest, `"`)
		kinds = append(kinds, source+" "+kind+" "+subject)
	}
	want := []string{
		"step roll-start role/control-plane", "driver drain-start node/i-1", "step roll-end role/control-plane",
		"step roll-start role/worker", "driver drain-start node/i-1", "step roll-end role/worker",
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRollRoleKeepsWhatIsLeft(t *testing.T) {
	d := &roller{roll: func(context.Context, cluster.RollOptions) error {
		return &cluster.RollError{Err: errors.New("drain timed out"), Left: []cluster.Leftover{
			{Kind: "detached instance", Name: "i-1", Delete: "aws ec2 terminate-instances --instance-ids i-1"}, {Kind: "cordoned node", Name: "i-1"},
		}}
	}}
	env, _ := newEnv(d)
	err := RollRole{Nodes: 1, To: "v1.35.4", Timeout: time.Minute}.Run(t.Context(), env)
	const want = "roll to v1.35.4: drain timed out; left behind: detached instance i-1 (aws ec2 terminate-instances --instance-ids i-1); cordoned node i-1"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	wantFindings := []record.Finding{
		{ID: "left-behind", Severity: record.SeverityWarn, Object: "detached instance/i-1", Cause: "the run ended before it was done with it", Remedy: "aws ec2 terminate-instances --instance-ids i-1"},
		{ID: "left-behind", Severity: record.SeverityWarn, Object: "cordoned node/i-1", Cause: "the run ended before it was done with it"},
	}
	if diff := cmp.Diff(wantFindings, env.Run.Findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// A command that removes several things together is told once, and each thing is
// found wherever it stands in a tree of errors.
func TestWhatIsLeftIsFoundInEveryError(t *testing.T) {
	const remove = "kops delete cluster --yes"
	inner := &cluster.RollError{Err: errors.New("denied"), Left: []cluster.Leftover{{Kind: "vpc", Name: "vpc-1", Delete: remove}, {Kind: "subnet", Name: "subnet-1", Delete: remove}, {Kind: "volume", Name: "vol-1", Delete: "x"}}}
	err := errors.Join(errors.New("other"), fmt.Errorf("cluster c: %w", errors.Join(nil, inner)))
	if want := "other\ncluster c: denied; left behind: vpc vpc-1, subnet subnet-1 (kops delete cluster --yes); volume vol-1 (x)"; err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	env, _ := newEnv(driver{})
	env.KeepLeft(err)
	env.KeepLeft(nil)
	var got []string
	for _, f := range env.Run.Findings {
		got = append(got, f.ID+" "+f.Object+": "+f.Remedy)
	}
	if diff := cmp.Diff([]string{"left-behind vpc/vpc-1: " + remove, "left-behind subnet/subnet-1: " + remove, "left-behind volume/vol-1: x"}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestRollRoleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &roller{roll: func(ctx context.Context, _ cluster.RollOptions) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		env, _ := newEnv(d)
		begun := time.Now()
		err := RollRole{Nodes: 2, To: "v1.35.4", Timeout: time.Hour}.Run(t.Context(), env)
		if err == nil || !strings.Contains(err.Error(), "not done after 1h0m0s") || time.Since(begun) != time.Hour {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

// reverser goes back, too.
type reverser struct{ *roller }

func (r reverser) RollBackControlPlane(ctx context.Context, _ *cluster.Cluster, from cluster.Version, o cluster.RollOptions) error {
	r.calls = append(r.calls, "control plane back to "+from.String())
	return r.roll(ctx, o)
}

func (r reverser) RollBackWorkers(ctx context.Context, _ *cluster.Cluster, from cluster.Version, o cluster.RollOptions) error {
	r.calls = append(r.calls, "workers back to "+from.String())
	return r.roll(ctx, o)
}

func TestRollRoleGoesBackWhereTheDriverCan(t *testing.T) {
	d := reverser{&roller{roll: func(context.Context, cluster.RollOptions) error { return nil }}}
	env, events := newEnv(d)
	for _, s := range []RollRole{{Back: true, Nodes: 3, To: "v1.34.4", Timeout: time.Minute}, {Back: true, ControlPlane: true, To: "v1.34.4", Timeout: time.Minute}} {
		if err := s.Run(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"workers back to v1.34.4", "control plane back to v1.34.4"}, d.calls); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(events.String(), `"rollback":"true"`); n != 4 {
		t.Errorf("%d events tell that it is the way back, want 4:\n%s", n, events)
	}
	d.roll = func(context.Context, cluster.RollOptions) error { return errors.New("refused") }
	if err := (RollRole{Back: true, ControlPlane: true, To: "v1.34.4", Timeout: time.Minute}).Run(t.Context(), env); err == nil || err.Error() != "roll back to v1.34.4: refused" {
		t.Error(err)
	}
	env, _ = newEnv(d.roller)
	if err := (RollRole{Back: true, To: "v1.34.4", Timeout: time.Minute}).Run(t.Context(), env); err == nil || !strings.Contains(err.Error(), "the plan should not have been made") {
		t.Error(err)
	}
}

func TestRollRoleWithoutTheCapability(t *testing.T) {
	env, _ := newEnv(driver{})
	if err := (RollRole{To: "v1.35.4", Timeout: time.Minute}).Run(t.Context(), env); err == nil || !strings.Contains(err.Error(), "the plan should not have been made") {
		t.Errorf("got %v", err)
	}
}

func TestRollRoleInWords(t *testing.T) {
	o := cluster.RollOptions{ControlPlaneInterval: 10 * time.Minute, NodeInterval: 15 * time.Second, DrainTimeout: 15 * time.Minute, PostDrainDelay: 5 * time.Second, ValidationTimeout: 15 * time.Minute}
	for want, s := range map[string]RollRole{
		"Let the driver roll 3 control planes to v1.35.4, 10m0s apart":                  {ControlPlane: true, Nodes: 3, To: "v1.35.4", Options: o},
		"Let the driver roll 5 workers to v1.35.4, 15s apart":                           {Nodes: 5, To: "v1.35.4", Options: o},
		"Let the driver roll 1 worker to v1.35.4, group by group, 15s apart":            {Nodes: 1, Groups: true, To: "v1.35.4", Options: o},
		"Let the driver take the control plane back to v1.34.4":                         {Back: true, ControlPlane: true, To: "v1.34.4", Options: o},
		"Turn the roll round: let the driver roll 3 workers back to v1.34.4, 15s apart": {Back: true, Nodes: 3, Groups: true, To: "v1.34.4", Options: o},
		"Let the driver upgrade the control plane to v1.35.4":                           {ControlPlane: true, To: "v1.35.4", Options: o},
	} {
		if got := s.Describe(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, want := RollTimeout(5, 10*time.Minute, o.NodeInterval, o), 5*(15*time.Minute+5*time.Second+10*time.Minute+30*time.Minute+15*time.Second); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
