package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// attributeAll gives every entry its cause, and what mends it.
func (b *bookkeeper) attributeAll(kept []*entry) {
	if len(kept) == 0 {
		return
	}
	upEvents, baseEvents := b.up.relatedEvents(), []*timeline.Event(nil)
	upScene, baseScene := newScene(&b.up), newScene(&b.base)
	var lost []Outage // of every lane, in outages or not: what they saw together tells why
	for _, x := range b.entries {
		if x.lane != nil && x.Lost > 0 {
			lost = append(lost, *x.outage)
		}
	}
	if b.base.rec == b.up.rec {
		baseEvents = upEvents
	}
	for _, x := range kept {
		s, events, sc := &b.up, upEvents, upScene
		if x.End < b.up.start() && baseEvents != nil {
			s, events, sc = &b.base, baseEvents, baseScene
		}
		explained, not := b.meaning(x.outage, s, lost)
		if x.outage.blame == nil {
			rng := newRand(append(slices.Clone(b.seed), "ledger", x.Lane, x.Kind, strconv.FormatInt(x.Start, 10))...)
			s.explain(x.outage, events, sc, explained, not, rng)
		}
		x.Cause = x.outage.why(events, sc, explained, not)
		b.conclude(x, s, sc, events)
	}
}

// conclude copies what was found into the entry.
func (b *bookkeeper) conclude(x *entry, s *side, sc *scene, events []*timeline.Event) {
	o := x.outage
	x.Nearby = o.Nearby
	x.identify(s, sc)
	if x.machine != "" {
		x.Signature = SignatureContention
		x.Cause = fmt.Sprintf("contention of the machine: %s at the same time, so no event of the upgrade is blamed", x.machine)
		x.mend(sc, nil)
		return
	}
	var e *timeline.Event
	if o.blame.event != nil {
		e = o.blame.event
		x.Event = &BlamedEvent{T: e.T, Kind: e.Kind, Subject: e.Subject, Pod: podOf(e), Node: nodeOf(e)}
		x.Chance = ptr(o.blame.chance)
	}
	if !o.blame.attributed {
		e = nil
	}
	if e != nil && x.From == "" {
		if pod := podOf(e); pod != "" {
			x.Pods, x.From = []string{pod}, "event"
		}
		if node := nodeOf(e); node != "" {
			x.Nodes, x.From = []string{node}, "event"
		}
	}
	if plane := onlyPlane(x, sc, events); plane != nil {
		// No coincidence: replacing a single API server takes it away.
		e = plane
		x.Event, x.Chance = &BlamedEvent{T: e.T, Kind: e.Kind, Subject: e.Subject, Node: nodeOf(e)}, nil
		x.Nodes, x.From = []string{nodeOf(e)}, "event"
		x.Cause = o.near(e) + ": the API server did not answer while the only control plane was upgraded"
	}
	b.sign(x, s, sc, e, events)
	x.mend(sc, e)
}

// onlyPlane returns the start of the upgrade of a cluster's only control plane,
// where a burst of the API began while that was under way.
func onlyPlane(x *entry, sc *scene, events []*timeline.Event) *timeline.Event {
	if x.Kind != BurstAPI || len(sc.planes) != 1 {
		return nil
	}
	var begun *timeline.Event
	for _, e := range events {
		if e.T > x.Start+watchLag {
			break
		}
		switch {
		case !sc.planes[e.Subject]:
		case e.Kind == timeline.KindUpgradeStart:
			begun = e
		case e.Kind == timeline.KindUpgradeEnd && e.T < x.Start:
			begun = nil
		}
	}
	return begun
}

func nodeOf(e *timeline.Event) string {
	const prefix = "node/"
	if len(e.Subject) > len(prefix) && e.Subject[:len(prefix)] == prefix {
		return e.Subject[len(prefix):]
	}
	return e.Detail["node"]
}

// identify names the pods and nodes that the entry's requests met: by what the
// answers told or, where requests went to endpoints themselves, by their address.
func (x *entry) identify(s *side, sc *scene) {
	if x.lane == nil {
		return
	}
	pods, nodes := map[string]uint64{}, map[string]uint64{}
	d := laneData(s.rec, x.Lane)
	if d == nil {
		return
	}
	for i := range d.Requests {
		r := &d.Requests[i]
		if r.Due < x.Start || r.Due > x.End || r.Class == record.Unsent.String() || r.Class == record.OK.String() && x.Lost > 0 {
			continue // what was answered met what was well
		}
		pod, node := sc.whom(r)
		if pod != "" {
			pods[pod]++
		}
		if node != "" {
			nodes[node]++
		}
	}
	if x.Pods, x.Nodes = most(pods), most(nodes); len(x.Pods)+len(x.Nodes) > 0 {
		x.From = "requests"
	}
}

// most returns the names that were counted most, at most three.
func most(counts map[string]uint64) []string {
	var names []string
	for n := range counts {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	return names[:min(3, len(names))]
}
