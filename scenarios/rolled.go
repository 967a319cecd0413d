package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Rollers are the drivers whose own tool drains, replaces and waits.
var Rollers = []string{DriverKops, DriverEKS}

// RollsItself reports whether the driver's own tool rolls the machines.
func (c *Cluster) RollsItself() bool { return slices.Contains(Rollers, c.Driver) }

// ManagedControlPlane reports whether nobody but the cloud sees the machines of
// the control plane.
func (c *Cluster) ManagedControlPlane() bool { return c.Driver == DriverEKS }

// ExistsAlready reports whether the cluster is there before the rehearsal and
// after it.
func (c *Cluster) ExistsAlready() bool {
	return c.Driver == DriverExisting || c.Driver == DriverEKS && c.EKS != nil && c.EKS.Existing != ""
}

// rolledDefaults sets what is another default with a driver of Rollers.
func rolledDefaults(given any) {
	s, _ := given.(map[string]any)
	shape, _ := s["cluster"].(map[string]any)
	driver, _ := shape["driver"].(string)
	if !(&Cluster{Driver: driver}).RollsItself() {
		return
	}
	if shape["network"] == nil {
		shape["network"] = NetworkDefault
	}
	upgrade, ok := s["upgrade"].(map[string]any)
	if s["upgrade"] == nil {
		upgrade, ok = map[string]any{}, true
		s["upgrade"] = upgrade
	}
	if ok && upgrade["strategy"] == nil {
		upgrade["strategy"] = StrategyReplace
	}
	if thresholds, ok := s["thresholds"].(map[string]any); s["thresholds"] == nil || ok && thresholds["apiAvailability"] == nil {
		if driver != DriverEKS {
			return
		}
		if thresholds == nil {
			thresholds = map[string]any{}
			s["thresholds"] = thresholds
		}
		// EKS runs several API servers, whatever the scenario says.
		thresholds["apiAvailability"] = Pct(DefaultAPIAvailability)
	}
}

// rolledComponents are checked by default with a driver of Rollers: what each of
// its clusters shows, whatever its manifest says of the rest.
func (c *Cluster) rolledComponents() []string {
	if c.Driver == DriverEKS {
		return []string{"aws-node", "coredns", "kube-proxy"}
	}
	all := []string{"coredns", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}
	if c.Kops != nil && c.Kops.Manifest == "" && c.KopsNetworking() == kopsCilium {
		all = append([]string{"cilium"}, all...)
	}
	return all
}

// kopsCilium is kops' network where nothing else is asked for.
const kopsCilium = "cilium"

// KopsNetworking is the network plug-in that a cluster made by kops' flags gets,
// by kops' own name: cluster.kops.networking goes before cluster.network.
func (c *Cluster) KopsNetworking() string {
	switch {
	case c.Kops != nil && c.Kops.Networking != "":
		return c.Kops.Networking
	case c.Network != "" && c.Network != NetworkDefault:
		return c.Network
	}
	return kopsCilium
}

// validateRolled finds what a driver of Rollers needs beside its own fields, and
// what it leaves to its tool: that would seem to have an effect.
func (s *Scenario) validateRolled(p *field.Path) field.ErrorList {
	if !s.Cluster.RollsItself() {
		return nil
	}
	var errs field.ErrorList
	reject := func(p *field.Path, given bool, value any, why string) {
		if given {
			errs = append(errs, field.Invalid(p, value, why))
		}
	}
	c, driver := p.Child("cluster"), s.Cluster.Driver
	eks := driver == DriverEKS
	if eks {
		last := s.Versions.From
		for _, v := range s.Versions.Hops() {
			if v != s.Versions.From && minorOf(v) == minorOf(last) {
				errs = append(errs, field.Invalid(p.Child("versions"), v, "EKS chooses the patch itself, so there is no upgrade within "+minorOf(v)+": give the next minor"))
			}
			last = v
		}
		reject(c.Child("controlPlanes"), s.Cluster.ControlPlanes != 1, s.Cluster.ControlPlanes, "EKS runs the control plane itself: leave it out")
		reject(c.Child("network"), s.Cluster.Network == NetworkFlannel, s.Cluster.Network, "EKS brings its own network: leave it out, or give "+NetworkDefault)
	} else if k := s.Cluster.Kops; k != nil {
		flannel := s.Cluster.Network == NetworkFlannel
		reject(c.Child("network"), flannel && k.Manifest != "", s.Cluster.Network, "the manifest says which network the cluster has: leave it out")
		reject(c.Child("network"), flannel && k.Manifest == "" && k.Networking != "" && k.Networking != NetworkFlannel, s.Cluster.Network, "cluster.kops.networking says "+k.Networking+": leave one of the two out")
	}
	if s.Canary.Image == "" {
		errs = append(errs, field.Required(p.Child("canary", "image"), "an image of cmd/canary that the cluster's nodes can pull: they cannot take one from this machine"))
	}
	errs = append(errs, s.rejectedByRoller(p)...)
	reject(p.Child("workloads"), s.Cluster.ExistsAlready() && len(s.Workloads) > 0, len(s.Workloads), "an existing cluster has its own: only rehearse's own namespace is touched there")
	return errs
}

// minorOf is 1.35 of v1.35.4.
func minorOf(v string) string {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}

// rejectedByRoller finds what is asked of the roll that the driver's tool does
// not do.
func (s *Scenario) rejectedByRoller(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	u, up := &s.Upgrade, p.Child("upgrade")
	reject := func(name string, given bool, value any, why string) {
		if given {
			errs = append(errs, field.Invalid(up.Child(name), value, why))
		}
	}
	tool, batch, stall := "kops", "kops reads it from spec.rollingUpdate of the cluster or the instance group: leave it out, and set it in cluster.kops.manifest",
		"kops drains by itself and deletes no pod past its budget: leave it out; cluster.kops.ignoreDrainErrors goes on with a node that could not be drained"
	def := Default().Upgrade
	if s.Cluster.Driver == DriverEKS {
		tool, batch, stall = "EKS", "EKS reads it from the node group: leave it out, and give cluster.eks.maxUnavailable or maxUnavailablePercentage, and updateStrategy",
			"EKS drains by itself: leave it out; cluster.eks.force deletes pods past their budgets"
		const fixed = "EKS drains by itself and gives up after about fifteen minutes, which no option changes: leave it out"
		reject("drainTimeout", u.DrainTimeout.invalid == "" && u.DrainTimeout != def.DrainTimeout, u.DrainTimeout.String(), fixed)
		reject("postDrainDelay", u.PostDrainDelay.invalid == "" && u.PostDrainDelay != def.PostDrainDelay, u.PostDrainDelay.String(), "EKS ends a machine as soon as it is drained: leave it out")
	}
	// Strategies that nobody knows are named elsewhere, and a command is refused by
	// its own rule.
	reject("strategy", slices.Contains(Rolls, u.Strategy) && u.Strategy != StrategyReplace, u.Strategy,
		fmt.Sprintf("the driver %s lets %s replace the machines in its own way: leave it out, or give %s", s.Cluster.Driver, tool, StrategyReplace))
	reject("maxUnavailable", u.MaxUnavailable != def.MaxUnavailable, u.MaxUnavailable, batch)
	reject("maxSurge", u.MaxSurge != 0, u.MaxSurge, batch)
	reject("extraWorkers", u.ExtraWorkers != 0, u.ExtraWorkers, tool+" adds no machines for the time of a roll but its own surge: leave it out")
	reject("onStall", slices.Contains(OnStalls, u.OnStall) && u.OnStall != OnStallFail, u.OnStall, stall)
	reject("interval", u.AutoInterval() && s.Cluster.ExistsAlready(), AutoInterval, "a search upgrades again and again, and a cluster that is there already is not made anew: leave it out, and give an interval")
	if s.Cluster.Driver != DriverEKS {
		reject("rollback", u.Rollback != nil, "", tool+" rolls machines forwards only: leave it out, or rehearse the way back on kind")
	} else if r := u.Rollback; r != nil && r.After != nil && r.After.invalid == "" && r.After.Ratio < 1 {
		errs = append(errs, field.Invalid(up.Child("rollback", "after"), r.After.String(), "EKS takes node groups back as a whole, once all of them are done: give 100%"))
	}
	return errs
}
