package step

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// Prepare fetches or builds what the driver needs beforehand.
type Prepare struct {
	From cluster.Version
	To   []cluster.Version // one after another
}

// Describe implements Step.
func (s Prepare) Describe() string {
	names := []string{s.From.String()}
	for _, v := range s.To {
		names = append(names, v.String())
	}
	last := len(names) - 1
	return fmt.Sprintf("Prepare the images for %s and %s", strings.Join(names[:last], ", "), names[last])
}

// Run implements Step.
func (s Prepare) Run(ctx context.Context, env *Env) error {
	p, ok := env.Driver.(cluster.Preparer)
	if !ok {
		return nil
	}
	for _, v := range s.To {
		if err := bounded(ctx, preparedWithin, func(ctx context.Context) error { return p.Prepare(ctx, env.Spec, v) }); err != nil {
			return err
		}
	}
	return nil
}

// What has no timeout in the scenario must not hang for ever either: preparing may
// build Kubernetes from source, and staging copies gigabytes onto each node.
const (
	preparedWithin = 6 * time.Hour // for one version
	stagedWithin   = 2 * time.Hour
)

// Create makes the cluster.
type Create struct {
	Driver                 string
	ControlPlanes, Workers int // no control planes where they are the cloud's own
	Network                string
	// Existing names a cluster that is there already and stays: what is made is the
	// canary in it.
	Existing string
	Version  cluster.Version
	Timeout  time.Duration
}

// Describe implements Step.
func (s Create) Describe() string {
	switch {
	case s.Existing != "":
		return fmt.Sprintf("Use the cluster %s: %s at %s (%s)", s.Existing, english.Count(s.Workers, "worker"), s.Version, s.Driver)
	case s.ControlPlanes == 0:
		return fmt.Sprintf("Create the cluster: a control plane and %s at %s (%s)", english.Count(s.Workers, "worker"), s.Version, s.Driver)
	}
	return fmt.Sprintf("Create the cluster: %s and %s at %s (%s, network %s)",
		english.Count(s.ControlPlanes, "control plane"), english.Count(s.Workers, "worker"), s.Version, s.Driver, s.Network)
}

// Restore implements Restorer: it finds the cluster again.
func (s Create) Restore(ctx context.Context, env *Env) error {
	registerCluster(env, s.made(env), s.Timeout)
	if env.Undoing {
		return nil
	}
	a, ok := env.Driver.(cluster.Attacher)
	if !ok {
		return fmt.Errorf("the cluster %s cannot be found again: the driver %s does not know how to; rehearse anew", env.Spec.Name, s.Driver)
	}
	return bounded(ctx, s.Timeout, func(ctx context.Context) error {
		c, err := a.Attach(ctx, env.Spec)
		if err != nil {
			return fmt.Errorf("find the cluster %s again: %w", env.Spec.Name, err)
		}
		env.Cluster = c
		return nil
	})
}

// made names what the step makes.
func (s Create) made(env *Env) string {
	if s.Existing != "" {
		return "the canary in cluster " + s.Existing
	}
	return "cluster " + env.Spec.Name
}

// Redo implements Redoer: a half-made cluster goes before another one is made.
func (s Create) Redo(ctx context.Context, env *Env) error {
	if err := env.Driver.Delete(ctx, env.Spec); err != nil {
		return fmt.Errorf("delete the half-made cluster %s: %w", env.Spec.Name, err)
	}
	return s.Run(ctx, env)
}

// registerCluster has what the driver made deleted at the end of the run.
// deleting may take as long as within.
func registerCluster(env *Env, what string, within time.Duration) {
	entry := cleanup.Entry{
		What: what, Timeout: within,
		Undo: func(ctx context.Context) error { return env.Driver.Delete(ctx, env.Spec) },
	}
	if d, ok := env.Driver.(cluster.Describer); ok {
		entry.How = d.DeleteCommand(env.Spec)
	}
	env.Cleanup.Add(entry)
}

// Run implements Step.
func (s Create) Run(ctx context.Context, env *Env) error {
	registerCluster(env, s.made(env), s.Timeout) // before Create: what is half-made goes too
	return s.create(ctx, env)
}

func (s Create) create(ctx context.Context, env *Env) error {
	return bounded(ctx, s.Timeout, func(ctx context.Context) error {
		c, err := env.Driver.Create(ctx, env.Spec)
		if err != nil {
			return err
		}
		env.Cluster = c
		env.Run.Simulated = c.Simulated
		v, err := c.Client.Discovery().ServerVersion()
		if err != nil {
			return fmt.Errorf("ask the new cluster for its version: %w", err)
		}
		env.Run.Versions.Before = v.GitVersion
		want := s.Version
		if c.ControlPlane != "" {
			want = c.ControlPlane
		}
		if v.GitVersion != want.String() {
			return fmt.Errorf("the new cluster runs %s, the scenario asks for %s: its node image is not what its tag says", v.GitVersion, want)
		}
		return nil
	})
}

// Stage puts the target version onto every node before the upgrade, so that
// loading it does not count as upgrade time.
type Stage struct{ To cluster.Version }

// Describe implements Step.
func (s Stage) Describe() string {
	return fmt.Sprintf("Load %s onto every node, ahead of the upgrade", s.To)
}

// Run implements Step.
func (s Stage) Run(ctx context.Context, env *Env) error {
	d, ok := env.Driver.(cluster.Stager)
	if !ok {
		return nil
	}
	return bounded(ctx, stagedWithin, func(ctx context.Context) error { return d.Stage(ctx, env.Cluster, s.To) })
}
