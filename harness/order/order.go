// Package order watches the order in which an upgrade happens: control planes
// before workers, one API server at a time, no kubelet ahead of its API server,
// a quorum of etcd members and a member of the balancer at every instant, and
// every component of the control plane replaced once.
//
// A Monitor is fed with the timeline's events one by one, as they happen or from
// a record; the same events give the same answer either way. It is pure: no
// clock, no client. What could not be seen is told apart from what was in order:
// an event that carries a gap happened at some time within it, and where that
// leaves the order open the rule is undecided.
package order

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Rule names one rule about the order.
type Rule string

// The rules, in the order in which they are reported.
const (
	// Restarts: each component of each control plane changes to the target version
	// once a hop, etcd at most once, and does not restart beyond what that takes.
	Restarts Rule = "restarts"
	// APIServers: where there are several, they are never all unready at once.
	APIServers Rule = "api-servers"
	// Kubelets: a worker's kubelet is never newer than any API server, and a
	// control plane's never newer than its own, which is the one it talks to
	// (https://kubernetes.io/releases/version-skew-policy/).
	Kubelets Rule = "kubelets"
	// PlanesFirst: no worker's upgrade begins before every API server runs its target.
	PlanesFirst Rule = "control-plane-first"
	// Balancer: where the canary has several pods, one is a ready endpoint at every
	// instant.
	Balancer Rule = "balancer"
	// Quorum: more than half of the etcd members run at every instant.
	Quorum Rule = "quorum"
)

// Rules lists all of them.
var Rules = []Rule{Restarts, APIServers, Kubelets, PlanesFirst, Balancer, Quorum}

// Violation is one breach of a rule.
type Violation struct {
	Rule Rule
	// From and To are ns from the run's start: how long it is known to have lasted.
	From, To int64
	Object   string // "node/NAME", "pod/NAMESPACE/NAME", "service/NAMESPACE/NAME" or "api"
	What     string // one sentence without its full stop
}

// Outcome is what is known of a rule.
type Outcome string

// Outcomes.
const (
	Held         Outcome = "held"
	Violated     Outcome = "violated"
	Unknown      Outcome = "unknown"       // it could not be seen whether it held
	NotObserved  Outcome = "not-observed"  // nothing of it was watched
	NotAvailable Outcome = "not-available" // there is nothing that could break it, as with a single API server
)

// Result is one rule at the end.
type Result struct {
	Rule    Rule
	Outcome Outcome
	Explain string // one sentence
	// Samples counts what it rests on: events, restarts, observations of state.
	Samples    int
	Violations []Violation
}

// Options say what is known beside the events.
type Options struct {
	// Probes are the names of the run's probes; API servers are watched by those
	// called api-NODE-new.
	Probes []string
	// Service is the name of the canary's Service.
	Service string
}

// Monitor follows one run. It is not safe for concurrent use.
type Monitor struct {
	o         Options
	planes    map[string]*plane
	names     []string          // of the planes, sorted
	size      int               // how many there were at first
	workers   map[string]string // kubelet version by name
	canaryNS  string
	members   map[string]bool // pods that are the balancer's, NAMESPACE/NAME
	single    bool            // the canary has one pod
	etcd      bool            // etcd members are known
	probed    bool            // every API server has a probe of its own
	upgrading map[string]int64

	blind     bool
	lost      string // why the watch ended, if it did
	seen      []int64
	now       int64
	pending   map[string]*pending
	told      map[string]bool
	violation map[Rule][]Violation
	unknown   map[Rule][]string
	samples   map[Rule]int
	survivors map[string]bool
	gapUntil  int64
	apiAway   int64             // T of the last event that shows an API server away
	done      map[string]string // plane to the target that it finished last
	workersUp int
	rolls     int  // of all workers, by a driver that may not tell of each
	begun     bool // the timeline tells when each node's turn is
	commanded bool // a command of the user's upgrades all nodes
	looked    bool // there is a snapshot from before
	compared  map[[2]string]comparison
}

// plane is one control plane.
type plane struct {
	fresh    bool // it joined while the upgrade ran: nothing is known of its past
	kubelet  string
	versions map[string]string // component to version
	etcdUp   bool
	away     []away
	// Windows in which its components are expected to restart, and how often each
	// did in the present one.
	from, to int64
	restarts map[string]int
	changes  map[string]map[string]int // component, version: how often it changed to it
}

// away is a stretch in which one API server was not ready.
type away struct {
	from, to int64
	open     bool
	hard     bool // it said so itself, or nothing listened; no timeout
}

// Components that a control plane runs as static pods.
var components = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

const (
	second = int64(time.Second)
	// settled is how long after the end of a node's upgrade its static pods may
	// still restart: a kubelet of another minor version makes each anew.
	settled = 60 * second
	// crashes is the number of restarts of one component, while its node is
	// upgraded, from which on it is a crash loop. kubeadm restarts each once, the
	// new kubelet once more, and the controllers end whenever they lose their lease.
	crashes = 6
	// unready is for how long all API servers must surely have been away, by their
	// own word, and timedOut by silence alone.
	unready  = second / 10
	timedOut = second / 2
	// brief is how long a state may look wrong because two watches tell of two
	// changes in another order than that in which they happened.
	brief = 2 * second
	// empty is for how long no endpoint may be ready: one update of a slice can
	// take the last one and bring the next.
	empty = second / 10
)

// New returns a monitor of what follows before. Without a snapshot, which a record
// of somebody else's upgrade may lack, nothing can be said.
func New(before *record.Snapshot, o Options) *Monitor {
	m := &Monitor{
		o: o, planes: map[string]*plane{}, workers: map[string]string{}, members: map[string]bool{}, upgrading: map[string]int64{},
		pending: map[string]*pending{}, told: map[string]bool{}, violation: map[Rule][]Violation{}, unknown: map[Rule][]string{},
		samples: map[Rule]int{}, done: map[string]string{}, apiAway: -settled,
	}
	if before == nil {
		return m
	}
	m.looked = true
	for _, n := range before.Nodes {
		if !n.ControlPlane {
			m.workers[n.Name] = n.KubeletVersion
			continue
		}
		m.names = append(m.names, n.Name)
		p := newPlane()
		p.kubelet, p.etcdUp, p.versions["kube-apiserver"] = n.KubeletVersion, true, before.ServerVersion
		m.planes[n.Name] = p
	}
	slices.Sort(m.names)
	for _, c := range before.Components {
		for _, i := range c.Instances {
			if p := m.planes[i.Node]; p != nil && slices.Contains(components, c.Name) {
				p.versions[c.Name] = i.Version
				m.etcd = m.etcd || c.Name == "etcd"
			}
		}
	}
	for _, c := range before.Canary {
		m.canaryNS, _, _ = strings.Cut(c.Pod, "/")
		if c.Ready {
			m.members[c.Pod] = true
		}
	}
	m.size, m.single = len(m.names), len(before.Canary) == 1
	m.findProbes()
	return m
}

// findProbes notes whether every API server has a probe of its own.
func (m *Monitor) findProbes() {
	m.probed = len(m.names) > 0
	for _, n := range m.names {
		m.probed = m.probed && slices.Contains(m.o.Probes, "api-"+n+"-new")
	}
}

func newPlane() *plane {
	return &plane{versions: map[string]string{}, restarts: map[string]int{}, changes: map[string]map[string]int{}}
}

// Event takes the next event and returns the violations that it shows for the
// first time.
func (m *Monitor) Event(e *timeline.Event) []Violation {
	m.now = max(m.now, e.T)
	before := m.count()
	gap := int64(e.Gap())
	if e.Source == timeline.SourceKube && gap == 0 && e.Kind != timeline.KindWatchBlind {
		m.seen = append(m.seen, e.T)
	}
	switch e.Kind {
	case timeline.KindWatchBlind:
		m.blind = true
	case timeline.KindWatchSeeing:
		m.blind = false
	case timeline.KindProbeLost:
		m.probeLost(e)
	case timeline.KindProbeDown, timeline.KindProbeUp:
		m.probe(e)
	case timeline.KindUpgradeStart, timeline.KindUpgradeEnd:
		m.upgrade(e)
	case timeline.KindRollStart, timeline.KindRollEnd:
		m.roll(e)
	case timeline.KindResumed:
		m.resumed(e)
	case timeline.KindNodeVersion, timeline.KindNodeAdded, timeline.KindNodeRemoved:
		m.node(e)
	case timeline.KindPodScheduled, timeline.KindPodVersion, timeline.KindRestart, timeline.KindPodReady, timeline.KindPodNotReady, timeline.KindPodDeleted:
		m.static(e)
	case timeline.KindEndpointAdded, timeline.KindEndpointRemoved:
		m.endpoint(e, gap)
	}
	m.check(gap)
	return m.since(before)
}

// End is the end of what was watched, at t. It returns the violations that only
// show then.
func (m *Monitor) End(t int64) []Violation {
	m.now = max(m.now, t)
	before := m.count()
	m.check(0)
	return m.since(before)
}

func (m *Monitor) count() map[Rule]int {
	out := map[Rule]int{}
	for r, v := range m.violation {
		out[r] = len(v)
	}
	return out
}

func (m *Monitor) since(before map[Rule]int) []Violation {
	var out []Violation
	for _, r := range Rules {
		out = append(out, m.violation[r][before[r]:]...)
	}
	return out
}

// violate notes a violation once; key tells it from others of its rule.
func (m *Monitor) violate(key string, v Violation) {
	key = string(v.Rule) + " " + key
	if m.told[key] {
		if all := m.violation[v.Rule]; len(all) > 0 && all[len(all)-1].From == v.From {
			all[len(all)-1].To = max(all[len(all)-1].To, v.To) // it goes on
		}
		return
	}
	m.told[key] = true
	m.violation[v.Rule] = append(m.violation[v.Rule], v)
}

func (m *Monitor) doubt(r Rule, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(m.unknown[r], text) {
		m.unknown[r] = append(m.unknown[r], text)
	}
}

// pending is a state that looks wrong and may yet turn out to be the order in
// which two watches told of two changes.
type pending struct {
	from int64
	v    Violation
	key  string
}

// hold begins, keeps or ends the suspicion that v.Rule is broken for key. One
// that lasted for more than tolerance is a violation; one that ends with news
// from a gap that covers its beginning is open.
func (m *Monitor) hold(key string, wrong bool, tolerance, gap int64, v Violation) {
	full := string(v.Rule) + " " + key
	p := m.pending[full]
	switch {
	case wrong && p == nil:
		m.pending[full] = &pending{from: m.now, v: v, key: key}
		return
	case p == nil:
		return
	case !wrong:
		delete(m.pending, full)
		if gap > 0 && m.now-gap <= p.from {
			m.doubt(v.Rule, "%s may have been so %s, within a gap of the watch of %s", p.v.Object, at(p.from), short(gap))
			return
		}
	}
	if m.now-p.from < tolerance || m.blind && wrong {
		return
	}
	p.v.From, p.v.To = p.from, m.now
	m.violate(key, p.v)
}

func at(t int64) string { return "at " + timeline.FormatOffset(time.Duration(t)) }

func short(ns int64) string { return time.Duration(ns).Round(time.Millisecond).String() }
