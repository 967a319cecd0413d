package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// UpgradeNode moves one node to the target version in place, in kubeadm's
// order: on a control plane first its components, then for every node drain,
// kubelet, Ready at the new version, uncordon.
type UpgradeNode struct {
	ControlPlane bool
	Index, Of    int // 0-based, and how many nodes of this role there were when the hop began
	// Begins is set on the first node of the upgrade, with which the phase begins.
	Begins  bool
	To      cluster.Version
	Drain   DrainOptions
	Timeout time.Duration // of each part but the drain
}

// Describe implements Step.
func (s UpgradeNode) Describe() string {
	if s.ControlPlane {
		return fmt.Sprintf("Upgrade control plane %d of %d to %s: components, %s, kubelet, uncordon", s.Index+1, s.Of, s.To, s.Drain)
	}
	return fmt.Sprintf("Upgrade worker %d of %d to %s: %s, kubelet, uncordon", s.Index+1, s.Of, s.To, s.Drain)
}

// Run implements Step.
func (s UpgradeNode) Run(ctx context.Context, env *Env) error {
	if s.Begins {
		if err := env.phase(timeline.PhaseUpgrade); err != nil {
			return err
		}
	}
	roll, err := env.roll(ctx, s.To)
	if err != nil {
		return err
	}
	if s.ControlPlane {
		node, err := nth(ctx, env, true, s.Index)
		if err != nil {
			return err
		}
		return s.roll(ctx, env, node.Name)
	}
	names, err := roll.old(s.Index, 1)
	if err != nil {
		return err
	}
	if names, err = unfinished(ctx, env, names, s.To); err != nil || len(names) == 0 {
		return err
	}
	return s.roll(ctx, env, names[0])
}

// roll upgrades the node of that name, between the events that say so.
func (s UpgradeNode) roll(ctx context.Context, env *Env, name string) error {
	subject := "node/" + name
	env.event(timeline.KindUpgradeStart, subject, map[string]string{"to": s.To.String(), "strategy": strategyInPlace})
	err := s.upgrade(ctx, env, name)
	detail := map[string]string{"to": s.To.String(), "strategy": strategyInPlace}
	if err != nil {
		detail["error"] = err.Error()
	}
	env.event(timeline.KindUpgradeEnd, subject, detail)
	return err
}

func (s UpgradeNode) upgrade(ctx context.Context, env *Env, name string) error {
	if s.ControlPlane {
		up, err := capability[cluster.ControlPlaneUpgrader](env)
		if err != nil {
			return err
		}
		err = bounded(ctx, s.Timeout, func(ctx context.Context) error {
			return up.UpgradeControlPlane(ctx, env.Cluster, name, s.To, s.Index == 0)
		})
		if err != nil {
			return fmt.Errorf("control-plane components of node %s: %w", name, err)
		}
	}
	// The node is read again: its object has changed since the plan looked.
	node, err := mustNode(ctx, env, name)
	if err != nil {
		return err
	}
	if err := drainNode(ctx, env, node, s.Drain); err != nil {
		return err
	}
	up, err := capability[cluster.NodeUpgrader](env)
	if err != nil {
		return err
	}
	err = bounded(ctx, s.Timeout, func(ctx context.Context) error {
		return up.UpgradeNode(ctx, env.Cluster, name, s.To)
	})
	if err != nil {
		return fmt.Errorf("kubelet of node %s: %w", name, err)
	}
	if err := waitNode(ctx, env, name, s.To.String(), s.Timeout); err != nil {
		return err
	}
	if node, err = mustNode(ctx, env, name); err != nil {
		return err
	}
	return uncordonNode(ctx, env, node)
}

// bounded runs f with a timeout and names the timeout when it was the reason.
func bounded(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	inner, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s", timeout))
	defer cancel()
	err := f(inner)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", context.Cause(inner), err)
	}
	return err
}
