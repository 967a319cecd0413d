package mirror

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// localCluster is a mirror on this machine: of containers, or simulated.
type localCluster struct {
	mirrored
	sim bool
}

// simulated is the cover of what sim plays without running it: the code that is
// upgraded in production is not there.
const simulated = 0.25

// localAddons are what such a mirror brings by itself.
var localAddons = map[string][]string{
	scenarios.DriverKind: {"coredns", "kube-proxy", "kindnet", "kube-flannel-ds"},
	scenarios.DriverSim:  {"coredns", "kube-proxy", "kube-flannel-ds"},
}

func (l localCluster) show(aspect string, p *Fact) (float64, string) {
	where := "containers of this machine"
	if l.sim {
		where = "simulated"
	}
	both := func(mirror string) string { return fmt.Sprintf("%s in production, %s in the mirror", p.Value, mirror) }
	switch aspect {
	case aspectKubernetes:
		plain, vendor := upstream(p.Value)
		if l.sim {
			return simulated, fmt.Sprintf("sim plays %s, none of its code runs", plain)
		}
		return upstreamCover(p.Value, plain, vendor)
	case aspectNetwork:
		return l.network(p)
	case aspectProxy:
		if l.sim {
			return simulated, p.Value + " in production, played in sim"
		}
		return zeroUnless(p.Value == "iptables"), fmt.Sprintf("mode %s in production, iptables in the mirror", p.Value)
	case aspectAddons:
		cover, missing := l.addonsAmong(func(name string) bool { return slices.Contains(localAddons[l.s.Cluster.Driver], name) })
		if l.sim {
			cover, missing = cover*simulated, append(missing, "the rest is played by sim")
		}
		return cover, "not in the mirror: " + strings.Join(missing, ", ")
	case aspectGates:
		return zeroUnless(p.Value == "none set"), p.Value + " in production, a scenario cannot set any"
	case aspectKubelet:
		return 0, both("kubeadm's own")
	case aspectRBAC:
		return zeroUnless(p.Value == "on" && !l.sim), both(map[bool]string{true: "not simulated", false: "on"}[l.sim])
	case aspectPlanes:
		return share(l.s.Cluster.ControlPlanes, number(*p)), both(fmt.Sprint(l.s.Cluster.ControlPlanes))
	case aspectWorkers:
		return l.workers(p)
	case aspectWorkloads:
		return l.standIns()
	case aspectTypes, aspectSizes, aspectSystem:
		return 0, both(where)
	case aspectZones:
		return 0, both("one")
	case aspectRuntime:
		if l.sim {
			return 0, both("none")
		}
		return zeroUnless(containerd(p.Value)), both("containerd")
	case aspectBalancers:
		return 0, p.Value + " of the cloud's in production, one of the driver's own before the canary in the mirror"
	}
	return 0, both("none")
}

func (l localCluster) network(p *Fact) (float64, string) {
	mode := l.f.Get(FactNetworkMode).Value
	own := map[string]string{"flannel": scenarios.NetworkFlannel, "kindnet": scenarios.NetworkDefault}[p.Value]
	switch {
	case l.sim:
		return 0, p.Value + " in production, none in sim"
	case own != l.s.Cluster.Network:
		return 0, fmt.Sprintf("%s in production, %s in the mirror", joined(p.Value, mode), l.s.Cluster.Network)
	case own == scenarios.NetworkFlannel && mode != "" && mode != "vxlan":
		return 0.5, fmt.Sprintf("flannel's backend is %s in production and vxlan in the mirror", mode)
	}
	return 1, ""
}

// upstreamCover is the cover of a version where the mirror runs upstream's build.
func upstreamCover(version, plain, vendor string) (float64, string) {
	if vendor != "" {
		return 0.8, fmt.Sprintf("production runs the build %s of a vendor, the mirror upstream's %s", version, plain)
	}
	return 1, ""
}

// containerd tells whether every node of a tally of runtimes has it.
func containerd(runtimes string) bool {
	for r := range strings.SplitSeq(runtimes, ", ") {
		if !strings.HasPrefix(r, "containerd://") {
			return false
		}
	}
	return true
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}
