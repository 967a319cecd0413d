package mirror

import (
	"fmt"
	"math"
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
// sum up to 123, so each is a little less than its share in percent.
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

// aspect is one thing of production that a mirror may show.
type aspect struct {
	name   string
	weight float64
	fact   func(*Facts) Fact
	// absent tells that production has nothing of it.
	absent func(*Facts, Fact) bool
}

// Names of aspects.
const (
	aspectKubernetes = "Kubernetes itself"
	aspectNetwork    = "network plug-in"
	aspectProxy      = "kube-proxy"
	aspectAddons     = "add-ons"
	aspectGates      = "feature gates"
	aspectKubelet    = "kubelet's configuration"
	aspectRBAC       = "RBAC"
	aspectPlanes     = "control planes"
	aspectWorkers    = "workers"
	aspectWorkloads  = "workloads under a budget"
	aspectTypes      = "instance types"
	aspectSizes      = "sizes of nodes"
	aspectZones      = "zones"
	aspectSystem     = "operating system and kernel"
	aspectRuntime    = "container runtime"
	aspectBalancers  = "load balancers"
	aspectStorage    = "storage"
	aspectWebhooks   = "admission webhooks"
	aspectTies       = "ties to account and names"
)

func get(name string) func(*Facts) Fact { return func(f *Facts) Fact { return f.Get(name) } }

var aspects = []aspect{
	{aspectKubernetes, 20, get(FactVersion), nil},
	{aspectNetwork, 15, get(FactNetwork), nil},
	{aspectProxy, 5, get(FactKubeProxy), nil},
	{aspectAddons, 10, func(*Facts) Fact { return Fact{Certainty: Observed} }, func(f *Facts, _ Fact) bool { return len(f.addons()) == 0 }},
	{aspectGates, 4, get(FactAPIGates), nil},
	{aspectKubelet, 2, get(FactKubelet), nil},
	{aspectRBAC, 2, get(FactRBAC), nil},
	{aspectPlanes, 10, get(FactControlPlanes), nil},
	{aspectWorkers, 10, get(FactWorkers), nil},
	{aspectWorkloads, 10, func(f *Facts) Fact {
		if budgets := f.Get(FactBudgets); budgets.Certainty == Unknown {
			return budgets
		}
		return f.Get(FactWorkloads)
	}, nil},
	{aspectTypes, 5, get(FactInstanceTypes), func(_ *Facts, p Fact) bool { return p.Certainty == Unknown }},
	{aspectSizes, 3, get(FactSizes), nil},
	{aspectZones, 5, get(FactZones), func(_ *Facts, p Fact) bool { return p.Certainty == Unknown || !strings.Contains(p.Value, ",") }},
	{aspectSystem, 5, get(FactMachines), nil},
	{aspectRuntime, 5, get(FactRuntimes), nil},
	{aspectBalancers, 5, get(FactLoadBalancers), func(_ *Facts, p Fact) bool { return p.Value == "0" }},
	{aspectStorage, 2, get(FactStorage), func(_ *Facts, p Fact) bool { return p.Value == None }},
	{aspectWebhooks, 2, get(FactWebhooks), func(_ *Facts, p Fact) bool { return p.Value == None }},
	{aspectTies, 3, get(FactTies), func(_ *Facts, p Fact) bool { return p.Certainty == Unknown }},
}

// shower knows what the cluster of one driver shows of production.
type shower interface {
	// show returns how much of an aspect is covered, 0 to 1, and what is missing of
	// it where that is less than 1. It may make the fact surer than production told
	// by itself, where the driver knows.
	show(aspect string, p *Fact) (cover float64, missing string)
}

// grade computes the fidelity of the scenario to the facts.
func grade(f *Facts, s *scenarios.Scenario, w Want) Fidelity {
	var by shower
	m := mirrored{f, s}
	switch s.Cluster.Driver {
	case scenarios.DriverKops:
		by = kopsCluster{m, w.Kops}
	case scenarios.DriverEKS:
		by = eksCluster{m, w.EKS}
	case scenarios.DriverExisting:
		by = clusterThere{m, w.Existing.Facts}
	default:
		by = localCluster{m, s.Cluster.Driver == scenarios.DriverSim}
	}
	var out Fidelity
	var sum, weights float64
	for _, a := range aspects {
		p := a.fact(f)
		if a.absent != nil && a.absent(f, p) {
			continue
		}
		i := Item{Name: a.name, Weight: a.weight}
		var missing string
		i.Cover, missing = by.show(a.name, &p)
		i.Sureness = p.Certainty
		switch {
		case p.Certainty == Unknown:
			i.Cover, i.Missing = 0, fmt.Sprintf("%s: unknown in production (%s)", a.name, p.Evidence)
		case i.Cover < 1:
			i.Missing = a.name + ": " + missing
		}
		i.Missing = oneLine(i.Missing)
		out.Items = append(out.Items, i)
		sum += i.Weight * i.Cover * sureness[i.Sureness]
		weights += i.Weight
	}
	out.Score = math.Round(100*sum/weights) / 100
	return out
}

// addons are the facts about add-ons.
func (f *Facts) addons() []Fact {
	var all []Fact
	for _, x := range f.Facts {
		if strings.HasPrefix(x.Name, AddonPrefix) {
			all = append(all, x)
		}
	}
	return all
}

// mirrored is what every shower needs: production and its scenario.
type mirrored struct {
	f *Facts
	s *scenarios.Scenario
}

// standIns covers workloads by their share that has a stand-in.
func (m mirrored) standIns() (float64, string) {
	have, all := len(m.s.Workloads), len(m.f.Workloads)
	return part(have, all), fmt.Sprintf("%d of %d have a stand-in", have, all)
}

// workers covers them by the ratio of the numbers.
func (m mirrored) workers(p *Fact) (float64, string) {
	return share(m.s.Cluster.Workers, number(*p)), fmt.Sprintf("%s in production, %d in the mirror", p.Value, m.s.Cluster.Workers)
}

// addonsAmong covers add-ons by the share of those that the mirror has.
func (m mirrored) addonsAmong(has func(name string) bool) (float64, []string) {
	all := m.f.addons()
	var missing []string
	for _, a := range all {
		if name := strings.TrimPrefix(a.Name, AddonPrefix); !has(name) {
			missing = append(missing, strings.TrimSpace(name+" "+a.Value))
		}
	}
	return part(len(all)-len(missing), len(all)), missing
}

func zeroUnless(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// part is have of all; the whole of nothing is covered.
func part(have, all int) float64 {
	if all == 0 {
		return 1
	}
	return float64(have) / float64(all)
}

// share is how much of production's number the mirror's is, or the reverse.
func share(mirror, production int) float64 {
	if production <= 0 || mirror <= 0 {
		return 0
	}
	return float64(min(mirror, production)) / float64(max(mirror, production))
}
