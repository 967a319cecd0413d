package step

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// RollRole lets a driver that rolls machines itself take all nodes of one role
// to a version.
type RollRole struct {
	ControlPlane bool
	Nodes        int // of the role; 0 for a managed control plane
	// Begins is set on the first step of the upgrade, with which the phase begins.
	Begins  bool
	To      cluster.Version
	Options cluster.RollOptions // Progress is the step's own
	Timeout time.Duration       // of the whole roll; see RollTimeout
}

// Describe implements Step.
func (s RollRole) Describe() string {
	what, interval := "workers", s.Options.NodeInterval
	if s.ControlPlane {
		what, interval = "control planes", s.Options.ControlPlaneInterval
	}
	if s.ControlPlane && s.Nodes == 0 {
		return fmt.Sprintf("Let the driver upgrade the control plane to %s", s.To)
	}
	return fmt.Sprintf("Let the driver roll %d %s to %s, %s apart", s.Nodes, what, s.To, interval)
}

// RollTimeout bounds a roll of n nodes: each may take its drain, the boot of its
// successor (perNode), the validations before and after, and the interval. A
// managed control plane counts as one node.
func RollTimeout(n int, perNode, interval time.Duration, o cluster.RollOptions) time.Duration {
	return time.Duration(max(n, 1)) * (o.DrainTimeout + o.PostDrainDelay + perNode + 2*o.ValidationTimeout + interval)
}

// Run implements Step.
func (s RollRole) Run(ctx context.Context, env *Env) error {
	if s.Begins {
		if err := env.phase(timeline.PhaseUpgrade); err != nil {
			return err
		}
	}
	r, err := capability[cluster.Roller](env)
	if err != nil {
		return err
	}
	role, roll := "role/worker", r.RollWorkers
	if s.ControlPlane {
		role, roll = "role/control-plane", r.RollControlPlane
	}
	o := s.Options
	o.Progress = func(e timeline.Event) {
		e.T = int64(env.Timeline.Clock().Now())
		env.Timeline.Add(e)
		env.Log.Debug(e.Kind, "subject", e.Subject, "detail", e.Detail)
	}
	env.event(timeline.KindRollStart, role, map[string]string{"to": s.To.String()})
	err = bounded(ctx, s.Timeout, func(ctx context.Context) error { return roll(ctx, env.Cluster, s.To, o) })
	detail := map[string]string{"to": s.To.String()}
	if err != nil {
		detail["error"] = err.Error()
	}
	env.event(timeline.KindRollEnd, role, detail)
	var unfinished *cluster.RollError
	if errors.As(err, &unfinished) {
		for _, l := range unfinished.Left {
			env.find(record.Finding{
				ID: "left-behind", Severity: record.SeverityWarn, Object: l.Kind + "/" + l.Name,
				Cause: "the roll ended before it was done with it", Remedy: l.Delete,
			})
		}
	}
	if err != nil {
		return fmt.Errorf("roll to %s: %w", s.To, err)
	}
	return nil
}
