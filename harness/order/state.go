package order

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// plainly are the classes of failure that say that a server is not ready, other
// than a timeout, which a busy machine gives as well.
var plainly = []string{"refused", "reset", "http-5xx", "truncated", "unreachable"}

// probe takes the state of an API server as its own probe sees it.
func (m *Monitor) probe(e *timeline.Event) {
	if strings.HasPrefix(e.Subject, "probe/api-") {
		m.apiAway = m.now
	}
	node, ok := strings.CutPrefix(e.Subject, "probe/api-")
	if !ok {
		return
	}
	node, ok = strings.CutSuffix(node, "-new")
	p := m.planes[node]
	if !ok || p == nil {
		return
	}
	m.samples[APIServers]++
	if e.Kind == timeline.KindProbeDown {
		p.away = append(p.away, away{from: e.T, open: true, hard: slices.Contains(plainly, e.Detail["class"])})
		return
	}
	if n := len(p.away); n > 0 && p.away[n-1].open {
		a := &p.away[n-1]
		sure, err := time.ParseDuration(e.Detail["atLeast"])
		if err != nil {
			sure = 0
		}
		a.open, a.to = false, a.from+int64(sure)
	}
}

// anyAway reports whether a probe of an API server fails now.
func (m *Monitor) anyAway() bool {
	for _, p := range m.planes {
		if n := len(p.away); n > 0 && p.away[n-1].open {
			return true
		}
	}
	return false
}

// probeLost takes the end of an observer.
func (m *Monitor) probeLost(e *timeline.Event) {
	name := strings.TrimPrefix(e.Subject, "probe/")
	if name == "watch" {
		m.lost = e.Detail["reason"]
		return
	}
	if node, ok := strings.CutSuffix(strings.TrimPrefix(name, "api-"), "-new"); ok && m.planes[node] != nil {
		m.doubt(APIServers, "the probe of the API server on %s died %s", node, at(e.T))
	}
}

// allAway returns the stretches in which every API server was surely away, from
// the probes, and for each whether all said so plainly.
func (m *Monitor) allAway() []away {
	if !m.probed || len(m.names) == 0 {
		return nil
	}
	var starts []int64
	for _, p := range m.planes {
		for _, a := range p.away {
			starts = append(starts, a.from)
		}
	}
	slices.Sort(starts)
	var out []away
	for _, t := range slices.Compact(starts) {
		x := away{from: t, to: 1 << 62, hard: true}
		for _, n := range m.names {
			i := slices.IndexFunc(m.planes[n].away, func(a away) bool { return a.from <= t && t <= m.endOf(a) })
			if i < 0 {
				x.to = 0
				break
			}
			a := m.planes[n].away[i]
			x.to, x.hard, x.open = min(x.to, m.endOf(a)), x.hard && a.hard, x.open || a.open
		}
		if least := map[bool]int64{true: unready, false: timedOut}[x.hard]; x.to-x.from >= least {
			out = append(out, x)
		}
	}
	return out
}

func (m *Monitor) endOf(a away) int64 {
	if a.open {
		return m.now
	}
	return a.to
}

// endpoint takes a member of the canary's balancer that comes or goes.
func (m *Monitor) endpoint(e *timeline.Event, gap int64) {
	pod := e.Detail["pod"]
	ns, _, _ := strings.Cut(pod, "/")
	if m.canaryNS == "" || ns != m.canaryNS || e.Detail["service"] != m.o.Service {
		return
	}
	if m.samples[Balancer]++; m.single {
		return
	}
	if gap > 0 && e.T > m.gapUntil {
		m.survivors = maps.Clone(m.members)
		m.gapUntil = e.T + second
	}
	if e.Kind == timeline.KindEndpointAdded {
		m.members[pod] = true
		return
	}
	delete(m.members, pod)
	if gap > 0 && m.survivors[pod] {
		if delete(m.survivors, pod); len(m.survivors) == 0 {
			m.doubt(Balancer, "every member was replaced within a gap of the watch of %s %s", short(gap), at(e.T))
		}
	}
}

// check looks at the state as a whole, after each event.
func (m *Monitor) check(gap int64) {
	m.checkKubelets(gap)
	m.checkPlanesFirst(gap)
	if m.canaryNS != "" && !m.single {
		m.hold("empty", len(m.members) == 0, empty, 0, Violation{Rule: Balancer, Object: "service/" + m.canaryNS + "/" + m.o.Service,
			What: "the canary's balancer had no ready member"})
		if len(m.members) > 0 {
			delete(m.told, string(Balancer)+" empty") // the next time is another
		}
	}
	m.checkAPIServers()
	m.checkQuorum()
}

func (m *Monitor) checkAPIServers() {
	if len(m.names) < 2 {
		return
	}
	for _, x := range m.allAway() {
		if x.hard {
			m.violate(fmt.Sprint(x.from), Violation{Rule: APIServers, From: x.from, To: x.to, Object: "api",
				What: fmt.Sprintf("all %d API servers were unready together, for at least %s %s", len(m.names), short(x.to-x.from), at(x.from))})
		}
	}
}

// checkKubelets compares each kubelet with the API servers that it may talk to. It
// is asked at every event of the run, for every node.
func (m *Monitor) checkKubelets(gap int64) {
	compare := func(node, kubelet, plane string) {
		api := m.planes[plane].versions["kube-apiserver"]
		if kubelet == "" || api == "" {
			return // not known yet, or no longer
		}
		above, ok := m.newer(kubelet, api)
		if !ok {
			m.doubt(Kubelets, "versions %q of the kubelet on %s and %q of the API server on %s cannot be compared", kubelet, node, api, plane)
			return
		}
		v := Violation{Rule: Kubelets, Object: "node/" + node}
		if above {
			v.What = fmt.Sprintf("the kubelet of %s ran %s while the API server on %s ran %s", node, kubelet, plane, api)
		}
		m.hold(node+" "+kubelet, above, brief, gap, v)
	}
	oldest := "" // the plane whose API server is
	for _, n := range m.names {
		compare(n, m.planes[n].kubelet, n)
		if oldest == "" {
			oldest = n
		} else if above, _ := m.newer(m.planes[oldest].versions["kube-apiserver"], m.planes[n].versions["kube-apiserver"]); above {
			oldest = n
		}
	}
	if oldest == "" {
		return
	}
	for _, w := range slices.Sorted(maps.Keys(m.workers)) {
		compare(w, m.workers[w], oldest)
	}
}

// checkPlanesFirst ends the suspicion against a worker where news of an API
// server's version came late.
func (m *Monitor) checkPlanesFirst(gap int64) {
	for full, p := range m.pending {
		key, ok := strings.CutPrefix(full, string(PlanesFirst)+" ")
		if !ok {
			continue
		}
		parts := strings.Fields(key)
		if len(parts) != 3 {
			continue
		}
		behind, _ := newer(parts[1], m.planes[parts[2]].versions["kube-apiserver"])
		m.hold(key, behind, brief, gap, p.v)
	}
}

// checkQuorum: the members that the watch saw unready are lost to the quorum
// only while no API server answers, for each answer needs one.
func (m *Monitor) checkQuorum() {
	down := m.size
	for _, p := range m.planes {
		if p.etcdUp {
			down--
		}
	}
	if m.size < 3 || !m.etcd || 2*down < m.size {
		return
	}
	for _, x := range m.allAway() {
		if x.to >= m.now-brief {
			m.violate(fmt.Sprint(x.from), Violation{Rule: Quorum, From: x.from, To: x.to, Object: "api",
				What: fmt.Sprintf("%d of %d etcd members were unready and no API server answered, for at least %s %s", down, m.size, short(x.to-x.from), at(x.from))})
		}
	}
}
