package harness

import (
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// commanded reports whether a command of the user's upgrades the cluster.
func (b *planner) commanded() bool { return b.s.Upgrade.Strategy == scenarios.StrategyCommand }

// stages are the versions that are put onto the nodes ahead of the upgrade: none
// where a command, or the driver itself, brings them.
func (b *planner) stages() []cluster.Version {
	if b.commanded() || b.rolls {
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
