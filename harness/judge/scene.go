package judge

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// scene is what a record tells about who serves its lanes.
type scene struct {
	owners    map[string]bool // NAMESPACE/NAME of what the canary's pods belong to
	replicas  int             // of the canary, as the scenario asks for; 0 where that is not known
	endpoints bool            // the timeline tells of endpoints that were removed
	// again holds the events that befell the same pod again within seconds: a
	// container that crashes and crashes is no coincidence of one restart.
	again map[*timeline.Event]bool
	// planes are the control planes' nodes, as subjects of events; empty where no
	// snapshot tells them.
	planes map[string]bool
	// addresses holds, by IP:PORT, an event about the endpoint of that address.
	addresses map[string]*timeline.Event
	// scenario is that of the run, as JSON decodes it.
	scenario map[string]any
	stale    []stale
}

const (
	againWithin = 10 * secondNS
	againWeight = 1.5
)

func newScene(s *side) *scene {
	out := &scene{owners: map[string]bool{}, again: map[*timeline.Event]bool{}, planes: map[string]bool{}, addresses: map[string]*timeline.Event{}, stale: s.staleEndpoints()}
	var scenario struct {
		Canary struct {
			Replicas int `json:"replicas"`
		} `json:"canary"`
	}
	_ = json.Unmarshal(s.rec.Run.Scenario, &out.scenario) // what cannot be read is not known
	if json.Unmarshal(s.rec.Run.Scenario, &scenario) == nil {
		out.replicas = scenario.Canary.Replicas
	}
	for _, snap := range []*record.Snapshot{s.rec.Before, s.rec.After} {
		if snap != nil {
			for _, p := range snap.Canary {
				out.owners[owner(p.Pod)] = true
			}
			for _, n := range snap.Nodes {
				if n.ControlPlane {
					out.planes["node/"+n.Name] = true
				}
			}
		}
	}
	met := map[string]bool{}
	for i := range s.rec.Lanes {
		if d := &s.rec.Lanes[i]; !d.Lane.Control {
			for k := range d.Requests {
				if p := d.Requests[k].Pod; p != "" {
					met[podNamed(p)] = true
				}
			}
		}
	}
	crashed := map[string]*timeline.Event{} // the last crash, by subject
	for i := range s.rec.Events {
		e := &s.rec.Events[i]
		if e.Kind == timeline.KindRestart {
			if last := crashed[e.Subject]; last != nil && e.T-last.T <= againWithin {
				out.again[last], out.again[e] = true, true
			}
			crashed[e.Subject] = e
		}
		out.endpoints = out.endpoints || e.Kind == timeline.KindEndpointRemoved
		if address, ok := strings.CutPrefix(e.Subject, "endpoint/"); ok {
			out.addresses[address] = e
		}
		if pod := podOf(e); pod != "" && met[podNamed(pod)] {
			out.owners[owner(pod)] = true
		}
	}
	return out
}

// whom returns the pod and the node that a request met, or nothing: by what its
// answer told or, where it went to an endpoint itself, by its address. A request
// that was refused or cut has no answer.
func (s *scene) whom(r *record.Request) (pod, node string) {
	if e := s.addresses[r.Remote]; e != nil && r.Pod == "" {
		return podOf(e), nodeOf(e)
	}
	return r.Pod, r.Node
}

// owner returns what the pods of one owner have in common: a pod's NAMESPACE/NAME
// without the part that tells it from its siblings.
func owner(pod string) string {
	if i := strings.LastIndex(pod, "-"); i > strings.Index(pod, "/") {
		return pod[:i]
	}
	return pod
}

// Pods that others need, by how their names begin.
var (
	dnsServers    = []string{"coredns", "kube-dns"}
	networkAgents = []string{"kube-proxy", "kube-flannel", "calico", "cilium", "weave-net", "kindnet", "antrea", "canal"}
	controlPlane  = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}
)

// relevance returns how far an event may explain failures of a class, from 0 to
// 1, and half as much again where it recurred: one about a pod of the canary or about a node may, one about the cluster's
// DNS where names did not resolve, one about a node's network where connections
// suffered, one about the control plane where requests hung (it shares its node),
// and one about any other pod not at all.
func (s *scene) relevance(e *timeline.Event, class string) float64 {
	if s.again[e] {
		return againWeight * s.concerns(e, class)
	}
	return s.concerns(e, class)
}

func (s *scene) concerns(e *timeline.Event, class string) float64 {
	pod := podOf(e)
	if class == apiAway {
		return s.concernsAPI(e, pod)
	}
	if pod == "" || s.owners[owner(pod)] {
		return 1
	}
	is := func(names []string) bool {
		name := pod[strings.Index(pod, "/")+1:]
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(name, n) })
	}
	among := func(weight float64, classes ...string) float64 {
		if slices.Contains(classes, class) {
			return weight
		}
		return 0
	}
	switch {
	case is(dnsServers):
		return among(1, record.DNS.String())
	case is(networkAgents):
		const partly = 0.6 // as much the doing of a pod of the canary
		return max(
			among(1, record.TimeoutConnect.String(), record.TimeoutResponse.String(), record.Unreachable.String()),
			among(partly, record.Refused.String(), record.Reset.String(), record.HTTP5xx.String(), stalled, slow),
		)
	case is(controlPlane):
		return among(0.6, stalled, slow)
	case len(s.owners) == 0: // any pod may be the canary's
		return 1
	}
	return 0
}

// concernsAPI is concerns of the API's own bursts: nodes of control planes and
// what runs there, the API server first.
func (s *scene) concernsAPI(e *timeline.Event, pod string) float64 {
	name := pod[strings.Index(pod, "/")+1:]
	switch {
	case pod == "" && (len(s.planes) == 0 || s.planes[e.Subject]):
		return 1
	case strings.HasPrefix(name, "kube-apiserver"):
		return 1
	case strings.HasPrefix(name, "etcd"):
		return 0.9
	}
	return 0
}

// endpointLag is how long the removal of an endpoint takes at most, usually.
const endpointLag = 3 * secondNS

// remark says what else is known where the end of a pod of the canary explains
// an outage, as the rest of a sentence.
func (s *scene) remark(o *Outage, e *timeline.Event, events []*timeline.Event) string {
	pod := podOf(e)
	if !s.owners[owner(pod)] {
		return ""
	}
	switch e.Kind {
	case timeline.KindPodTerminating, timeline.KindPodDeleted, timeline.KindEvict, timeline.KindEndpointRemoved, timeline.KindPodNotReady:
	default:
		return ""
	}
	if s.replicas == 1 {
		return "; it was the only replica, so no other endpoint was ready"
	}
	if !s.endpoints || o.LowerNS < endpointLag || e.Kind == timeline.KindEndpointRemoved {
		return ""
	}
	for _, x := range events {
		if x.Kind == timeline.KindEndpointRemoved && podOf(x) == pod && x.T <= o.Start+endpointLag {
			return ""
		}
	}
	return "; its endpoint was not removed: the EndpointSlice was stale"
}

// meaning says what the failures of an outage mean, by their class and by which
// lanes saw them: where an event explains it, and where none does.
func (j *judgement) meaning(o *Outage, s *side, outages []Outage) (explained, unexplained string) {
	class := o.mostly()
	alike, others, new, newFailed := 0, 0, false, false
	for _, e := range j.lanes {
		if e.lane.Name == o.Lane {
			continue
		}
		others++
		new = new || e.lane.Name == scenarios.LaneNew
		for i := range outages {
			x := &outages[i]
			if x.Lane != e.lane.Name || x.Failed == 0 || x.Start > o.End+secondNS || x.End < o.Start-secondNS {
				continue
			}
			newFailed = newFailed || x.Lane == scenarios.LaneNew
			if x.mostly() == class && x.total() {
				alike++
			}
			break
		}
	}
	switch {
	case class == record.Refused.String() && o.total() && alike == others && s.controlServed(o):
		return signatures[class].meaning, "nothing listened: every lane but control was refused, as when the balancer in front of the cluster is gone"
	case class == record.Reset.String() && o.Lane == scenarios.LaneReused && new && !newFailed:
		const kept = "connections were cut, and only those that are kept: a server ended without closing them first (ungraceful termination)"
		return kept, kept
	}
	return signatures[class].meaning, signatures[class].meaning
}

// total reports whether all but a few of an outage's requests failed.
func (o *Outage) total() bool { return float64(o.Failed) >= 0.8*float64(o.Sent) }

// controlServed reports whether the control lane lost nothing in the seconds of
// an outage.
func (s *side) controlServed(o *Outage) bool {
	if s.control == nil {
		return false
	}
	sent := uint64(0)
	for i := range s.control.Windows {
		w := &s.control.Windows[i]
		if w.Second < o.Start/secondNS || w.Second > o.End/secondNS {
			continue
		}
		if w.Failed() > 0 {
			return false
		}
		sent += w.Sent()
	}
	return sent > 0
}
