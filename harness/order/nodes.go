package order

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// upgrade takes the begin and the end of a node's upgrade.
func (m *Monitor) upgrade(e *timeline.Event) {
	name, to := strings.TrimPrefix(e.Subject, "node/"), e.Detail["to"]
	p := m.planes[name]
	m.begun = true
	if e.Subject == "cluster" {
		m.wholeTurn(e, to)
		return
	}
	if what, _, of := strings.Cut(e.Subject, "/"); of && what != "node" {
		return // an add-on or a group of EKS: whose turn it is, its role's roll tells
	}
	switch {
	case e.Kind == timeline.KindUpgradeEnd && p != nil:
		p.to = e.T + settled
		if e.Detail["error"] == "" {
			m.finish(name, to)
		}
		delete(m.upgrading, name)
	case e.Kind == timeline.KindUpgradeEnd:
		delete(m.upgrading, name)
	case p != nil:
		p.from, p.to = e.T, 1<<62
		clear(p.restarts)
		m.upgrading[name] = e.T
	default:
		m.workersUp++
		m.samples[PlanesFirst]++
		m.upgrading[name] = e.T
		m.workerBegins(name, to)
	}
}

// wholeTurn takes the begin and the end of an upgrade of all nodes by a command of
// the user's: it is every node's turn all the while, and a worker's own begins at
// the latest when its kubelet changes.
func (m *Monitor) wholeTurn(e *timeline.Event, to string) {
	m.commanded = e.Kind == timeline.KindUpgradeStart
	if m.commanded {
		m.planesBegin(e)
		return
	}
	m.planesEnd(e, to)
}

func (m *Monitor) planesBegin(e *timeline.Event) {
	for _, n := range m.names {
		p := m.planes[n]
		p.from, p.to = e.T, 1<<62
		clear(p.restarts)
	}
}

func (m *Monitor) planesEnd(e *timeline.Event, to string) {
	for _, n := range m.names {
		m.planes[n].to = e.T + settled
		if e.Detail["error"] == "" {
			m.finish(n, to)
		}
	}
}

// workerBegins checks that the control planes are done when a worker's turn comes.
func (m *Monitor) workerBegins(name, to string) {
	for _, n := range m.names {
		api := m.planes[n].versions["kube-apiserver"]
		behind, ok := newer(to, api)
		key := name + " " + to + " " + n
		switch {
		case api == "":
		case !ok:
			m.doubt(PlanesFirst, "whether %s of worker %s is above %s of the API server on %s cannot be read", to, name, api, n)
		case behind:
			m.hold(key, true, brief, 0, Violation{Rule: PlanesFirst, Object: "node/" + name,
				What: fmt.Sprintf("the upgrade of worker %s to %s began while the API server on %s ran %s", name, to, n, api)})
		}
		if _, under := m.upgrading[n]; under {
			m.violate(key+" under way", Violation{Rule: PlanesFirst, From: m.now, To: m.now, Object: "node/" + name,
				What: fmt.Sprintf("the upgrade of worker %s to %s began while that of control plane %s was under way", name, to, n)})
		}
	}
}

// roll takes the begin and the end of a roll that the driver carries out itself:
// it is the turn of all nodes of the role, and which of them it takes when is its
// own business.
func (m *Monitor) roll(e *timeline.Event) {
	to, end := e.Detail["to"], e.Kind == timeline.KindRollEnd
	m.begun = true
	switch {
	case e.Subject == "role/control-plane" && end:
		m.planesEnd(e, to)
	case e.Subject == "role/control-plane":
		m.planesBegin(e)
	case !end:
		m.rolls++
		m.samples[PlanesFirst]++
		m.workerBegins(e.Subject, to)
	}
}

func (m *Monitor) finish(plane, to string) {
	m.done[plane] = to
	m.samples[Restarts]++
}

// resumed forgets the versions that were known: the watch of a run that goes on
// after an interruption begins anew, and what changed meanwhile made no event.
func (m *Monitor) resumed(e *timeline.Event) {
	for _, p := range m.planes {
		clear(p.versions)
		p.kubelet, p.etcdUp = "", true
	}
	for w := range m.workers {
		m.workers[w] = ""
	}
	clear(m.pending)
	m.blind = false
	for _, r := range []Rule{Restarts, Kubelets, Balancer} {
		m.doubt(r, "the run was interrupted before %s, and what happened meanwhile was not seen", timeline.FormatOffset(time.Duration(e.T)))
	}
}

// node takes what is told of kubelets.
func (m *Monitor) node(e *timeline.Event) {
	name := strings.TrimPrefix(e.Subject, "node/")
	switch e.Kind {
	case timeline.KindNodeRemoved:
		delete(m.workers, name)
		m.leave(name)
		return
	case timeline.KindNodeAdded:
		if e.Detail["controlPlane"] == "true" && m.planes[name] == nil {
			m.join(name, e)
		}
		m.kubelet(name, e.Detail["version"])
	default:
		if c := e.Detail["component"]; c != "" && c != "kubelet" {
			return
		}
		m.kubelet(name, e.Detail["to"])
	}
	m.samples[Kubelets]++
}

func (m *Monitor) kubelet(node, version string) {
	if p := m.planes[node]; p != nil {
		p.kubelet = version
		return
	}
	if m.commanded && version != "" && version != m.workers[node] {
		m.workersUp++
		m.samples[PlanesFirst]++
		m.workerBegins(node, version)
	}
	m.workers[node] = version
}

// join takes a control plane in that came in the place of another.
func (m *Monitor) join(name string, e *timeline.Event) {
	p := newPlane()
	p.fresh, p.etcdUp, p.from, p.to = true, false, e.T, 1<<62
	m.planes[name] = p
	m.names = append(m.names, name)
	slices.Sort(m.names)
	m.findProbes()
}

func (m *Monitor) leave(name string) {
	if m.planes[name] == nil {
		return
	}
	delete(m.planes, name)
	m.names = slices.DeleteFunc(m.names, func(n string) bool { return n == name })
	m.findProbes()
}

// static takes what is told of a static pod of a control plane.
func (m *Monitor) static(e *timeline.Event) {
	pod, ok := strings.CutPrefix(e.Subject, "pod/kube-system/")
	if !ok {
		return
	}
	for _, n := range m.names {
		c, ok := strings.CutSuffix(pod, "-"+n)
		if !ok || !slices.Contains(components, c) {
			continue
		}
		p := m.planes[n]
		switch e.Kind {
		case timeline.KindPodScheduled:
			if v := e.Detail["version"]; v != "" && p.versions[c] == "" {
				p.versions[c] = v
			}
		case timeline.KindPodVersion:
			m.changed(p, n, c, e)
		case timeline.KindRestart:
			m.restarted(p, n, c, e)
		case timeline.KindPodReady:
			if c == "etcd" {
				p.etcdUp = true
				m.samples[Quorum]++
			}
		case timeline.KindPodNotReady, timeline.KindPodDeleted:
			if c == "etcd" {
				p.etcdUp = false
				m.samples[Quorum]++
			}
			m.apiAway = m.now
		}
		return
	}
}

func (m *Monitor) changed(p *plane, node, c string, e *timeline.Event) {
	to := e.Detail["to"]
	p.versions[c] = to
	if p.changes[c] == nil {
		p.changes[c] = map[string]int{}
	}
	p.changes[c][to]++
	m.samples[Restarts]++
	if m.begun && !p.fresh && (p.from == 0 || e.T-int64(e.Gap()) > p.to || e.T < p.from) {
		m.violate(fmt.Sprintf("%s %s %s turn", node, c, to), Violation{Rule: Restarts, From: e.T, To: e.T, Object: e.Subject,
			What: fmt.Sprintf("%s on %s changed to %s %s, when it was not that node's turn", c, node, to, at(e.T))})
	}
	if n := p.changes[c][to]; n > 1 {
		m.violate(fmt.Sprintf("%s %s %s", node, c, to), Violation{Rule: Restarts, From: e.T, To: e.T, Object: e.Subject,
			What: fmt.Sprintf("%s on %s changed to %s for the %s time: something put the old version back meanwhile", c, node, to, ordinal(n))})
	}
}

// restarted judges one restart of a component. In the window of its node's
// upgrade some are part of it. The controllers end themselves when they lose
// their lease, which they do when the API is away.
func (m *Monitor) restarted(p *plane, node, c string, e *timeline.Event) {
	m.samples[Restarts]++
	if p.from > 0 && e.T >= p.from && e.T <= p.to {
		p.restarts[c]++
		if p.restarts[c] == crashes {
			m.violate(fmt.Sprintf("%s %s loop %d", node, c, p.from), Violation{Rule: Restarts, From: p.from, To: e.T, Object: e.Subject,
				What: fmt.Sprintf("%s on %s restarted %d times while its node was upgraded%s", c, node, crashes, why(e))})
		}
		return
	}
	if p.fresh || strings.HasPrefix(c, "kube-") && c != "kube-apiserver" && (m.anyAway() || m.now-m.apiAway < settled) {
		return
	}
	m.violate(fmt.Sprintf("%s %s %d", node, c, e.T), Violation{Rule: Restarts, From: e.T, To: e.T, Object: e.Subject,
		What: fmt.Sprintf("%s on %s restarted %s, when nothing was done to that node%s", c, node, at(e.T), why(e))})
}

func why(e *timeline.Event) string {
	if r := e.Detail["reason"]; r != "" {
		return fmt.Sprintf(" (%s, exit code %s)", r, e.Detail["exitCode"])
	}
	return ""
}

func ordinal(n int) string {
	switch n {
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}
