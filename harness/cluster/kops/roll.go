package kops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops/output"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// RollControlPlane implements cluster.Roller.
func (d *Driver) RollControlPlane(ctx context.Context, c *cluster.Cluster, to cluster.Version, o cluster.RollOptions) error {
	v, name, err := d.mayRoll(ctx, c)
	if err != nil {
		return err
	}
	if err := d.stages(ctx, c, o, d.controlPlaneStages(v, name, to, o)); err != nil {
		return err
	}
	return runs(ctx, c, true, to)
}

// RollWorkers implements cluster.Roller. Control planes are asked once more: an
// update without roles must not have put them back.
func (d *Driver) RollWorkers(ctx context.Context, c *cluster.Cluster, to cluster.Version, o cluster.RollOptions) error {
	v, name, err := d.mayRoll(ctx, c)
	if err != nil {
		return err
	}
	if err := d.stages(ctx, c, o, d.workerStages(v, name, o)); err != nil {
		return err
	}
	return errors.Join(runs(ctx, c, true, to), runs(ctx, c, false, to))
}

func runs(ctx context.Context, c *cluster.Cluster, controlPlane bool, to cluster.Version) error {
	return cloud.AssertKubelets(ctx, c.Client, controlPlane, to, func(v string) bool { return v == to.String() })
}

// mayRoll makes sure that the cluster is this run's own.
func (d *Driver) mayRoll(ctx context.Context, c *cluster.Cluster) (kopsVersion, string, error) {
	name := d.name(c.Spec)
	if _, err := d.own(ctx, name, c.Spec.RunID); err != nil {
		return kopsVersion{}, "", err
	}
	v, err := d.version(ctx)
	return v, name, err
}

// stages runs one call after another and ends at the first that fails. Only the
// exit code tells: kops says that it has completed after a failure too.
func (d *Driver) stages(ctx context.Context, c *cluster.Cluster, o cluster.RollOptions, all []stage) error {
	for _, s := range all {
		cluster.Logger(ctx).Info("kops: " + s.what)
		if !s.roll {
			if err := d.run(ctx, d.o.Timeouts.Update, call{args: s.args}); err != nil {
				return &cluster.RollError{Err: fmt.Errorf("%s: %w", s.what, err)}
			}
			continue
		}
		if err := d.roll(ctx, c, o, s); err != nil {
			return err
		}
	}
	return nil
}

// roll runs one rolling update under the tracker.
func (d *Driver) roll(ctx context.Context, c *cluster.Cluster, o cluster.RollOptions, s stage) error {
	var tracker output.Tracker
	unknown := 0
	in := &lines{line: func(line string) {
		m := tracker.Line(line)
		if m.Phase == "" && m.Ignored == "" {
			unknown++
			cluster.Logger(ctx).Debug("kops: a line of a form that is not known", "line", line)
		}
		for _, e := range m.Events {
			if o.Progress != nil {
				o.Progress(e)
			}
		}
	}}
	stdout, stderr := &stream{to: in}, &stream{to: in}
	err := d.run(ctx, d.o.Timeouts.Roll, call{args: s.args, stdout: stdout, stderr: stderr})
	stdout.close()
	stderr.close()
	if unknown > 0 {
		o.Tell(timeline.KindFailure, "driver/kops", map[string]string{"error": fmt.Sprintf("%d lines of kops' output are of no known form and are in the step's log only", unknown)})
	}
	if err == nil {
		return nil
	}
	told := tracker.Failures()
	why := fmt.Errorf("%s: %w", s.what, err)
	if len(told) > 0 {
		why = fmt.Errorf("%s: %s: %w", s.what, told[len(told)-1], err)
	}
	return &cluster.RollError{Err: why, Left: leftovers(d.left(ctx, c, tracker.Left()), time.Now())}
}
