package harness

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// commanded reports whether a command of the user's upgrades the cluster.
func (b *planner) commanded() bool { return b.s.Upgrade.Strategy == scenarios.StrategyCommand }

// create makes the cluster, or uses the one that is there.
func (b *planner) create() step.Step {
	c, from := b.s.Cluster, cluster.Version(b.s.Versions.From)
	const timeout = 15 * time.Minute
	if c.Driver == scenarios.DriverExisting {
		return step.Connect{Kubeconfig: c.Kubeconfig, Context: c.Context, Version: from, Timeout: timeout}
	}
	return step.Create{
		Driver: c.Driver, ControlPlanes: c.ControlPlanes, Workers: c.Workers, Network: c.Network, Version: from, Timeout: timeout,
	}
}

// stages are the versions that are put onto the nodes ahead of the upgrade: none
// where a command brings them.
func (b *planner) stages() []cluster.Version {
	if b.commanded() {
		return nil
	}
	return b.hops
}

// commands runs the command once for each hop. How long it takes nobody knows.
func (b *planner) commands() {
	u, c := b.s.Upgrade, b.s.Cluster
	b.plan.Nodes = 0 // what the cluster has, which the plan has not asked
	from := cluster.Version(b.s.Versions.From)
	timeout := scenarios.DefaultCommandTimeout
	if u.CommandTimeout != nil {
		timeout = u.CommandTimeout.Duration
	}
	for i, to := range b.hops {
		b.add(SectionUpgrade, 0, step.Command{
			Args: u.Command, From: from, To: to, Kubeconfig: c.Kubeconfig, Context: c.Context, Begins: i == 0, Timeout: timeout,
		})
		b.add(SectionUpgrade, b.est(cluster.OpValidate), b.validate("After the command"))
		from = to
	}
}
