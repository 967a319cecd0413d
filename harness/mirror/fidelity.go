package mirror

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// Fidelity says how much of production a scenario's cluster shows.
//
// Score is Σ weight·cover·sureness / Σ weight over the items that apply. Cover is
// 1 where the mirror has what production has, 0 where it has not, and between
// where it has some of it. Sureness is 1 for an observed fact, 0.8 for an inferred
// one and 0 for an unknown one: nobody can say that a mirror shows what is not
// known. What production does not have, such as load balancers in a cluster
// without any, is left out of both sums.
//
// The weights are an opinion about what decides whether an upgrade is noticed,
// and the only one in this package; docs/guides/mirror.md gives the reasons. They
// sum up to 120, so each is a little less than its share in percent.
type Fidelity struct {
	Score float64 // 0 to 1, in hundredths
	Items []Item  // in a fixed order
}

// Item is one aspect of production.
type Item struct {
	Name     string
	Weight   float64
	Cover    float64 // 0 to 1
	Sureness Certainty
	// Missing says what is not covered, in a sentence without a full stop; empty
	// where Cover is 1 and the fact known.
	Missing string
}

// Uncovered lists what the mirror cannot show.
func (f Fidelity) Uncovered() []string {
	var out []string
	for _, i := range f.Items {
		if i.Missing != "" {
			out = append(out, i.Missing)
		}
	}
	return out
}

// sureness is how much a fact counts.
var sureness = map[Certainty]float64{Observed: 1, Inferred: 0.8, Unknown: 0}

// simulated is the cover of what sim plays without running it: the code that is
// upgraded in production is not there.
const simulated = 0.25

// grade computes the fidelity of the scenario to the facts.
func grade(f *Facts, s *scenarios.Scenario) Fidelity {
	g := &grader{f: f, s: s, sim: s.Cluster.Driver == scenarios.DriverSim}
	g.software()
	g.shape()
	g.machines()
	g.surroundings()
	var sum, weights float64
	for _, i := range g.items {
		sum += i.Weight * i.Cover * sureness[i.Sureness]
		weights += i.Weight
	}
	out := Fidelity{Items: g.items}
	if weights > 0 {
		out.Score = math.Round(100*sum/weights) / 100
	}
	return out
}

type grader struct {
	f     *Facts
	s     *scenarios.Scenario
	sim   bool
	items []Item
}

// item adds an aspect; missing is said where cover is below 1.
func (g *grader) item(name string, weight float64, fact Fact, cover float64, missing string, args ...any) {
	i := Item{Name: name, Weight: weight, Cover: cover, Sureness: fact.Certainty}
	switch {
	case fact.Certainty == Unknown:
		i.Cover, i.Missing = 0, fmt.Sprintf("%s: unknown in production (%s)", name, fact.Evidence)
	case cover < 1:
		i.Missing = name + ": " + fmt.Sprintf(missing, args...)
	}
	i.Missing = oneLine(i.Missing)
	g.items = append(g.items, i)
}

func (g *grader) software() {
	version := g.f.Get(FactVersion)
	plain, vendor := upstream(version.Value)
	switch {
	case g.sim:
		g.item("Kubernetes itself", 20, version, simulated, "sim plays %s, none of its code runs", plain)
	case vendor != "":
		g.item("Kubernetes itself", 20, version, 0.8, "production runs the build %s of a vendor, the mirror upstream's %s", version.Value, plain)
	default:
		g.item("Kubernetes itself", 20, version, 1, "")
	}
	network, mode := g.f.Get(FactNetwork), g.f.Get(FactNetworkMode).Value
	own := map[string]string{"flannel": scenarios.NetworkFlannel, "kindnet": scenarios.NetworkDefault}[network.Value]
	switch {
	case g.sim:
		g.item("network plug-in", 15, network, 0, "%s in production, none in sim", network.Value)
	case own != g.s.Cluster.Network:
		g.item("network plug-in", 15, network, 0, "%s in production, %s in the mirror", joined(network.Value, mode), g.s.Cluster.Network)
	case own == scenarios.NetworkFlannel && mode != "" && mode != "vxlan":
		g.item("network plug-in", 15, network, 0.5, "flannel's backend is %s in production and vxlan in the mirror", mode)
	default:
		g.item("network plug-in", 15, network, 1, "")
	}
	proxy := g.f.Get(FactKubeProxy)
	switch {
	case g.sim:
		g.item("kube-proxy", 5, proxy, simulated, "%s in production, played in sim", proxy.Value)
	case proxy.Value != "iptables":
		g.item("kube-proxy", 5, proxy, 0, "mode %s in production, iptables in the mirror", proxy.Value)
	default:
		g.item("kube-proxy", 5, proxy, 1, "")
	}
	g.addons()
	gates := g.f.Get(FactAPIGates)
	g.item("feature gates", 4, gates, zeroUnless(gates.Value == "none set"), "%s in production, a scenario cannot set any", gates.Value)
	kubelet := g.f.Get(FactKubelet)
	g.item("kubelet's configuration", 2, kubelet, 0, "%s in production, kubeadm's own in the mirror", kubelet.Value)
	rbac := g.f.Get(FactRBAC)
	g.item("RBAC", 2, rbac, zeroUnless(rbac.Value == "on" && !g.sim), "%s in production, %s in the mirror", rbac.Value, map[bool]string{true: "not simulated", false: "on"}[g.sim])
}

// mirrorAddons are what the mirror brings by itself.
var mirrorAddons = map[string][]string{
	scenarios.DriverKind: {"coredns", "kube-proxy", "kindnet", "kube-flannel-ds"},
	scenarios.DriverSim:  {"coredns", "kube-proxy", "kube-flannel-ds"},
}

func (g *grader) addons() {
	have, total := 0, 0
	var missing []string
	for _, f := range g.f.Facts {
		name, ok := strings.CutPrefix(f.Name, AddonPrefix)
		if !ok {
			continue
		}
		total++
		if slices.Contains(mirrorAddons[g.s.Cluster.Driver], name) {
			have++
			continue
		}
		missing = append(missing, strings.TrimSpace(name+" "+f.Value))
	}
	if total == 0 {
		return
	}
	cover := float64(have) / float64(total)
	if g.sim {
		cover *= simulated
		missing = append(missing, "the rest is played by sim")
	}
	g.item("add-ons", 10, Fact{Certainty: Observed}, cover, "not in the mirror: %s", strings.Join(missing, ", "))
}

func (g *grader) shape() {
	planes := g.f.Get(FactControlPlanes)
	g.item("control planes", 10, planes, share(g.s.Cluster.ControlPlanes, number(planes)), "%s in production, %d in the mirror", planes.Value, g.s.Cluster.ControlPlanes)
	workers := g.f.Get(FactWorkers)
	g.item("workers", 10, workers, share(g.s.Cluster.Workers, number(workers)), "%s in production, %d in the mirror", workers.Value, g.s.Cluster.Workers)
	found := g.f.Get(FactWorkloads)
	if budgets := g.f.Get(FactBudgets); budgets.Certainty == Unknown {
		found = budgets
	}
	cover := 1.0
	if n := len(g.f.Workloads); n > 0 {
		cover = float64(len(g.s.Workloads)) / float64(n)
	}
	g.item("workloads under a budget", 10, found, cover, "%d of %d have a stand-in", len(g.s.Workloads), len(g.f.Workloads))
}

func (g *grader) machines() {
	where := "containers of this machine"
	if g.sim {
		where = "simulated"
	}
	types, sizes := g.f.Get(FactInstanceTypes), g.f.Get(FactSizes)
	if types.Certainty != Unknown {
		g.item("instance types", 5, types, 0, "%s in production, %s in the mirror", types.Value, where)
	}
	g.item("sizes of nodes", 3, sizes, 0, "%s in production, %s in the mirror", sizes.Value, where)
	if zones := g.f.Get(FactZones); zones.Certainty != Unknown && strings.Contains(zones.Value, ",") {
		g.item("zones", 5, zones, 0, "%s in production, one in the mirror", zones.Value)
	}
	machines := g.f.Get(FactMachines)
	g.item("operating system and kernel", 5, machines, 0, "%s in production, %s in the mirror", machines.Value, where)
	runtimes := g.f.Get(FactRuntimes)
	all := !g.sim
	for r := range strings.SplitSeq(runtimes.Value, ", ") {
		all = all && strings.HasPrefix(r, "containerd://")
	}
	mirrors := "containerd"
	if g.sim {
		mirrors = "none"
	}
	g.item("container runtime", 5, runtimes, zeroUnless(all), "%s in production, %s in the mirror", runtimes.Value, mirrors)
}

func (g *grader) surroundings() {
	if b := g.f.Get(FactLoadBalancers); b.Value != "0" {
		g.item("load balancers", 5, b, 0, "%s of the cloud's in production, one of the driver's own before the canary in the mirror", b.Value)
	}
	for _, x := range []struct {
		name   string
		weight float64
		fact   Fact
	}{{"storage", 2, g.f.Get(FactStorage)}, {"admission webhooks", 2, g.f.Get(FactWebhooks)}} {
		if x.fact.Value != None {
			g.item(x.name, x.weight, x.fact, 0, "%s in production, none in the mirror", x.fact.Value)
		}
	}
}

func zeroUnless(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// share is how much of production's number the mirror's is, or the reverse.
func share(mirror, production int) float64 {
	if production <= 0 || mirror <= 0 {
		return 0
	}
	return float64(min(mirror, production)) / float64(max(mirror, production))
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}
