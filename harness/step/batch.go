package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// UpgradeBatch moves several workers to the target version in place, together:
// all are cordoned, and then each is drained and upgraded on its own.
type UpgradeBatch struct {
	First, Count, Of int // 0-based, how many, and of how many workers
	To               cluster.Version
	Drain            DrainOptions
	Timeout          time.Duration // of each part but the drain
}

// Describe implements Step.
func (s UpgradeBatch) Describe() string {
	return fmt.Sprintf("Upgrade %s to %s together: %s, kubelet, uncordon", numbered(s.First, s.Count, s.Of), s.To, s.Drain)
}

// Run implements Step. A worker that fails does not stop the others half-way.
func (s UpgradeBatch) Run(ctx context.Context, env *Env) error {
	roll, err := env.roll(ctx, s.To)
	if err != nil {
		return err
	}
	names, err := roll.old(s.First, s.Count)
	if err != nil {
		return err
	}
	names, err = unfinished(ctx, env, names, s.To)
	if err != nil {
		return err
	}
	if _, err := cordonAll(ctx, env, names); err != nil {
		return err
	}
	return together(len(names), func(i int) error {
		return UpgradeNode{To: s.To, Drain: s.Drain, Timeout: s.Timeout}.roll(ctx, env, names[i])
	})
}

// unfinished returns the workers that are not yet at the version, Ready and free
// to take pods.
func unfinished(ctx context.Context, env *Env, names []string, to cluster.Version) ([]string, error) {
	var out []string
	for _, name := range names {
		node, err := nodeNamed(ctx, env, name)
		if err != nil {
			return nil, err
		}
		if node == nil {
			return nil, fmt.Errorf("worker %s was there when the upgrade to %s began and is gone: who removed it?", name, to)
		}
		if node.Status.NodeInfo.KubeletVersion == to.String() && ready(node) && !node.Spec.Unschedulable {
			env.Log.Info("worker is upgraded already", "node", name, "version", to)
			continue
		}
		out = append(out, name)
	}
	return out, nil
}
