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
var Drivers = []string{scenarios.DriverKind, scenarios.DriverSim, scenarios.DriverKops, scenarios.DriverEKS, scenarios.DriverExisting}

// Want says what scenario to make of facts.
type Want struct {
	Name   string
	Driver string // one of Drivers
	// To is the version to upgrade to; empty for the first release of the next
	// minor version, which is a guess.
	To string
	// Workers is the number of workers; 0 for production's, up to MaxWorkers.
	Workers int
	// Image is where the nodes pull the canary, with the drivers kops, eks and
	// existing, which need it.
	Image string
	// Kops, EKS and Existing are what those drivers need, and nil with every other.
	Kops     *scenarios.Kops
	EKS      *scenarios.EKS
	Existing *Existing
}

// Existing is a mirror that is there already.
type Existing struct {
	Kubeconfig, Context string
	// Command upgrades it.
	Command []string
	// Facts are the mirror's own.
	Facts *Facts
}

// MaxWorkers is the number of workers that a mirror has at most unless more are
// asked for: a machine that is too small for its mirror measures itself, and a
// cloud's machines cost money.
var MaxWorkers = map[string]int{scenarios.DriverKind: 10, scenarios.DriverSim: 100, scenarios.DriverKops: 10, scenarios.DriverEKS: 10, scenarios.DriverExisting: 100}

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
	if err := w.check(); err != nil {
		return nil, err
	}
	m := &Mirrored{Scenario: scenarios.Default(), Facts: f, Notes: map[string]string{}}
	s := &m.Scenario
	s.Name, s.Cluster.Driver, s.Canary.Image = w.Name, w.Driver, w.Image
	if err := m.versions(w); err != nil {
		return nil, err
	}
	if w.Driver != scenarios.DriverExisting { // its shape is what it is
		m.shape(w)
	}
	switch w.Driver {
	case scenarios.DriverKops:
		if err := m.kops(w); err != nil {
			return nil, err
		}
	case scenarios.DriverEKS:
		m.eks(w)
	case scenarios.DriverExisting:
		m.existing(w)
	default:
		m.local()
	}
	if w.Driver != scenarios.DriverExisting { // it has its own workloads
		m.standIns()
	}
	m.Fidelity = grade(f, s, w)
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

// check finds what the driver lacks.
func (w *Want) check() error {
	switch {
	case w.Driver == scenarios.DriverKops && (w.Kops == nil || w.Kops.Manifest == ""):
		return fmt.Errorf("the driver %s mirrors a manifest of kops: there is none", w.Driver)
	case w.Driver == scenarios.DriverEKS && w.EKS == nil:
		return fmt.Errorf("the driver %s mirrors a cluster of EKS: none was read", w.Driver)
	case w.Driver == scenarios.DriverExisting && (w.Existing == nil || w.Existing.Facts == nil):
		return fmt.Errorf("the driver %s needs the cluster that is the mirror: none was read", w.Driver)
	}
	return nil
}

// shape sets the numbers of machines.
func (m *Mirrored) shape(w Want) {
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
}

// local chooses the network of a mirror on this machine.
func (m *Mirrored) local() {
	c := &m.Scenario.Cluster
	c.Network = scenarios.NetworkFlannel
	switch plugin := m.Facts.Get(FactNetwork).Value; plugin {
	case "flannel":
	case "kindnet":
		c.Network = scenarios.NetworkDefault
	default:
		m.Notes["cluster.network"] = "in place of production's, which a mirror cannot run"
	}
}

// kops takes everything from the manifest; etcd's members follow from its groups
// of control planes, so their number cannot be changed.
func (m *Mirrored) kops(w Want) error {
	c := &m.Scenario.Cluster
	c.Network, c.Kops = scenarios.NetworkDefault, w.Kops
	if n := number(m.Facts.Get(FactControlPlanes)); n != c.ControlPlanes {
		return fmt.Errorf("production has %d control planes, and a scenario 1 or 3: etcd's members follow from kops' groups of control planes, so a mirror cannot have fewer; use the driver %s or %s", n, scenarios.DriverKind, scenarios.DriverExisting)
	}
	if m.Facts.Get(FactStateStore).Value == w.Kops.StateStore {
		m.Notes["cluster.kops.stateStore"] = "production's own: the mirror is registered beside it, under another name; give another with --state-store"
	}
	return nil
}

// eks leaves the control plane to EKS.
func (m *Mirrored) eks(w Want) {
	c := &m.Scenario.Cluster
	c.Network, c.EKS, c.ControlPlanes = scenarios.NetworkDefault, w.EKS, 1
	delete(m.Notes, "cluster.controlPlanes")
	m.Notes["cluster.eks.subnets"] = "production's own, so that the mirror takes addresses from them"
	if n := len(m.Facts.workerGroups()); n > 1 {
		m.Notes["cluster.eks.instanceTypes"] = fmt.Sprintf("the mirror has one group of nodes in place of production's %d", n)
	}
}

// existing takes the cluster as it is.
func (m *Mirrored) existing(w Want) {
	s := &m.Scenario
	s.Cluster.Kubeconfig, s.Cluster.Context = w.Existing.Kubeconfig, w.Existing.Context
	s.Upgrade.Strategy, s.Upgrade.Command = scenarios.StrategyCommand, w.Existing.Command
	m.Notes["upgrade.command"] = "unknown: name your own"
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
