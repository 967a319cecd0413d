package order

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
)

// Results says of each rule what is known at the end of what was watched. Finished
// is whether the upgrade was carried out to its end: what is missing then is a
// fault, and otherwise only not yet done.
func (m *Monitor) Results(finished bool) []Result {
	if !m.looked {
		out := make([]Result, len(Rules))
		for i, r := range Rules {
			out[i] = Result{Rule: r, Outcome: NotObserved, Explain: "Not observed: the record has no snapshot of the cluster from before the upgrade."}
		}
		return out
	}
	if finished {
		m.missing()
	}
	for _, x := range m.allAway() {
		m.doubtAway(x)
	}
	out := make([]Result, 0, len(Rules))
	for _, rule := range Rules {
		r := Result{Rule: rule, Samples: m.samples[rule], Violations: m.violation[rule]}
		r.Outcome, r.Explain = m.outcome(rule)
		switch {
		case len(r.Violations) > 0:
			r.Outcome, r.Explain = Violated, told(r.Violations)
		case r.Outcome == NotAvailable || r.Outcome == NotObserved:
		case m.lost != "" && rule != APIServers:
			r.Outcome, r.Explain = Unknown, "The watch of the cluster was lost: "+strings.TrimSuffix(m.lost, ".")+"."
		case len(m.unknown[rule]) > 0 && r.Outcome == Held:
			r.Outcome, r.Explain = Unknown, english.Capital(strings.Join(m.unknown[rule], "; "))+"."
		}
		out = append(out, r)
	}
	return out
}

func told(all []Violation) string {
	var parts []string
	for _, v := range all {
		if v.Rule == Balancer {
			v.What += fmt.Sprintf(" for at least %s %s", short(v.To-v.From), at(v.From))
		}
		parts = append(parts, v.What)
	}
	if n := len(parts); n > 3 {
		parts = append(parts[:3], fmt.Sprintf("and %d more", n-3))
	}
	return english.Capital(strings.Join(parts, "; ")) + "."
}

// doubtAway notes a stretch in which all API servers timed out. That is nothing
// where the watch heard of the cluster meanwhile: then one was there.
func (m *Monitor) doubtAway(x away) {
	heard := slices.ContainsFunc(m.seen, func(t int64) bool { return t > x.from && t <= x.to })
	if !x.hard && !heard {
		m.doubt(APIServers, "for %s %s every API server timed out, which a busy machine does as well", short(x.to-x.from), at(x.from))
	}
	if !heard {
		m.doubt(Quorum, "for %s %s no API server answered, so etcd could not be seen", short(x.to-x.from), at(x.from))
	}
}

// missing finds components that were not upgraded where their node was. On EKS a
// control plane may go back: what counts is where it was taken last.
func (m *Monitor) missing() {
	for _, n := range slices.Sorted(maps.Keys(m.done)) {
		p, to := m.planes[n], m.done[n]
		if p == nil {
			continue // another came in its place
		}
		for _, c := range components[1:] {
			v, known := p.versions[c]
			if behind, ok := newer(to, v); known && ok && behind {
				m.violate(n+" "+c+" "+to+" missing", Violation{Rule: Restarts, From: m.now, To: m.now, Object: "pod/kube-system/" + c + "-" + n,
					What: fmt.Sprintf("%s on %s was never replaced: it runs %s after the upgrade to %s", c, n, v, to)})
			}
		}
	}
}

// outcome is what a rule comes to where nothing broke it and nothing was hidden.
func (m *Monitor) outcome(rule Rule) (Outcome, string) {
	n := m.size
	if n == 0 && rule != Balancer {
		return NotObserved, "Not observed: the control plane is not among the cluster's nodes."
	}
	switch rule {
	case Restarts:
		if len(m.done) == 0 {
			return Unknown, "No control plane's upgrade was seen to its end."
		}
		return Held, fmt.Sprintf("Each component of %s was replaced once, and none restarted beyond what that takes.", english.Count(n, "control plane"))
	case APIServers:
		switch {
		case n < 2:
			return NotAvailable, "There is one API server, which must go away while it is replaced."
		case !m.probed:
			return NotObserved, "Not observed: not every API server had a probe of its own."
		}
		return Held, fmt.Sprintf("At least one of %d API servers was ready at every observation.", n)
	case Kubelets:
		if m.samples[Kubelets] == 0 {
			return Unknown, "No kubelet was seen to change its version."
		}
		return Held, fmt.Sprintf("No kubelet was newer than an API server it talks to, over %s.", english.Count(m.samples[Kubelets], "change"))
	case PlanesFirst:
		switch {
		case m.workersUp+m.rolls == 0:
			return Unknown, "No worker's upgrade was seen."
		case m.workersUp == 0:
			return Held, "Every control plane was done before the workers were rolled."
		}
		return Held, fmt.Sprintf("Every control plane was done before the first of %s.", english.Count(m.workersUp, "worker"))
	case Balancer:
		if m.canaryNS == "" {
			return NotObserved, "Not observed: the snapshot before the upgrade names no pod of the canary."
		}
		if m.single {
			return NotAvailable, "There is one replica, which must go away while its node is drained: the outage that this makes is judged by its length."
		}
		if m.samples[Balancer] == 0 && m.workersUp+m.rolls > 0 {
			return Unknown, "No endpoint of the canary was seen to come or go."
		}
		return Held, fmt.Sprintf("The canary's balancer had a ready member throughout, over %s.", english.Count(m.samples[Balancer], "change"))
	default:
		switch {
		case !m.etcd:
			return NotObserved, "Not observed: the snapshot before the upgrade names no etcd member."
		case n < 3:
			return NotAvailable, "There is one etcd member, which must go away while it is replaced."
		}
		return Held, fmt.Sprintf("More than half of %d etcd members ran at every instant.", n)
	}
}
