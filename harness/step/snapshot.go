package step

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// Snapshot writes down the state of nodes and system components. What is
// unhealthy there is for the judge; what cannot be looked at fails the step.
type Snapshot struct {
	Name       string // record.SnapshotBefore or record.SnapshotAfter
	What       string
	Components []string
}

// Describe implements Step.
func (s Snapshot) Describe() string { return s.What }

// Restore implements Restorer: the order of the upgrade is watched again.
func (s Snapshot) Restore(_ context.Context, env *Env) error {
	if s.Name != record.SnapshotBefore {
		return nil
	}
	file := filepath.Join(env.Dir.Path(), "cluster", s.Name+".json")
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the snapshot from before the upgrade: %w", err)
	}
	var before record.Snapshot
	if err := json.Unmarshal(b, &before); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	watchOrder(env, &before, true)
	return nil
}

// Run implements Step.
func (s Snapshot) Run(ctx context.Context, env *Env) error {
	o := system.Options{
		Clock: env.Timeline.Clock(), Components: s.Components,
		CanaryNamespace: deploy.DefaultNamespace, CanarySelector: deploy.Selector(deploy.DefaultName),
		Lookup: system.LookupByPod(env.client(), deploy.DefaultNamespace, env.CanaryImage),
	}
	if p, ok := env.Driver.(cluster.EtcdProber); ok {
		o.Etcd = func(ctx context.Context) ([]record.Named, error) { return p.EtcdMembers(ctx, env.Cluster) }
	}
	snap, err := system.Snapshot(ctx, env.client(), env.Cluster.Dynamic, o)
	if s.Name == record.SnapshotAfter {
		env.Run.Versions.After = snap.ServerVersion
	}
	// What could be seen is kept even when something could not.
	if e := env.Dir.SaveSnapshot(s.Name, &snap); e != nil {
		return e
	}
	if s.Name == record.SnapshotBefore {
		watchOrder(env, &snap, false)
	}
	for _, c := range snap.Components {
		if c.Problem != "" {
			env.Log.Warn("system component", "component", c.Name, "problem", c.Problem)
		}
	}
	if err != nil {
		return fmt.Errorf("take stock of the cluster: %w", err)
	}
	return nil
}
