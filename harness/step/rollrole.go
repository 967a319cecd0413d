package step

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// RollRole lets a driver that rolls machines itself take all nodes of one role
// to a version.
type RollRole struct {
	ControlPlane bool
	Nodes        int // of the role; 0 for a managed control plane
	// Groups is set where the interval is kept between groups of nodes.
	Groups bool
	// Begins is set on the first step of the upgrade, or of its way back, with which
	// the phase begins.
	Begins bool
	// Back takes the role back to the version of before, for which the driver must be
	// a cluster.RollReverser.
	Back    bool
	To      cluster.Version
	Options cluster.RollOptions // Progress is the step's own
	Timeout time.Duration       // of the whole roll; see RollTimeout
}

// Describe implements Step.
func (s RollRole) Describe() string {
	what, interval := "worker", s.Options.NodeInterval
	if s.ControlPlane {
		what, interval = "control plane", s.Options.ControlPlaneInterval
	}
	if s.Back && s.ControlPlane {
		return fmt.Sprintf("Let the driver take the control plane back to %s", s.To)
	}
	if s.Back {
		return fmt.Sprintf("Turn the roll round: let the driver roll %s back to %s, %s apart", english.Count(s.Nodes, "worker"), s.To, interval)
	}
	if s.ControlPlane && s.Nodes == 0 {
		return fmt.Sprintf("Let the driver upgrade the control plane to %s", s.To)
	}
	if s.Groups {
		return fmt.Sprintf("Let the driver roll %s to %s, group by group, %s apart", english.Count(s.Nodes, "worker"), s.To, interval)
	}
	return fmt.Sprintf("Let the driver roll %s to %s, %s apart", english.Count(s.Nodes, what), s.To, interval)
}

// RollTimeout bounds a roll of n nodes: each may take its drain, the boot of its
// successor (perNode), the validations before and after, and the interval. A
// managed control plane counts as one node.
func RollTimeout(n int, perNode, interval time.Duration, o cluster.RollOptions) time.Duration {
	return time.Duration(max(n, 1)) * (o.DrainTimeout + o.PostDrainDelay + perNode + 2*o.ValidationTimeout + interval)
}

// versioned completes the begin and the end of a node's upgrade by the version,
// which a tool's output does not repeat for each node.
func (s RollRole) versioned(e *timeline.Event) {
	if e.Kind != timeline.KindUpgradeStart && e.Kind != timeline.KindUpgradeEnd || e.Detail["to"] != "" {
		return
	}
	detail := s.detail()
	maps.Copy(detail, e.Detail)
	e.Detail = detail
}

// Run implements Step.
func (s RollRole) Run(ctx context.Context, env *Env) error {
	phase := timeline.PhaseUpgrade
	if s.Back {
		phase = timeline.PhaseRollback
	}
	if s.Begins {
		if err := env.phase(phase); err != nil {
			return err
		}
	}
	role, roll, err := s.way(env)
	if err != nil {
		return err
	}
	o := s.Options
	o.Progress = func(e timeline.Event) {
		s.versioned(&e)
		e.T = int64(env.Timeline.Clock().Now())
		env.Timeline.Add(e)
		env.Log.Debug(e.Kind, "subject", e.Subject, "detail", e.Detail)
	}
	env.event(timeline.KindRollStart, role, s.detail())
	err = bounded(ctx, s.Timeout, func(ctx context.Context) error { return roll(ctx, env.Cluster, s.To, o) })
	detail := s.detail()
	if err != nil {
		detail["error"] = err.Error()
	}
	env.event(timeline.KindRollEnd, role, detail)
	env.KeepLeft(err)
	if err != nil {
		return fmt.Errorf("roll %s %s: %w", s.direction(), s.To, err)
	}
	return nil
}

// way is the driver's method for the role and the direction.
func (s RollRole) way(env *Env) (role string, roll func(context.Context, *cluster.Cluster, cluster.Version, cluster.RollOptions) error, err error) {
	r, err := capability[cluster.Roller](env)
	if err != nil {
		return "", nil, err
	}
	role, roll = "role/worker", r.RollWorkers
	if s.ControlPlane {
		role, roll = "role/control-plane", r.RollControlPlane
	}
	if !s.Back {
		return role, roll, nil
	}
	back, err := capability[cluster.RollReverser](env)
	if err != nil {
		return "", nil, err
	}
	if s.ControlPlane {
		return role, back.RollBackControlPlane, nil
	}
	return role, back.RollBackWorkers, nil
}

func (s RollRole) direction() string {
	if s.Back {
		return "back to"
	}
	return "to"
}

// detail is what the begin and the end of the role's roll tell.
func (s RollRole) detail() map[string]string {
	d := map[string]string{"to": s.To.String()}
	if s.Back {
		d["rollback"] = "true"
	}
	return d
}

// KeepLeft makes a finding of each thing that an error says is left behind, with
// the command that removes it.
func (e *Env) KeepLeft(err error) {
	switch x := err.(type) { //nolint:errorlint // each branch of joined errors is walked
	case nil:
		return
	case *cluster.RollError:
		for _, l := range x.Left {
			e.find(record.Finding{
				ID: "left-behind", Severity: record.SeverityWarn, Object: l.Kind + "/" + l.Name,
				Cause: "the run ended before it was done with it", Remedy: l.Delete,
			})
		}
		e.KeepLeft(x.Err)
	case interface{ Unwrap() []error }:
		for _, one := range x.Unwrap() {
			e.KeepLeft(one)
		}
	default:
		e.KeepLeft(errors.Unwrap(err))
	}
}
