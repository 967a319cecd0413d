package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Ledger accounts for every request of the judged lanes that was lost, and for
// every one that was slow: each is counted in exactly one of Bursts or Rest. The
// control lane is not in it. Of Compare it is about the upgrade's record alone.
type Ledger struct {
	// Summary says in a sentence or two how many have a cause.
	Summary string `json:"summary"`
	// Lanes holds what Bursts and Rest add up to, lane by lane.
	Lanes []LaneLedger `json:"lanes"`
	// Bursts in order of Start, at most 100: the outages first, then those that
	// lost or slowed most.
	Bursts []Burst `json:"bursts"`
	// Rest sums up what is in no listed burst.
	Rest []Rest `json:"rest,omitempty"`
}

// LaneLedger is the sum of one lane's entries. Lost is the sum of LaneSum.Failed
// over the lane's phases.
type LaneLedger struct {
	Lane string `json:"lane"`
	Lost uint64 `json:"lost"`
	Slow uint64 `json:"slow"`
	// SlowMS: an answer that took longer, in milliseconds, is slow. 0 where the
	// baseline holds too little to say.
	SlowMS float64 `json:"slowMS"`
	// Explain says where SlowMS comes from.
	Explain string `json:"explain"`
}

// Kinds of bursts.
const (
	BurstOutage = "outage" // the lane could not be served: one of Verdict.Outages
	BurstLost   = "lost"   // requests lost outside any outage, at most a second apart
	BurstSlow   = "slow"   // more slow requests than the baseline supports
	BurstAPI    = "api"    // the API server did not answer its probes; of no lane
)

// Burst is one entry of the ledger: requests of a lane that were lost, or slow,
// together.
type Burst struct {
	Kind string `json:"kind"` // one of the constants above
	Lane string `json:"lane"` // "api" where it is about the API server
	// Phase in which it began.
	Phase string `json:"phase"`
	// Start and End are the due times of its first and last request, ns from the
	// run's start. Of slow requests that were not recorded singly only the second
	// is known.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// LowerNS and UpperNS are the bounds of how long it lasted, as of an outage.
	LowerNS int64 `json:"lowerNS"`
	UpperNS int64 `json:"upperNS"`
	// Lost and Slow are its requests, of Sent that were due in it; of kind api,
	// Lost and Sent count observations.
	Lost uint64 `json:"lost"`
	Slow uint64 `json:"slow"`
	Sent uint64 `json:"sent"`
	// WorstMS is the longest latency of its answered requests, to the second.
	WorstMS float64 `json:"worstMS,omitempty"`
	// Classes counts the lost requests by class; see Outage.Classes.
	Classes map[string]uint64 `json:"classes,omitempty"`
	// Pods and Nodes that it concerns, those of most requests first, at most three
	// each, and From whether its "requests" met them or only the "event" names them.
	Pods  []string `json:"pods,omitempty"`
	Nodes []string `json:"nodes,omitempty"`
	From  string   `json:"from,omitempty"`
	// Signature is what the requests saw, one of the Signature constants.
	Signature Signature `json:"signature"`
	// Event is the event of the upgrade that explains it or, where Cause begins with
	// "unattributed", the closest; nil where none is near or the machine is blamed.
	Event *BlamedEvent `json:"event,omitempty"`
	// Chance is how likely events at other times would explain it as well, from a
	// permutation of event times; nil without an Event.
	Chance *float64 `json:"chance,omitempty"`
	// Cause names the event that explains it and what its failures mean, or begins
	// with "contention of the machine" or with "unattributed".
	Cause string `json:"cause"`
	// Usual compares its length with what such a burst usually lasts; empty where
	// no such figure is known.
	Usual string `json:"usual,omitempty"`
	// Mend says what usually mends it, and Set with which fields of the scenario, as
	// they are now, and of Kubernetes. Empty where nothing of the upgrade is blamed.
	Mend string   `json:"mend,omitempty"`
	Set  []string `json:"set,omitempty"`
	// Nearby are the events close to it, at most six.
	Nearby []string `json:"nearby,omitempty"`
	// Usable is false where it is no evidence against the target.
	Usable bool `json:"usable"`
}

// BlamedEvent is an event of the timeline as a burst has it.
type BlamedEvent struct {
	T       int64  `json:"t"`
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Pod     string `json:"pod,omitempty"`
	Node    string `json:"node,omitempty"`
}

// Rest sums up requests of a lane that are in no listed burst.
type Rest struct {
	Lane  string `json:"lane"`
	Kind  string `json:"kind"`            // of the bursts that were not listed, or "slow" for single slow requests
	Phase string `json:"phase,omitempty"` // of single slow requests
	// Bursts that there was no room for; 0 of single slow requests.
	Bursts int    `json:"bursts"`
	Lost   uint64 `json:"lost"`
	Slow   uint64 `json:"slow"`
	Start  int64  `json:"start"` // of the first and End of the last
	End    int64  `json:"end"`
	Cause  string `json:"cause"`
}

const (
	// maxBursts bounds the ledger: 100 entries are about 150 KB of verdict.json.
	maxBursts = 100
	// lostApart is how far apart lost requests may be and be one burst, and
	// slowApart the same for seconds with slow ones; as outages are joined.
	lostApart = secondNS
	slowApart = secondNS
	// slow and apiAway are the classes of bursts without failures of a lane.
	slow    = "slow"
	apiAway = "api"
)

// entry is a burst in the making: what attribution needs beside it.
type entry struct {
	Burst
	outage  *Outage // as it is explained
	lane    *laneEvidence
	machine string // what of the machine suffered at the same time, or nothing
}

// ledger makes the ledger; outages are the verdict's, explained.
func (j *judgement) ledger(outages []Outage) Ledger {
	phases := j.up.rec.Phases()
	if j.compare {
		phases = j.up.phases
	}
	b := &bookkeeper{judgement: j, phases: phases, outages: outages}
	b.out = Ledger{Lanes: []LaneLedger{}, Bursts: []Burst{}}
	b.slowness = map[*laneEvidence]*slowness{}
	for _, e := range append(slices.Clone(j.lanes), j.control) {
		if e != nil {
			b.slowness[e] = newSlowness(e)
		}
	}
	for _, e := range j.lanes {
		b.account(e)
	}
	b.apiBursts()
	kept := b.cap()
	b.attributeAll(kept)
	for _, x := range kept {
		b.out.Bursts = append(b.out.Bursts, x.Burst)
	}
	b.out.Summary = b.out.summary()
	return b.out
}

// bookkeeper fills a ledger in.
type bookkeeper struct {
	*judgement
	phases   []record.Interval
	outages  []Outage
	slowness map[*laneEvidence]*slowness
	entries  []*entry
	out      Ledger
}

// phaseOf returns the phase that a window belongs to, as sums does: that in which
// its middle lies.
func (b *bookkeeper) phaseOf(w *record.Window) (string, bool) {
	for _, p := range b.phases {
		if mid := w.Second*secondNS + secondNS/2; mid >= p.Start && mid < p.End {
			return p.Name, true
		}
	}
	return "", false
}

// account puts every lost and every slow request of a lane into an entry.
func (b *bookkeeper) account(e *laneEvidence) {
	s := b.slowness[e]
	sum := LaneLedger{Lane: e.lane.Name, SlowMS: significant(float64(s.limitUS) / 1000), Explain: s.explain}
	if e.up.data == nil {
		b.out.Lanes = append(b.out.Lanes, sum)
		return
	}
	var own []*entry
	for i := range b.outages {
		if o := &b.outages[i]; o.Lane == e.lane.Name {
			own = append(own, outageEntry(e, o))
		}
	}
	slices.SortStableFunc(own, func(x, y *entry) int { return cmp.Compare(x.Start, y.Start) })
	// Of an outage are the slow requests of the seconds that it touches, and of the
	// one after: what has queued up is answered then.
	touching := func(second int64) *entry {
		i, _ := slices.BinarySearchFunc(own, second*secondNS, func(x *entry, t int64) int { return cmp.Compare(x.End+secondNS, t) })
		if i < len(own) && own[i].Start < (second+1)*secondNS {
			return own[i]
		}
		return nil
	}
	var loose []disturbance
	single := map[int64]uint64{} // slow requests of seconds that no outage has
	for i := range e.up.data.Windows {
		w := &e.up.data.Windows[i]
		if _, in := b.phaseOf(w); !in {
			continue
		}
		sum.Lost += w.Failed()
		loose = b.lostOf(e, w, own, loose)
		if n := w.Latency.CountAbove(s.limitUS); n > 0 && s.limitUS > 0 {
			sum.Slow += n
			if x := touching(w.Second); x != nil {
				x.Slow += n
				x.WorstMS = max(x.WorstMS, significant(float64(w.Latency.Max())/1000))
			} else {
				single[w.Second] = n
			}
		}
	}
	b.out.Lanes = append(b.out.Lanes, sum)
	b.entries = append(b.entries, own...)
	b.entries = append(b.entries, b.lostBursts(e, loose)...)
	b.entries = append(b.entries, b.slowBursts(e, s, single)...)
}

func outageEntry(e *laneEvidence, o *Outage) *entry {
	x := &entry{outage: o, lane: e, Burst: Burst{
		Kind: BurstOutage, Lane: o.Lane, Phase: o.Phase, Start: o.Start, End: o.End,
		LowerNS: o.LowerNS, UpperNS: o.UpperNS, Sent: o.Sent, Classes: o.Classes, Usable: o.Usable,
	}}
	switch {
	case o.overload:
		x.machine = "the runner was overloaded"
	case !o.Usable:
		x.machine = "the control lane outside the cluster suffered, or the runner was far behind,"
	}
	return x
}

// lostOf gives the lost requests of a window to the outages that they fell into,
// and appends the others to loose.
func (b *bookkeeper) lostOf(e *laneEvidence, w *record.Window, own []*entry, loose []disturbance) []disturbance {
	left := w.Failed()
	for i := range w.Spans {
		s := &w.Spans[i]
		if s.Kind != record.SpanFailed || left == 0 {
			continue
		}
		n := min(s.Count, left)
		left -= n
		k, _ := slices.BinarySearchFunc(own, s.First, func(x *entry, t int64) int { return cmp.Compare(x.End, t) })
		if k < len(own) && own[k].Start <= s.Last {
			own[k].Lost += n
		} else {
			loose = append(loose, disturbance{first: s.First, last: s.Last, count: n})
		}
	}
	if left == 0 {
		return loose
	}
	// The bound on a window's spans has dropped where these were: of an outage, if
	// one lost requests in this second.
	first, last := w.Second*secondNS, (w.Second+1)*secondNS-int64(e.up.period())
	for _, x := range own {
		if x.outage.Failed > 0 && x.Start <= last && x.End >= first {
			x.Lost += left
			return loose
		}
	}
	return append(loose, disturbance{first: first, last: last, count: left})
}

// cap returns the entries to list, in order of Start, and sums the others up.
func (b *bookkeeper) cap() []*entry {
	rank := func(x *entry) int {
		switch {
		case x.Kind == BurstOutage && x.Usable:
			return 0
		case x.Kind == BurstAPI:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(b.entries, func(x, y *entry) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(y.Lost, x.Lost), cmp.Compare(y.Slow, x.Slow), cmp.Compare(y.LowerNS, x.LowerNS), cmp.Compare(x.Start, y.Start))
	})
	kept := b.entries
	if len(kept) > maxBursts {
		kept = b.entries[:maxBursts:maxBursts]
		type key struct{ lane, kind string }
		at := map[key]int{}
		for _, x := range b.entries[maxBursts:] {
			k := key{x.Lane, x.Kind}
			i, seen := at[k]
			if !seen {
				i = len(b.out.Rest)
				at[k] = i
				b.out.Rest = append(b.out.Rest, Rest{Lane: x.Lane, Kind: x.Kind, Start: x.Start, Cause: unattributed + ": smaller than those that are listed, and not looked at one by one"})
			}
			r := &b.out.Rest[i]
			r.Bursts, r.Lost, r.Slow = r.Bursts+1, r.Lost+x.Lost, r.Slow+x.Slow
			r.Start, r.End = min(r.Start, x.Start), max(r.End, x.End)
		}
	}
	slices.SortStableFunc(kept, func(x, y *entry) int { return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.Lane, y.Lane)) })
	return kept
}

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
	x.identify(s)
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

// identify names the pods and nodes that the entry's requests met.
func (x *entry) identify(s *side) {
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
		if r.Pod != "" {
			pods[r.Pod]++
		}
		if r.Node != "" {
			nodes[r.Node]++
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
