package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// BeginRollback turns the roll round: the phase rollback begins, and whatever
// worker may take pods at the version of before takes them again.
//
// A control plane is never taken back: Kubernetes does not support to lower its
// version, while kubelets may be up to three minor versions older than their API
// server (https://kubernetes.io/releases/version-skew-policy/).
type BeginRollback struct {
	From, To cluster.Version // of the hop that is undone
}

// Describe implements Step.
func (s BeginRollback) Describe() string {
	return fmt.Sprintf("Turn the roll round: let workers at %s take pods again; the control plane stays at %s, which Kubernetes cannot lower", s.From, s.To)
}

// Run implements Step.
func (s BeginRollback) Run(ctx context.Context, env *Env) error {
	if err := env.phase(timeline.PhaseRollback); err != nil {
		return err
	}
	env.find(record.Finding{
		ID: "control-plane-stays", Severity: record.SeverityInfo, Object: "control plane",
		Cause:  fmt.Sprintf("it stays at %s: Kubernetes does not support to lower a control plane's version; its workers go back to %s, which the version skew policy allows", s.To, s.From),
		Remedy: "upgrade the workers again once what went wrong is repaired, or restore the cluster from a backup of etcd; see https://kubernetes.io/releases/version-skew-policy/",
	})
	roll, err := env.rollBack(ctx, s.From)
	if err != nil {
		return err
	}
	for _, name := range roll.Old {
		node, err := mustNode(ctx, env, name)
		if err != nil {
			return err
		}
		if !node.Spec.Unschedulable || node.Status.NodeInfo.KubeletVersion != s.From.String() || !ready(node) {
			continue
		}
		if err := uncordonNode(ctx, env, node); err != nil {
			return err
		}
	}
	return nil
}

// rollBack returns the Roll that leads back to a version: as roll, but the
// workers that have left the version come first.
func (e *Env) rollBack(ctx context.Context, from cluster.Version) (*Roll, error) {
	if e.Roll != nil && e.Roll.To == from {
		return e.Roll, nil
	}
	workers, err := nodesOf(ctx, e, false)
	if err != nil {
		return nil, err
	}
	r := &Roll{To: from}
	var there []string
	for _, w := range workers {
		if w.Status.NodeInfo.KubeletVersion == from.String() {
			there = append(there, w.Name)
			continue
		}
		r.Old = append(r.Old, w.Name)
	}
	r.Old = append(r.Old, there...)
	e.Roll = r
	e.rolled()
	return r, nil
}

// RollBackWorker takes one worker that was upgraded back to the version of
// before, the way it came: in place, by another new worker, or by its removal.
type RollBackWorker struct {
	Strategy  string // one of the scenario's
	Index, Of int    // 0-based among the workers to take back, and how many there are at most
	Workers   int    // of the cluster before the roll, which there are again after it
	Surge     bool   // with replace: the other worker joins first
	From      cluster.Version
	Drain     DrainOptions
	Timeout   time.Duration // of each part but the drain
}

// Describe implements Step.
func (s RollBackWorker) Describe() string {
	how := s.Drain.String() + ", kubelet, uncordon"
	switch {
	case s.Strategy == strategyPoolMigration:
		return fmt.Sprintf("Take worker %d of %d of the new pool out again: %s, remove", s.Index+1, s.Of, s.Drain)
	case s.Strategy == strategyReplace && s.Surge:
		how = "join one, Ready, " + s.Drain.String() + ", remove"
	case s.Strategy == strategyReplace:
		how = s.Drain.String() + ", remove, join one, Ready"
	}
	return fmt.Sprintf("Roll worker %d of %d back to %s: %s", s.Index+1, s.Of, s.From, how)
}

// Run implements Step. A worker that is at the version of before is left alone.
func (s RollBackWorker) Run(ctx context.Context, env *Env) error {
	roll, err := env.rollBack(ctx, s.From)
	if err != nil {
		return err
	}
	if s.Index >= len(roll.Old) {
		return s.fill(ctx, env, roll)
	}
	name := roll.Old[s.Index]
	node, err := nodeNamed(ctx, env, name)
	if err != nil {
		return err
	}
	if node != nil && node.Status.NodeInfo.KubeletVersion == s.From.String() && ready(node) && !node.Spec.Unschedulable {
		env.Log.Info("worker is at the version of before", "node", name, "version", s.From)
		return nil
	}
	detail := func(err error) map[string]string {
		d := rolling(roll, s.Strategy, name, err)
		d["rollback"] = "true"
		return d
	}
	env.event(timeline.KindUpgradeStart, "node/"+name, detail(nil))
	err = s.back(ctx, env, roll, name)
	env.event(timeline.KindUpgradeEnd, "node/"+name, detail(err))
	return err
}

func (s RollBackWorker) back(ctx context.Context, env *Env, roll *Roll, name string) error {
	if s.Strategy != strategyReplace && s.Strategy != strategyPoolMigration {
		return s.inPlace(ctx, env, name)
	}
	if s.Strategy == strategyPoolMigration {
		if _, err := cordonAll(ctx, env, roll.Old[:min(s.Of, len(roll.Old))]); err != nil {
			return err // of the whole new pool, so that what is drained goes to the old one
		}
	}
	more, err := s.moreThanBefore(ctx, env)
	if err != nil {
		return err
	}
	node, err := nodeNamed(ctx, env, name)
	if err != nil {
		return err
	}
	if roll.New[name] == "" && (more > 0 || more == 0 && node == nil) {
		// It joined in the place of one that is still there: a pool's, or that of a
		// replacement that got no further.
		if err := drainAll(ctx, env, []string{name}, s.Drain); err != nil {
			return err
		}
		return removeAll(ctx, env, []string{name}, s.Timeout)
	}
	r := ReplaceWorkers{First: s.Index, Count: 1, Of: s.Of, To: s.From, Drain: s.Drain, Timeout: s.Timeout}
	if s.Surge || s.Strategy == strategyPoolMigration {
		r.Surge = 1
	}
	return r.replace(ctx, env, roll, []string{name})
}

// fill joins a worker in the place of one that the roll removed before it
// failed to join another.
func (s RollBackWorker) fill(ctx context.Context, env *Env, roll *Roll) error {
	place := fmt.Sprintf("worker %d, which is gone", s.Index+1)
	more, err := s.moreThanBefore(ctx, env)
	if err != nil || more >= 0 && roll.New[place] == "" {
		return err
	}
	return joinFor(ctx, env, roll, []string{place}, s.Timeout)
}

// moreThanBefore returns how many workers there are more than before the roll.
func (s RollBackWorker) moreThanBefore(ctx context.Context, env *Env) (int, error) {
	workers, err := nodesOf(ctx, env, false)
	return len(workers) - s.Workers, err
}

func (s RollBackWorker) inPlace(ctx context.Context, env *Env, name string) error {
	if err := drainAll(ctx, env, []string{name}, s.Drain); err != nil {
		return err
	}
	r, err := capability[cluster.NodeRollbacker](env)
	if err != nil {
		return err
	}
	err = bounded(ctx, s.Timeout, func(ctx context.Context) error { return r.RollbackNode(ctx, env.Cluster, name, s.From) })
	if err != nil {
		return fmt.Errorf("kubelet of node %s back to %s: %w", name, s.From, err)
	}
	if err := waitNode(ctx, env, name, s.From.String(), s.Timeout); err != nil {
		return err
	}
	node, err := mustNode(ctx, env, name)
	if err != nil {
		return err
	}
	return uncordonNode(ctx, env, node)
}
