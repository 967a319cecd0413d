package harness

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// missingCapabilities names what the scenario's strategy needs and d lacks.
func missingCapabilities(d cluster.Driver, u *scenarios.Upgrade) []string {
	var missing []string
	need := func(ok bool, name string) {
		if !ok {
			missing = append(missing, name)
		}
	}
	// Who upgrades: rehearse, with the driver's help, and not a command or the driver.
	_, rolls := d.(cluster.Roller)
	own := u.Strategy != scenarios.StrategyCommand && !rolls
	_, ok := d.(cluster.ControlPlaneUpgrader)
	need(ok || !own, "upgrading a control plane in place")
	_, ok = d.(cluster.NodeUpgrader)
	need(ok || !own, "upgrading a node in place")
	if u.Rollback != nil && u.Strategy == scenarios.StrategyInPlace {
		_, ok = d.(cluster.NodeRollbacker)
		need(ok, "taking a node back in place")
	}
	_, ok = d.(cluster.NodeProvisioner)
	switch {
	case rolls:
	case u.Strategy == scenarios.StrategyReplace, u.Strategy == scenarios.StrategyPoolMigration:
		need(ok, "adding and removing workers")
	case u.ExtraWorkers > 0:
		need(ok, "adding and removing workers, for upgrade.extraWorkers")
	}
	_, ok = d.(cluster.Exposer)
	need(ok, "exposing the canary")
	_, ok = d.(cluster.TwinHost)
	need(ok, "running the control twin")
	_, ok = d.(cluster.CanaryImager)
	need(ok, "loading the canary's image")
	return missing
}

// MostWorkers is how many workers the scenario has at most at any moment: the
// cluster's own, and those that its strategy adds before it removes others.
func MostWorkers(s *scenarios.Scenario) int {
	u, n := s.Upgrade, s.Cluster.Workers
	switch u.Strategy {
	case scenarios.StrategyReplace:
		return n + u.ExtraWorkers + min(u.MaxSurge, n)
	case scenarios.StrategyPoolMigration:
		return n + u.ExtraWorkers + n
	}
	return n + u.ExtraWorkers
}

// workers takes every worker to a version, by the scenario's strategy.
func (b *planner) workers(to cluster.Version) {
	u := b.s.Upgrade
	b.joinExtra(to)
	switch u.Strategy {
	case scenarios.StrategyReplace:
		b.replace(to)
	case scenarios.StrategyPoolMigration:
		b.migrate(to)
	default:
		b.inPlace(to)
	}
	b.removeExtra(to)
	b.rollBack(to)
}

// batches calls f with the first of each batch of old workers and how many it
// has; after each the cluster is validated and the interval waited.
func (b *planner) batches(f func(first, count int)) {
	n := b.s.Upgrade.Rollback.Workers(b.s.Cluster.Workers)
	size := b.s.Upgrade.Batch()
	for first := 0; first < n; first += size {
		f(first, min(size, n-first))
		b.between(b.s.Upgrade.NodeInterval.Duration, first+size >= n, "worker")
		b.checkpoint()
	}
}

func (b *planner) inPlace(to cluster.Version) {
	u := b.s.Upgrade
	expected := b.est(cluster.OpUpgradeNode) + u.PostDrainDelay.Duration
	b.batches(func(first, count int) {
		if count == 1 {
			b.add(SectionUpgrade, expected, step.UpgradeNode{
				Index: first, Of: b.s.Cluster.Workers, To: to, Drain: b.drain(), Timeout: u.NodeTimeout.Duration,
			})
			return
		}
		b.add(SectionUpgrade, expected, step.UpgradeBatch{
			First: first, Count: count, Of: b.s.Cluster.Workers, To: to, Drain: b.drain(), Timeout: u.NodeTimeout.Duration,
		})
	})
}

func (b *planner) replace(to cluster.Version) {
	u := b.s.Upgrade
	b.batches(func(first, count int) {
		b.add(SectionUpgrade, b.estDrain()+b.estTimes(count, cluster.OpAddNode, cluster.OpRemoveNode), step.ReplaceWorkers{
			First: first, Count: count, Of: b.s.Cluster.Workers, Surge: min(u.MaxSurge, count),
			To: to, Drain: b.drain(), Timeout: u.NodeTimeout.Duration,
		})
	})
}

func (b *planner) migrate(to cluster.Version) {
	u, n := b.s.Upgrade, b.s.Cluster.Workers
	b.add(SectionUpgrade, b.estTimes(n, cluster.OpAddNode), step.JoinPool{Of: n, To: to, Timeout: u.NodeTimeout.Duration})
	b.add(SectionUpgrade, b.est(cluster.OpValidate), b.validate("With both pools"))
	b.add(SectionUpgrade, 0, step.CordonPool{Of: n, To: to})
	until := u.Rollback.Workers(n)
	for i := range until {
		b.add(SectionUpgrade, b.estDrain(), step.DrainWorker{Index: i, Of: n, To: to, Drain: b.drain()})
		b.between(u.NodeInterval.Duration, i == until-1, "worker")
		b.checkpoint()
	}
	if u.Rollback != nil {
		return // the old pool is what a rollback needs
	}
	b.add(SectionUpgrade, b.estTimes(n, cluster.OpRemoveNode), step.RemovePool{Of: n, To: to, Timeout: u.NodeTimeout.Duration})
	b.add(SectionUpgrade, b.est(cluster.OpValidate), b.validate("With the new pool alone"))
}

func (b *planner) joinExtra(to cluster.Version) {
	u := b.s.Upgrade
	if u.ExtraWorkers == 0 {
		return
	}
	b.add(SectionUpgrade, b.estTimes(u.ExtraWorkers, cluster.OpAddNode), step.JoinExtra{Count: u.ExtraWorkers, To: to, Timeout: u.NodeTimeout.Duration})
	b.add(SectionUpgrade, b.est(cluster.OpValidate), b.validate("With the extra capacity"))
}

func (b *planner) removeExtra(to cluster.Version) {
	u := b.s.Upgrade
	for i := range u.ExtraWorkers {
		b.add(SectionUpgrade, b.estDrain()+b.est(cluster.OpRemoveNode), step.RemoveExtra{
			Index: i, Of: u.ExtraWorkers, To: to, Drain: b.drain(), Timeout: u.NodeTimeout.Duration,
		})
		b.between(u.NodeInterval.Duration, i == u.ExtraWorkers-1, "extra worker")
	}
}

func (b *planner) drain() step.DrainOptions {
	u := b.s.Upgrade
	return step.DrainOptions{
		Timeout: u.DrainTimeout.Duration, After: u.PostDrainDelay.Duration, OnStall: u.OnStall, StallTimeout: u.StallTimeout.Duration,
	}
}

// estDrain guesses a drain: it is what takes the time of an upgrade in place.
func (b *planner) estDrain() time.Duration {
	return b.est(cluster.OpUpgradeNode) + b.s.Upgrade.PostDrainDelay.Duration
}

// estTimes is n times the sum of the operations.
func (b *planner) estTimes(n int, ops ...cluster.Operation) time.Duration {
	var sum time.Duration
	for _, op := range ops {
		sum += b.est(op)
	}
	return time.Duration(n) * sum
}
