package harness

import (
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// refusedByRoller says what of the scenario a driver that rolls machines itself
// does not carry out. Validation names more, with fields; this holds too where a
// flag has put another driver in the place of the scenario's.
func refusedByRoller(d cluster.Driver, s *scenarios.Scenario) error {
	if _, ok := d.(cluster.Roller); !ok {
		return nil
	}
	u := s.Upgrade
	_, reverses := d.(cluster.RollReverser)
	for _, x := range []struct {
		refused bool
		text    string
	}{
		{u.Strategy != scenarios.StrategyReplace, fmt.Sprintf("upgrade.strategy: the driver %s replaces machines in its own way and cannot carry out %s: leave it out, or give %s", s.Cluster.Driver, u.Strategy, scenarios.StrategyReplace)},
		{u.Rollback != nil && !reverses, fmt.Sprintf("upgrade.rollback: the driver %s rolls machines forwards only: leave it out, or rehearse the way back on kind", s.Cluster.Driver)},
		{reverses && u.Rollback != nil && u.Rollback.After != nil && u.Rollback.After.Ratio < 1, fmt.Sprintf("upgrade.rollback.after: the driver %s rolls a role as a whole: give 100%%", s.Cluster.Driver)},
		{u.ExtraWorkers > 0, fmt.Sprintf("upgrade.extraWorkers: the driver %s adds no machines but its own surge: leave it out", s.Cluster.Driver)},
		{u.OnStall != scenarios.OnStallFail, fmt.Sprintf("upgrade.onStall: the driver %s drains by itself: leave it out", s.Cluster.Driver)},
		{u.AutoInterval() && s.Cluster.ExistsAlready(), "upgrade.interval: a search upgrades again and again, and a cluster that is there already is not made anew: give an interval"},
	} {
		if x.refused {
			return fmt.Errorf("%s", x.text)
		}
	}
	return nil
}

// roll lets the driver take first the control planes and then the workers to a
// version; after each role the cluster is validated and the interval waited, as
// after nodes that the harness upgrades itself.
func (b *planner) roll(to cluster.Version, begins bool) {
	u, planes := b.s.Upgrade, b.s.Cluster.ControlPlanes
	if b.s.Cluster.ManagedControlPlane() {
		planes = 0
	}
	b.rollRole(step.RollRole{ControlPlane: true, Nodes: planes, Begins: begins, To: to},
		b.est(cluster.OpUpgradeControlPlane), u.ControlPlaneTimeout.Duration, u.ControlPlaneInterval.Duration)
	b.between(u.ControlPlaneInterval.Duration, true, "control plane")
	b.checkpoint()
	b.rollRole(step.RollRole{Nodes: b.s.Cluster.Workers, To: to},
		b.est(cluster.OpUpgradeNode), u.NodeTimeout.Duration, u.NodeInterval.Duration)
	b.between(u.NodeInterval.Duration, true, "worker")
	b.checkpoint()
	b.rollBackRoles(planes)
}

// rollBackRoles lets the driver take workers and then the control plane back,
// where the scenario asks for it.
func (b *planner) rollBackRoles(planes int) {
	u := b.s.Upgrade
	if u.Rollback == nil {
		return
	}
	from := cluster.Version(b.s.Versions.From)
	first, floor := len(b.plan.Entries), b.plan.Floor
	b.rollRole(step.RollRole{Back: true, Begins: true, Nodes: b.s.Cluster.Workers, To: from},
		b.est(cluster.OpUpgradeNode), u.NodeTimeout.Duration, u.NodeInterval.Duration)
	b.between(u.NodeInterval.Duration, true, "worker")
	b.rollRole(step.RollRole{Back: true, ControlPlane: true, Nodes: planes, To: from},
		b.est(cluster.OpUpgradeControlPlane), u.ControlPlaneTimeout.Duration, u.ControlPlaneInterval.Duration)
	b.between(u.ControlPlaneInterval.Duration, true, "control plane")
	for i := range b.plan.Entries[first:] {
		b.plan.Entries[first+i].Section = SectionRollback
	}
	if u.Rollback.OnFailure {
		b.plan.Floor = floor
		b.onFailure(first)
	}
}

// rollRole adds the roll of one role. each is what one node is expected to take
// without the interval, and perNode what it may take beside its drain.
func (b *planner) rollRole(s step.RollRole, each, perNode, interval time.Duration) {
	u := b.s.Upgrade
	s.Options = cluster.RollOptions{
		ControlPlaneInterval: u.ControlPlaneInterval.Duration, NodeInterval: u.NodeInterval.Duration,
		DrainTimeout: u.DrainTimeout.Duration, PostDrainDelay: u.PostDrainDelay.Duration,
		ValidationTimeout: u.ValidationTimeout.Duration, Validations: u.Validations,
	}
	s.Groups = b.s.Cluster.ManagedControlPlane()
	s.Timeout = step.RollTimeout(s.Nodes, perNode, interval, s.Options)
	expected := each
	if s.Nodes > 0 {
		waits := time.Duration(s.Nodes) * interval
		if s.Groups {
			waits = interval // after each group, of which there is one at least
		}
		b.plan.Floor += waits
		expected = time.Duration(s.Nodes)*(each+u.PostDrainDelay.Duration) + waits
	}
	b.add(SectionUpgrade, expected, s)
}
