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
	switch p.Name {
	case FactVersion:
		d.version(s)
		return d
	case FactControlPlanes:
		declared = fmt.Sprint(s.Cluster.ControlPlanes)
	case FactWorkers:
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
		}
	case p.Value == b.Value:
	case declared != "":
		d.Result, d.Why = NotCovered, "the scenario declares "+declared
	case p.Name == FactNetwork && slices.Contains([]string{"flannel", "kindnet"}, p.Value), p.Name == FactRBAC, p.Name == FactKubeProxy && p.Value == "iptables":
		d.Result = Differs
	default:
		d.Result = NotCovered
	}
	return d
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
