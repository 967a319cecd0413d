package harness

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// notNeeded is why the way back was left out of a roll that did not fail.
const notNeeded = "not needed: nothing failed"

// rollBack undoes the roll of the workers, where the scenario asks for it.
func (b *planner) rollBack(to cluster.Version) {
	u := b.s.Upgrade
	if u.Rollback == nil {
		return
	}
	from, of := cluster.Version(b.s.Versions.From), u.Rollback.Workers(b.s.Cluster.Workers)
	if u.Strategy == scenarios.StrategyPoolMigration {
		of = b.s.Cluster.Workers // the new pool has all
	}
	first := len(b.plan.Entries)
	b.add(SectionRollback, 0, step.BeginRollback{From: from, To: to})
	for i := range of {
		b.add(SectionRollback, b.est(cluster.OpUpgradeNode)+u.PostDrainDelay.Duration, step.RollBackWorker{
			Strategy: u.Strategy, Index: i, Of: of, Workers: b.s.Cluster.Workers, Surge: u.MaxSurge > 0, From: from, Drain: b.drain(), Timeout: u.NodeTimeout.Duration,
		})
		v := b.validate(fmt.Sprintf("After %d of %d on the way back", i+1, of))
		v.Interval = u.NodeInterval.Duration
		b.add(SectionRollback, b.est(cluster.OpValidate)+v.Interval, v)
		if !u.Rollback.OnFailure {
			b.plan.Floor += v.Interval
		}
	}
	if u.Rollback.OnFailure {
		b.onFailure(first)
	}
}

// onFailure makes the entries from the first-th on, which go back, wait for a
// failure.
func (b *planner) onFailure(first int) {
	for i := range b.plan.Entries[first:] {
		e := &b.plan.Entries[first+i]
		e.OnFailure, e.Expected, e.Description = true, 0, "If the upgrade fails: "+e.Description
	}
}

// checkpoint judges what was measured so far, where a failure turns the roll
// round.
func (b *planner) checkpoint() {
	if r := b.s.Upgrade.Rollback; r != nil && r.OnFailure {
		b.add(SectionUpgrade, 0, checkpoint{})
	}
}

// checkpoint is the runner's own: it fails when a criterion is seen to fail in
// what was recorded until now.
type checkpoint struct{}

func (checkpoint) Describe() string { return "Judge what was measured so far" }

func (checkpoint) Run(context.Context, *step.Env) error { return errRunnersOwn }

// check judges the record as it is on disk. What cannot be judged yet says
// nothing against the upgrade.
func (r *runner) check() error {
	r.save()
	rec, err := record.Load(r.dir.Path())
	if err != nil {
		return fmt.Errorf("read what was recorded so far: %w", err)
	}
	var failed []error
	for _, c := range judge.Judge(rec, r.plan.Scenario.Criteria()).Criteria {
		if c.Result == judge.Fail {
			failed = append(failed, fmt.Errorf("%s failed: %s", c.ID, c.Explain))
		}
	}
	return errors.Join(failed...)
}
