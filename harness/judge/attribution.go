package judge

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// An outage is explained by an event of the timeline when one lies so close
// before it, fits what the requests saw, and concerns the pod or node that they
// met, that events shifted at random would hardly ever do as well. What is not
// explained is called so.
const (
	nearbyBefore = 15 * secondNS
	nearbyAfter  = 2 * secondNS
	nearbyShown  = 6
	watchLag     = 300_000_000 // ns by which a watch may learn of an event late
	shifts       = 200         // random shifts of the timeline
	maxChance    = 0.05        // share of them that may do as well
	maxExplained = 50          // outages explained at most, the longest first
	unattributed = "unattributed"
)

// signature says what a class of failure means, and which events bring it
// about, the likelier first.
type signature struct {
	meaning string
	kinds   []string
}

var signatures = map[string]signature{
	record.Refused.String():         {"the process was gone and its endpoint not yet removed", []string{timeline.KindPodTerminating, timeline.KindPodDeleted, timeline.KindRestart, timeline.KindEvict, timeline.KindPodNotReady, timeline.KindEndpointRemoved, timeline.KindPodFailed, timeline.KindPodWaiting, timeline.KindNodeRemoved, timeline.KindNodeAdded}},
	record.Reset.String():           {"connections were cut: the server did not finish what it had", []string{timeline.KindPodTerminating, timeline.KindPodDeleted, timeline.KindRestart, timeline.KindEvict, timeline.KindPodFailed, timeline.KindNodeRemoved}},
	record.Truncated.String():       {"answers were cut: the server did not finish what it had", []string{timeline.KindPodTerminating, timeline.KindPodDeleted, timeline.KindRestart, timeline.KindEvict, timeline.KindPodFailed, timeline.KindNodeRemoved}},
	record.TimeoutConnect.String():  {"nothing answered: a node or its route was gone", []string{timeline.KindNodeNotReady, timeline.KindHeartbeatLost, timeline.KindNodeRebooted, timeline.KindNodeRemoved, timeline.KindUpgradeStart, timeline.KindPodDeleted, timeline.KindPodTerminating, timeline.KindRestart, timeline.KindPodWaiting, timeline.KindPodNotReady, timeline.KindNodeAdded}},
	record.Unreachable.String():     {"there was no route to the node or pod", []string{timeline.KindNodeNotReady, timeline.KindHeartbeatLost, timeline.KindNodeRebooted, timeline.KindNodeRemoved, timeline.KindUpgradeStart, timeline.KindPodDeleted, timeline.KindRestart, timeline.KindPodWaiting, timeline.KindPodNotReady, timeline.KindNodeAdded}},
	record.TimeoutResponse.String(): {"connections stood and were not answered", []string{timeline.KindHeartbeatLost, timeline.KindNodeNotReady, timeline.KindNodeRemoved, timeline.KindRestart, timeline.KindPodWaiting, timeline.KindUpgradeStart, timeline.KindPodNotReady, timeline.KindPodTerminating, timeline.KindPodDeleted}},
	stalled:                         {"requests hung and were answered when it was over", []string{timeline.KindRestart, timeline.KindUpgradeStart, timeline.KindHeartbeatLost, timeline.KindPodVersion, timeline.KindEndpointRemoved}},
	record.HTTP5xx.String():         {"the balancer had no endpoint to send to, or the server was failing", []string{timeline.KindEndpointRemoved, timeline.KindPodNotReady, timeline.KindPodTerminating, timeline.KindPodDeleted, timeline.KindEvict, timeline.KindRestart}},
	slow:                            {"requests were answered, and far later than in the baseline", []string{timeline.KindEvict, timeline.KindPodTerminating, timeline.KindEndpointRemoved, timeline.KindNodeNotReady, timeline.KindHeartbeatLost, timeline.KindNodeRemoved, timeline.KindRestart, timeline.KindUpgradeStart, timeline.KindDrainStart, timeline.KindEndpointAdded, timeline.KindPodVersion, timeline.KindPodDeleted, timeline.KindNodeAdded, timeline.KindPodNotReady}},
	apiAway:                         {"the API server did not answer", []string{timeline.KindUpgradeStart, timeline.KindPodVersion, timeline.KindRestart, timeline.KindPodTerminating, timeline.KindPodDeleted, timeline.KindNodeNotReady, timeline.KindNodeRebooted, timeline.KindHeartbeatLost, timeline.KindNodeRemoved, timeline.KindDrainStart}},
	record.DNS.String():             {"the name did not resolve", []string{timeline.KindRestart, timeline.KindPodTerminating, timeline.KindPodDeleted, timeline.KindPodNotReady, timeline.KindEndpointRemoved}},
}

// related are the kinds of events that are shown near an outage at all.
var related = map[string]bool{
	timeline.KindCordon: true, timeline.KindDrainStart: true, timeline.KindDrainEnd: true, timeline.KindEvict: true,
	timeline.KindUpgradeStart: true, timeline.KindUpgradeEnd: true, timeline.KindUncordon: true,
	timeline.KindNodeNotReady: true, timeline.KindNodeRebooted: true, timeline.KindNodeAdded: true, timeline.KindNodeRemoved: true, timeline.KindHeartbeatLost: true,
	timeline.KindPodTerminating: true, timeline.KindPodDeleted: true, timeline.KindPodNotReady: true, timeline.KindPodFailed: true,
	timeline.KindPodWaiting: true, timeline.KindPodVersion: true, timeline.KindRestart: true, timeline.KindEndpointRemoved: true, timeline.KindEndpointAdded: true,
}

// attribute fills in what happened close to each outage, and what explains it.
func (j *judgement) attribute(outages []Outage) {
	order := make([]int, len(outages))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(outages[b].LowerNS, outages[a].LowerNS) })
	rng := newRand(append(j.seed, "attribution")...)
	up := j.up.relatedEvents()
	base := up
	if j.compare {
		base = j.base.relatedEvents()
	}
	upScene, baseScene := newScene(&j.up), newScene(&j.base)
	for _, i := range order[:min(len(order), maxExplained)] {
		o := &outages[i]
		if o.End < j.up.start() || len(j.up.phases) == 0 {
			explained, not := j.meaning(o, &j.base, outages)
			j.base.explain(o, base, baseScene, explained, not, rng)
		} else {
			explained, not := j.meaning(o, &j.up, outages)
			j.up.explain(o, up, upScene, explained, not, rng)
		}
	}
}

// scored is an event and how well it explains an outage.
type scored struct {
	event *timeline.Event
	score float64
}

// relatedEvents returns the events that may explain an outage, in order of time.
func (s *side) relatedEvents() []*timeline.Event {
	var events []*timeline.Event
	for i := range s.rec.Events {
		if e := &s.rec.Events[i]; related[e.Kind] {
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b *timeline.Event) int { return cmp.Compare(a.T, b.T) })
	return events
}

// blame is what the timeline tells of why a burst came about.
type blame struct {
	event      *timeline.Event // that explains it best; nil where none is near
	chance     float64         // that the same events at other times would do as well
	attributed bool            // the event explains it, and chance would hardly
}

// explain gives an outage its cause: an event that is relevant in the scene and
// fits, and the meaning of its failures, explained by the event or not.
func (s *side) explain(o *Outage, events []*timeline.Event, scene *scene, explained, not string, rng *rand.Rand) {
	class := o.mostly()
	met := s.met(o, scene)
	target := s.targetNamespace()
	fit := func(e *timeline.Event, t int64) float64 {
		return o.fit(e, t, met, target) * scene.relevance(e, class)
	}
	var near []scored
	best := scored{}
	for _, e := range timesIn(events, o.Start-nearbyBefore, o.End+nearbyAfter) {
		x := scored{e, fit(e, e.T)}
		near = append(near, x)
		if best.event == nil || x.score > best.score {
			best = x
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	for i, x := range near {
		if i == nearbyShown {
			break
		}
		o.Nearby = append(o.Nearby, o.near(x.event))
	}
	o.blame = &blame{}
	if best.event != nil && best.score > 0 {
		o.blame.event = best.event
		o.blame.chance = s.coincidence(o, events, best.score, fit, rng)
		o.blame.attributed = o.blame.chance <= maxChance
	}
	o.Cause = o.why(events, scene, explained, not)
}

// why writes what was found of an outage's cause, with what its failures mean.
func (o *Outage) why(events []*timeline.Event, scene *scene, explained, not string) string {
	if not != "" {
		explained, not = ": "+explained, ": "+not
	}
	e := o.blame.event
	switch {
	case e == nil:
		return unattributed + not + scene.meanwhile(o)
	case !o.blame.attributed:
		return fmt.Sprintf("%s%s (the closest is %s, which chance would bring about in %s of cases)%s", unattributed, not, o.near(e), share(o.blame.chance), scene.meanwhile(o))
	}
	if o.mostly() == slow {
		return o.near(e) + explained + rolling(e, events) // whether an endpoint was ready is not the question
	}
	return o.near(e) + explained + scene.remark(o, e, events) + rolling(e, events)
}

// coincidence returns how often the same events, shifted at random along the
// measured stretch and wrapped around, explain an outage at least as well as
// score: a permutation test whose p-value counts what was seen as one of the
// shifts (Phipson and Smyth, "Permutation p-values should never be zero", 2010).
func (s *side) coincidence(o *Outage, events []*timeline.Event, score float64, fit func(*timeline.Event, int64) float64, rng *rand.Rand) float64 {
	from, length := s.start(), max(1, s.end()-s.start())
	first, last := o.Start-nearbyBefore, o.End+nearbyAfter
	moving := timesIn(events, from, from+length-1)
	stays := func(e *timeline.Event) bool {
		return (e.T < from || e.T >= from+length) && fit(e, e.T) >= score
	}
	always := slices.ContainsFunc(timesIn(events, first, last), stays)
	as := 0
	for range shifts {
		shift := rng.Int64N(length)
		// Those before the end of the stretch move by shift, the others wrap around.
		moved := func(by, least, most int64) bool {
			return slices.ContainsFunc(timesIn(moving, max(first-by, least), min(last-by, most)), func(e *timeline.Event) bool { return fit(e, e.T+by) >= score })
		}
		if always || moved(shift, from, from+length-shift-1) || moved(shift-length, from+length-shift, from+length-1) {
			as++
		}
	}
	return float64(as+1) / (shifts + 1)
}

// timesIn returns those of events, which are in order of time, in [from, to].
func timesIn(events []*timeline.Event, from, to int64) []*timeline.Event {
	byTime := func(e *timeline.Event, t int64) int { return cmp.Compare(e.T, t) }
	i, _ := slices.BinarySearchFunc(events, from, byTime)
	k, _ := slices.BinarySearchFunc(events, to+1, byTime)
	return events[i:max(i, k)]
}

// rolling says, as the rest of a sentence, why the node of an event was emptied at
// that time, where it was to be replaced or removed.
func rolling(e *timeline.Event, events []*timeline.Event) string {
	node := e.Subject
	if n := e.Detail["node"]; n != "" {
		node = "node/" + n
	}
	why := ""
	for _, x := range events {
		if x.T > e.T+watchLag {
			break
		}
		if x.Subject != node {
			continue
		}
		switch x.Kind {
		case timeline.KindUpgradeStart:
			why = x.Detail["strategy"]
		case timeline.KindUpgradeEnd:
			if x.T < e.T {
				why = ""
			}
		}
	}
	switch why {
	case "", "in-place":
		return ""
	case timeline.StrategyExtraCapacity:
		return "; " + node + " was drained to be removed, as extra capacity no longer needed"
	}
	return "; " + node + " was drained to be removed (" + why + ")"
}

// fit scores an event, were it at time t: how well its kind goes with what the
// requests saw, how close before the outage it lies, and whether it concerns a
// pod or node that they met, or at least a pod of the target's own namespace:
// a request that was cut cannot tell which pod it met, and pods that a drain
// evicts together go together.
func (o *Outage) fit(e *timeline.Event, t int64, met map[string]bool, target string) float64 {
	weight := 0.3
	if i := slices.Index(signatures[o.mostly()].kinds, e.Kind); i >= 0 {
		weight = 1 - 0.04*float64(i) // the likelier ones come first
	}
	ahead, late := float64(o.Start-t), float64(watchLag+o.grainNS)
	switch {
	case ahead < -late:
		// What came after the first failure counts less.
		ahead, weight = -2*(ahead+late), weight*0.8
	case ahead < 0:
		ahead = 0
	}
	score := weight * math.Exp(-ahead/float64(4*secondNS))
	pod := podOf(e)
	if met[e.Subject] || met[podNamed(pod)] || met["node/"+e.Detail["node"]] {
		score *= 2
	}
	if target != "" && strings.HasPrefix(pod, target+"/") {
		score *= 1.5
	}
	return score
}

// targetNamespace returns the namespace of the canary's pods, or nothing where
// the record does not know them.
func (s *side) targetNamespace() string {
	for _, snap := range []*record.Snapshot{s.rec.Before, s.rec.After} {
		if snap != nil && len(snap.Canary) > 0 {
			ns, _, _ := strings.Cut(snap.Canary[0].Pod, "/")
			return ns
		}
	}
	return ""
}

// mostly returns the class that most of the outage's failed requests ended in.
// Those that were answered late in the end say less of why: they count where
// hardly any failed.
func (o *Outage) mostly() string {
	name, most, total := "", uint64(0), uint64(0)
	for c, n := range o.Classes {
		total += n
		if c != stalled && (n > most || n == most && c < name) {
			name, most = c, n
		}
	}
	if o.Classes[stalled] > 0 && most*10 < total {
		return stalled
	}
	return name
}

// met returns the pods, by podNamed, and nodes, as subjects of events, that the outage's
// requests are known to have met.
func (s *side) met(o *Outage, scene *scene) map[string]bool {
	out := map[string]bool{}
	d := laneData(s.rec, o.Lane)
	if d == nil {
		return out
	}
	for i := range d.Requests {
		r := &d.Requests[i]
		if r.Due < o.Start || r.Due > o.End || r.Class == record.OK.String() && o.Failed > 0 {
			continue // what was answered met what was well
		}
		pod, node := scene.whom(r)
		if pod != "" {
			out[podNamed(pod)] = true
		}
		if node != "" {
			out["node/"+node] = true
		}
	}
	return out
}

// podOf returns the NAMESPACE/NAME of the pod that an event is about, or "".
func podOf(e *timeline.Event) string {
	if pod, ok := strings.CutPrefix(e.Subject, "pod/"); ok {
		return pod
	}
	return e.Detail["pod"]
}

// podNamed returns how a pod is looked up: without its namespace, which the pod
// that answers a request does not tell.
func podNamed(pod string) string { return "pod:" + pod[strings.LastIndex(pod, "/")+1:] }

// near writes an event and when it was, relative to the outage.
func (o *Outage) near(e *timeline.Event) string {
	var b strings.Builder
	b.WriteString(e.Kind + " " + e.Subject)
	if p := e.Detail["pod"]; p != "" {
		b.WriteString(" of pod/" + p)
	}
	if n := e.Detail["node"]; n != "" && !strings.HasPrefix(e.Subject, "node/") {
		b.WriteString(" on " + n)
	}
	s := float64(e.T-o.Start) / 1e9
	when := strconv.FormatFloat(math.Abs(s), 'f', 1, 64) + " s "
	switch {
	case math.Abs(s) < 0.05:
		b.WriteString(" as it began")
	case s < 0:
		b.WriteString(" " + when + "before")
	default:
		b.WriteString(" " + when + "after it began")
	}
	return b.String()
}
