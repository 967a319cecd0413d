package mirror

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// Results of comparing one fact.
const (
	Same       = "same"
	Differs    = "differs"
	NotCovered = "not covered" // the scenario or the driver cannot have what production has
	NotKnown   = "not known"   // on at least one side
)

// Difference is one fact of production beside the mirror's.
type Difference struct {
	Fact       string `json:"fact"`
	Production string `json:"production"`
	Mirror     string `json:"mirror"`
	Result     string `json:"result"`
	Why        string `json:"why,omitempty"`
}

// Compare holds the mirror that was built against production, in the order of
// production's facts and then of the scenario's stand-ins.
func Compare(production, built *Facts, s *scenarios.Scenario) []Difference {
	var out []Difference
	for _, p := range production.Facts {
		out = append(out, compare(p, built.Get(p.Name), s))
	}
	for _, w := range s.Workloads {
		out = append(out, compareStandIn(w, built))
	}
	return out
}

func compare(p, b Fact, s *scenarios.Scenario) Difference {
	d := Difference{Fact: p.Name, Production: p.Value, Mirror: b.Value, Result: Same}
	// Facts that a scenario declares must be there as it declares them.
	var declared string
	driver := s.Cluster.Driver
	switch {
	case p.Name == FactVersion:
		d.version(s)
		return d
	case driver == scenarios.DriverExisting: // its shape is what it is
	case p.Name == FactControlPlanes && driver != scenarios.DriverEKS:
		declared = fmt.Sprint(s.Cluster.ControlPlanes)
	case p.Name == FactWorkers:
		declared = fmt.Sprint(s.Cluster.Workers)
	}
	switch {
	case declared != "" && b.Value != declared:
		d.Result, d.Why = Differs, "the scenario declares "+declared
	case p.Certainty == Unknown || b.Certainty == Unknown:
		d.Result = NotKnown
		if b.Certainty == Unknown {
			d.Why = b.Evidence
		} else {
			d.Why = p.Evidence
		}
		if strings.HasPrefix(p.Name, AddonPrefix) && p.Certainty != Unknown {
			d.Result, d.Why = NotCovered, "the mirror has no such add-on"
			if brings(p, s) {
				d.Result = Differs
			}
		}
	case p.Value == b.Value:
	case declared != "":
		d.Result, d.Why = NotCovered, "the scenario declares "+declared
	case couldBe(p, b, driver):
		d.Result = Differs
	case slices.Equal(sorted(counted(p.Value)), sorted(counted(b.Value))) && len(counted(p.Value)) > 0:
		d.Result, d.Why = NotCovered, "the same, in other numbers"
	default:
		d.Result = NotCovered
	}
	return d
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

// couldBe tells whether a mirror of the driver could have had what production
// has, so that another value is a mistake of somebody's.
func couldBe(p, b Fact, driver string) bool {
	foreign := slices.ContainsFunc(counted(b.Value), func(x string) bool { return !slices.Contains(counted(p.Value), x) })
	switch driver {
	case scenarios.DriverKops:
		switch p.Name {
		case FactInstanceTypes, FactZones:
			return foreign
		}
		return slices.Contains(inManifest, p.Name)
	case scenarios.DriverEKS:
		switch p.Name {
		case FactInstanceTypes:
			return foreign
		case FactNetwork:
			return p.Value == "aws-node"
		}
	case scenarios.DriverExisting:
		return slices.Contains(inManifest, p.Name)
	default:
		if p.Name == FactNetwork {
			return p.Value == "flannel" || p.Value == "kindnet"
		}
	}
	return p.Name == FactRBAC || p.Name == FactKubeProxy && p.Value == "iptables"
}

// inManifest are facts that follow from a cluster's definition.
var inManifest = []string{FactNetwork, FactNetworkMode, FactKubeProxy, FactRBAC, FactAPIGates, FactKubeletGates}

// brings tells whether the driver installs the add-on by itself.
func brings(addon Fact, s *scenarios.Scenario) bool {
	name := strings.TrimPrefix(addon.Name, AddonPrefix)
	switch {
	case s.Cluster.Driver == scenarios.DriverKops:
		return addon.By == ByKops
	case s.Cluster.Driver != scenarios.DriverEKS || s.Cluster.EKS == nil:
		return false
	case slices.Contains(alwaysInEKS, name):
		return true
	}
	for a := range s.Cluster.EKS.Addons {
		if a == name || slices.Contains(eksWorkloads[a], name) {
			return true
		}
	}
	return false
}

// version compares releases; a mirror that was upgraded already is at the target.
func (d *Difference) version(s *scenarios.Scenario) {
	p, _ := upstream(d.Production)
	b, _ := upstream(d.Mirror)
	switch b {
	case p:
	case s.Versions.To:
		d.Result, d.Why = NotCovered, "the mirror was upgraded already"
	default:
		if (s.Cluster.Driver == scenarios.DriverEKS || s.Cluster.Driver == scenarios.DriverExisting) && alike(p, b) > 0 {
			d.Result, d.Why = NotCovered, "another patch version, which its provider chose"
			return
		}
		d.Result = Differs
	}
}

func compareStandIn(w scenarios.Workload, built *Facts) Difference {
	namespace := w.Namespace
	if namespace == "" {
		namespace = scenarios.WorkloadNamespace
	}
	d := Difference{Fact: "stand-in " + namespace + "/" + w.Name, Result: Same}
	d.Production = guard(w.Replicas, nil, nil)
	if b := w.PodDisruptionBudget; b != nil {
		d.Production = guard(w.Replicas, b.MaxUnavailable, b.MinAvailable)
	}
	i := slices.IndexFunc(built.Workloads, func(x Workload) bool { return x.Namespace == namespace && x.Name == w.Name })
	switch {
	case i >= 0:
		x := built.Workloads[i]
		d.Mirror = guard(x.Replicas, x.MaxUnavailable, x.MinAvailable)
		if d.Mirror != d.Production {
			d.Result = Differs
		}
	case w.PodDisruptionBudget == nil:
		d.Result, d.Why = NotKnown, "only workloads under a budget are read"
	default:
		d.Result, d.Why = Differs, "the mirror has none under a budget by that name"
	}
	return d
}

func guard(replicas int, maxUnavailable, minAvailable *int) string {
	out := count(replicas, "replica")
	if maxUnavailable != nil {
		out += fmt.Sprintf(", maxUnavailable %d", *maxUnavailable)
	}
	if minAvailable != nil {
		out += fmt.Sprintf(", minAvailable %d", *minAvailable)
	}
	return out
}
