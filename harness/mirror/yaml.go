package mirror

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// YAML returns the scenario file, in which comments say how sure each value is
// and on what evidence, and list the facts that a scenario has no field for.
func (m *Mirrored) YAML() []byte {
	w := &writer{m: m}
	s := &m.Scenario
	w.line(0, "# Written by rehearse mirror, %s, from a cluster that was only read.", m.Facts.Read.Format("2006-01-02 15:04 MST"))
	w.line(0, "# observed: an API answered so; inferred: it follows from what was observed;")
	w.line(0, "# unknown: nothing told, and the value is a guess or a default.")
	w.line(0, "apiVersion: %s", scenarios.APIVersion)
	w.line(0, "scenarios:")
	w.line(0, "- name: %s", quoted(s.Name))
	w.line(1, "cluster:")
	w.line(2, "driver: %s", s.Cluster.Driver)
	w.cluster(&s.Cluster)
	w.line(1, "versions:")
	w.field(2, "from", s.Versions.From, FactVersion, "versions.from")
	if len(s.Versions.Via) > 0 {
		w.note(2, "versions.via")
		w.line(2, "via: [%s]", strings.Join(s.Versions.Via, ", "))
	}
	w.note(2, "versions.to")
	w.line(2, "to: %s", s.Versions.To)
	if s.Canary.Image != "" {
		w.line(1, "canary:")
		w.line(2, "image: %s", quoted(s.Canary.Image))
	}
	if len(s.Upgrade.Command) > 0 {
		w.line(1, "upgrade:")
		w.line(2, "strategy: %s", s.Upgrade.Strategy)
		w.note(2, "upgrade.command")
		w.line(2, "command: %s", flow(s.Upgrade.Command))
	}
	w.workloads()
	w.line(1, "mirror:")
	w.line(2, "facts: %s", s.Mirror.Facts)
	w.line(2, "fidelity: %v", s.Mirror.Fidelity)
	if len(s.Mirror.Uncovered) > 0 {
		w.line(2, "uncovered:")
	}
	for _, u := range s.Mirror.Uncovered {
		w.line(2, "- %s", quoted(u))
	}
	w.line(0, "")
	w.line(0, "# What else is known of production:")
	for _, f := range m.Facts.Facts {
		switch f.Name {
		case FactControlPlanes, FactWorkers, FactNetwork, FactVersion:
		default:
			w.line(0, "# %s", f)
		}
	}
	return []byte(w.String())
}

// String says a fact in one line.
func (f Fact) String() string {
	if f.Certainty == Unknown {
		return fmt.Sprintf("%s: unknown (%s)", oneLine(f.Name), oneLine(f.Evidence))
	}
	return fmt.Sprintf("%s: %s %s (%s)", oneLine(f.Name), f.Certainty, oneLine(f.Value), oneLine(f.Evidence))
}

type writer struct {
	strings.Builder
	m *Mirrored
}

func (w *writer) line(depth int, format string, args ...any) {
	fmt.Fprintf(w, strings.Repeat("  ", depth)+format+"\n", args...)
}

// field writes a value below a comment with the fact that it comes from.
func (w *writer) field(depth int, key, value, fact, path string) {
	f := w.m.Facts.Get(fact)
	comment := fmt.Sprintf("# %s %s (%s)", f.Certainty, oneLine(f.Value), oneLine(f.Evidence))
	if f.Certainty == Unknown {
		comment = fmt.Sprintf("# unknown (%s)", oneLine(f.Evidence))
	}
	if n := w.m.Notes[path]; n != "" {
		comment += "; " + oneLine(n)
	}
	w.line(depth, "%s", comment)
	w.line(depth, "%s: %s", key, value)
}

func (w *writer) note(depth int, path string) {
	if n := w.m.Notes[path]; n != "" {
		w.line(depth, "# %s", oneLine(n))
	}
}

// cluster writes the shape that the driver asks for.
func (w *writer) cluster(c *scenarios.Cluster) {
	planes := func() {
		w.field(2, "controlPlanes", fmt.Sprint(c.ControlPlanes), FactControlPlanes, "cluster.controlPlanes")
	}
	workers := func() { w.field(2, "workers", fmt.Sprint(c.Workers), FactWorkers, "cluster.workers") }
	switch c.Driver {
	case scenarios.DriverExisting:
		w.line(2, "kubeconfig: %s", quoted(c.Kubeconfig))
		if c.Context != "" {
			w.line(2, "context: %s", quoted(c.Context))
		}
	case scenarios.DriverKops:
		planes()
		workers()
		w.line(2, "kops:")
		w.field(3, "manifest", quoted(c.Kops.Manifest), FactSpecVersion, "cluster.kops.manifest")
		w.note(3, "cluster.kops.stateStore")
		w.line(3, "stateStore: %s", quoted(c.Kops.StateStore))
		if c.Kops.Path != "" {
			w.line(3, "path: %s", quoted(c.Kops.Path))
		}
	case scenarios.DriverEKS:
		workers()
		w.line(2, "eks:")
		w.eks(c.EKS)
	default:
		planes()
		workers()
		w.field(2, "network", c.Network, FactNetwork, "cluster.network")
	}
}

func (w *writer) eks(e *scenarios.EKS) {
	w.line(3, "region: %s", quoted(e.Region))
	if e.Profile != "" {
		w.line(3, "profile: %s", quoted(e.Profile))
	}
	w.field(3, "subnets", flow(e.Subnets), FactSubnets, "cluster.eks.subnets")
	w.field(3, "clusterRole", quoted(e.ClusterRole), FactRoles, "cluster.eks.clusterRole")
	w.line(3, "nodeRole: %s", quoted(e.NodeRole))
	if len(e.InstanceTypes) > 0 {
		w.field(3, "instanceTypes", flow(e.InstanceTypes), FactInstanceTypes, "cluster.eks.instanceTypes")
	}
	if e.AMIType != "" {
		w.line(3, "amiType: %s", e.AMIType)
	}
	if len(e.Addons) > 0 {
		w.line(3, "addons:")
	}
	for _, name := range slices.Sorted(maps.Keys(e.Addons)) {
		w.field(4, quoted(name), quoted(e.Addons[name]), EKSAddonPrefix+name, "cluster.eks.addons")
	}
}

// flow is a list of YAML in one line.
func flow(all []string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = quoted(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func (w *writer) workloads() {
	list := w.m.Scenario.Workloads
	if len(list) == 0 {
		return
	}
	w.note(1, "workloads")
	w.line(1, "workloads:")
	for i, x := range list {
		w.line(1, "# observed (%s)", oneLine(w.m.Notes[fmt.Sprintf("workloads[%d]", i)]))
		budget := ""
		if b := x.PodDisruptionBudget; b != nil && b.MaxUnavailable != nil {
			budget = fmt.Sprintf(", podDisruptionBudget: {maxUnavailable: %d}", *b.MaxUnavailable)
		} else if b != nil && b.MinAvailable != nil {
			budget = fmt.Sprintf(", podDisruptionBudget: {minAvailable: %d}", *b.MinAvailable)
		}
		w.line(1, "- {namespace: %s, name: %s, replicas: %d%s}", quoted(x.Namespace), quoted(x.Name), x.Replicas, budget)
	}
}

// quoted is a string of YAML that means exactly s: JSON's are.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// oneLine keeps a text of the cluster's inside a comment.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
