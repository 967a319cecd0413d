package harness

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/forecast"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// How long a cluster may take to be made: in a cloud, machines and balancers are
// waited for, and EKS' own control plane takes a quarter of an hour.
const (
	createTimeout      = 15 * time.Minute
	cloudCreateTimeout = 45 * time.Minute
)

// preflight looks at this machine, and where the cluster is made in a cloud, at
// the account.
func (b *planner) preflight() step.Step {
	if b.rolls {
		// A tool must know every version that the cluster passes through.
		return step.Preflight{To: b.hops[len(b.hops)-1], Account: true}
	}
	return step.Preflight{To: b.hops[0]}
}

// create makes the cluster, or uses the one that is there.
func (b *planner) create() step.Step {
	c, from := b.s.Cluster, cluster.Version(b.s.Versions.From)
	if c.Driver == scenarios.DriverExisting {
		return step.Connect{Kubeconfig: c.Kubeconfig, Context: c.Context, Version: from, Timeout: createTimeout}
	}
	s := step.Create{
		Driver: c.Driver, ControlPlanes: c.ControlPlanes, Workers: c.Workers, Network: c.Network, Version: from, Timeout: createTimeout,
	}
	if b.rolls {
		s.Timeout = cloudCreateTimeout
	}
	if c.ManagedControlPlane() {
		s.ControlPlanes = 0
	}
	switch {
	case c.ExistsAlready():
		s.Existing = c.EKS.Existing
	case c.Kops != nil && c.Kops.Manifest != "":
		s.Network = "as in " + c.Kops.Manifest
	case c.Kops != nil:
		s.Network = c.KopsNetworking()
	}
	return s
}

// forecast is how the workers are taken down, for the forecast of their drains.
func (b *planner) forecast() *forecast.Options {
	u := b.s.Upgrade
	o := &forecast.Options{Strategy: u.Strategy, MaxSurge: u.MaxSurge, MaxUnavailable: u.MaxUnavailable, ExtraWorkers: u.ExtraWorkers}
	if b.rolls {
		// Both kops in AWS and EKS add one machine before they take one down, unless
		// they are told otherwise.
		o.MaxSurge, o.MaxUnavailable = 1, 0
	}
	if e := b.s.Cluster.EKS; b.rolls && e != nil {
		o.Force = e.Force
		if e.UpdateStrategy == scenarios.EKSMinimal {
			o.MaxSurge, o.MaxUnavailable = 0, max(e.MaxUnavailable, 1)
		}
	}
	return o
}
