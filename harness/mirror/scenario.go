package mirror

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// Drivers that a mirror can be built with.
var Drivers = []string{scenarios.DriverKind, scenarios.DriverSim}

// Want says what scenario to make of facts.
type Want struct {
	Name   string
	Driver string // one of Drivers
	// To is the version to upgrade to; empty for the first release of the next
	// minor version, which is a guess.
	To string
	// Workers is the number of workers; 0 for production's, up to MaxWorkers.
	Workers int
}

// MaxWorkers is the number of workers that a mirror has at most unless more are
// asked for: a machine that is too small for its mirror measures itself.
var MaxWorkers = map[string]int{scenarios.DriverKind: 10, scenarios.DriverSim: 100}

// Bounds of the stand-ins: the largest come first, and what is beyond is left
// out and counted.
const (
	maxStandIns      = 20
	maxPodsPerWorker = 20
)

// Mirrored is a scenario made of facts.
type Mirrored struct {
	Scenario scenarios.Scenario
	Fidelity Fidelity
	Facts    *Facts
	// Notes are remarks on fields, by the path below the scenario: why a value is
	// not simply the fact's.
	Notes map[string]string
}

// Make returns the scenario that mirrors the facts, whose digest it is given.
func Make(f *Facts, digest string, w Want) (*Mirrored, error) {
	if !slices.Contains(Drivers, w.Driver) {
		return nil, fmt.Errorf("driver %q is unknown; accepted: %s", w.Driver, strings.Join(Drivers, ", "))
	}
	m := &Mirrored{Scenario: scenarios.Default(), Facts: f, Notes: map[string]string{}}
	s := &m.Scenario
	s.Name, s.Cluster.Driver = w.Name, w.Driver
	if err := m.versions(w); err != nil {
		return nil, err
	}
	m.cluster(w)
	m.standIns()
	m.Fidelity = grade(f, s)
	s.Mirror = &scenarios.Mirror{Facts: digest, Fidelity: m.Fidelity.Score, Uncovered: m.Fidelity.Uncovered()}
	return m, nil
}

// upstreamVersion is a release of Kubernetes, and what a vendor put behind it.
var upstreamVersion = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)(.*)$`)

// upstream splits v1.34.4-eks-1a2b into v1.34.4 and -eks-1a2b.
func upstream(v string) (plain, vendor string) {
	p := upstreamVersion.FindStringSubmatch(v)
	if p == nil {
		return v, ""
	}
	return fmt.Sprintf("v%s.%s.%s", p[1], p[2], p[3]), p[4]
}

func minorOf(v string) (major, minor int, ok bool) {
	p := upstreamVersion.FindStringSubmatch(v)
	if p == nil {
		return 0, 0, false
	}
	major, _ = strconv.Atoi(p[1])
	minor, _ = strconv.Atoi(p[2])
	return major, minor, true
}

func (m *Mirrored) versions(w Want) error {
	v := &m.Scenario.Versions
	got := m.Facts.Get(FactVersion).Value
	var vendor string
	v.From, vendor = upstream(got)
	major, minor, ok := minorOf(v.From)
	if !ok {
		return fmt.Errorf("the cluster says that its version is %q: want the form v1.35.4", got)
	}
	if vendor != "" {
		m.Notes["versions.from"] = fmt.Sprintf("production runs the build %s of a vendor", got)
	}
	if w.To == "" {
		v.To = fmt.Sprintf("v%d.%d.0", major, minor+1)
		m.Notes["versions.to"] = "unknown: a guess, for --to named none"
		return nil
	}
	v.To = w.To
	if !strings.HasPrefix(v.To, "v") {
		v.To = "v" + v.To
	}
	toMajor, toMinor, ok := minorOf(v.To)
	if !ok {
		return fmt.Errorf("--to %q: want the form v1.35.4", w.To)
	}
	if toMajor != major || toMinor < minor {
		return fmt.Errorf("--to %s is older than production's %s, and a control plane cannot go back: name a newer one", v.To, v.From)
	}
	for n := minor + 1; n < toMinor; n++ {
		v.Via = append(v.Via, fmt.Sprintf("v%d.%d.0", major, n))
		m.Notes["versions.via"] = "unknown: one minor version at a time, and the patch versions are a guess"
	}
	return nil
}

func (m *Mirrored) cluster(w Want) {
	c := &m.Scenario.Cluster
	planes := m.Facts.Get(FactControlPlanes)
	switch n := number(planes); {
	case planes.Certainty == Unknown:
		c.ControlPlanes = 1
		if slices.Contains(managed, m.Facts.Get(FactPlatform).Value) {
			c.ControlPlanes = 3
			m.Notes["cluster.controlPlanes"] = "a provider's control plane has several API servers"
		}
	case n <= 1:
		c.ControlPlanes = 1
	default:
		c.ControlPlanes = 3
		if n != 3 {
			m.Notes["cluster.controlPlanes"] = "a mirror has 1 or 3"
		}
	}
	production := number(m.Facts.Get(FactWorkers))
	c.Workers = w.Workers
	if c.Workers == 0 {
		c.Workers = max(1, min(production, MaxWorkers[w.Driver]))
	}
	if c.Workers < production {
		m.Notes["cluster.workers"] = "fewer than in production, see --workers"
	}
	c.Network = scenarios.NetworkFlannel
	switch plugin := m.Facts.Get(FactNetwork).Value; plugin {
	case "flannel":
	case "kindnet":
		c.Network = scenarios.NetworkDefault
	default:
		m.Notes["cluster.network"] = "in place of production's, which a mirror cannot run"
	}
}

func (m *Mirrored) standIns() {
	s := &m.Scenario
	room := maxPodsPerWorker * s.Cluster.Workers
	seen := map[string]bool{}
	left := 0
	for _, w := range m.Facts.Workloads {
		name := dnsLabel(w.Name)
		if len(s.Workloads) == maxStandIns || w.Replicas > room || slices.Contains(scenarios.SystemNamespaces, w.Namespace) || seen[w.Namespace+"/"+name] ||
			len(utilvalidation.IsDNS1123Label(name)) > 0 {
			left++
			continue
		}
		room -= w.Replicas
		seen[w.Namespace+"/"+name] = true
		m.Notes[fmt.Sprintf("workloads[%d]", len(s.Workloads))] = w.Evidence
		// Requests stay out: a node that is a container counts this machine's CPUs
		// as its own, so they would fit or not for reasons that are not production's.
		s.Workloads = append(s.Workloads, scenarios.Workload{
			Namespace: w.Namespace, Name: name, Replicas: w.Replicas,
			PodDisruptionBudget: &scenarios.Budget{MaxUnavailable: w.MaxUnavailable, MinAvailable: w.MinAvailable},
		})
	}
	if left > 0 {
		m.Notes["workloads"] = fmt.Sprintf("%d more are left out: at most %d stand-ins and %d pods a worker", left, maxStandIns, maxPodsPerWorker)
	}
}

// dnsLabel makes a name of an object fit for a label's value.
func dnsLabel(name string) string {
	name = strings.ReplaceAll(name, ".", "-")
	return strings.TrimRight(name[:min(len(name), 63)], "-")
}

func number(f Fact) int {
	n, err := strconv.Atoi(f.Value)
	if err != nil {
		return 0
	}
	return n
}
