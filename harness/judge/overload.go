package judge

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// When the runner itself is overloaded, what fails on a lane says little about
// the target: on one machine its servers, the balancer and the control twin are
// starved as well, and each loses requests in seconds of its own.
const (
	// overloadUnsent is the share of slots that no lane sent in a second in which
	// the runner was overloaded. One process sends all lanes: what keeps only
	// some of them from sending is not the runner.
	overloadUnsent = 0.2
	// overloadNear is how many seconds before and after are not believed either:
	// requests live for a while, and what was starved takes a while to recover.
	overloadNear = 2
	// Where overloadShare of the seconds within overloadSpan of a second were
	// overloaded, that is how the machine was, and none between is believed.
	overloadSpan  = 15
	overloadShare = 0.2
	// controlNear is how many seconds apart trouble of the control lane and of a
	// lane may be to have the same cause.
	controlNear = 5
	// outageNear is the same for an outage.
	outageNear = 2
)

// findOverload fills in the side's overloaded seconds and those near them.
func (s *side) findOverload() {
	starved := func(w *record.Window) bool {
		return w.Counts[record.Unsent] > 0 && float64(w.Counts[record.Unsent])/float64(w.Due()) >= overloadUnsent
	}
	overloaded := map[int64]bool{}
	s.senders(func(w *record.Window) {
		if starved(w) {
			overloaded[w.Second] = true
		}
	})
	if len(overloaded) == 0 {
		return
	}
	s.senders(func(w *record.Window) {
		if overloaded[w.Second] && w.Due() > 0 && !starved(w) {
			delete(overloaded, w.Second) // one lane was sent
		}
	})
	if len(overloaded) == 0 {
		return
	}
	s.overloaded, s.suspect = overloaded, map[int64]bool{}
	for second := range overloaded {
		for d := int64(-overloadNear); d <= overloadNear; d++ {
			s.suspect[second+d] = true
		}
	}
	for second := s.start() / secondNS; second <= s.end()/secondNS; second++ {
		n := 0
		for d := int64(-overloadSpan); d <= overloadSpan; d++ {
			if s.overloaded[second+d] {
				n++
			}
		}
		if float64(n) >= overloadShare*(2*overloadSpan+1) {
			s.suspect[second] = true
		}
	}
}

// senders calls f with every window of the side, of each lane that tells whether
// the runner could send.
func (s *side) senders(f func(*record.Window)) {
	for i := range s.rec.Lanes {
		if s.rec.Lanes[i].Lane.Name == scenarios.LaneStream && len(s.rec.Lanes) > 1 {
			continue // it waits more than it sends
		}
		for j := range s.rec.Lanes[i].Windows {
			if w := &s.rec.Lanes[i].Windows[j]; w.Second*secondNS >= s.start() && w.Second*secondNS < s.end() {
				f(w)
			}
		}
	}
}

// believed returns the parts of [first, last] that lie in seconds in which the
// runner was not, and was not close to being, overloaded.
func (s *side) believed(first, last int64) []Stretch {
	if len(s.suspect) == 0 {
		return []Stretch{{first, last}}
	}
	var out []Stretch
	for at := first / secondNS; at <= last/secondNS; at++ {
		if !s.suspect[at] {
			out = appendStretch(out, Stretch{max(first, at*secondNS), min(last, (at+1)*secondNS-1)}, 1)
		}
	}
	return out
}

// witnessed is believed for what the runner itself saw, by its probes and watches:
// that load agents could not send says nothing of the runner.
func (s *side) witnessed(first, last int64) []Stretch {
	if len(s.rec.Run.Agents) > 0 {
		return []Stretch{{first, last}}
	}
	return s.believed(first, last)
}

// sure returns how much of an outage is certain, in nanoseconds: its lower
// bound or, where the runner was overloaded in some of it, the longest believed
// part that is an outage by itself. Without any such part it returns false.
func (l *laneSide) sure(o *Outage, all []disturbance, d *detector) (int64, bool) {
	parts := l.side.believed(o.Start, o.End)
	if len(parts) == 1 && parts[0] == (Stretch{o.Start, o.End}) {
		return o.LowerNS, true
	}
	var longest int64
	for _, p := range parts {
		var failed burst
		var held []disturbance
		for _, x := range all {
			first, last := max(x.first, p.Start), min(x.last, p.End)
			if last < first || x.kind == record.SpanUnsent {
				continue
			}
			if first != x.first || last != x.last { // its share of what lies inside
				x.count = uint64(max(1, float64(x.count)*float64(last-first)/max(1, float64(x.last-x.first))))
				x.first, x.last, x.hidden = first, last, 0
			}
			held = append(held, x)
			if x.kind == record.SpanFailed {
				failed = append(failed, x)
			}
		}
		if len(failed) > 0 {
			for _, b := range split(failed, d.period) {
				if d.conclusive(b) {
					longest = max(longest, b.last()-b.first())
				}
			}
		}
		for _, x := range stalls(held, int64(d.resolution())) {
			longest = max(longest, x.last-x.first)
		}
	}
	longest = min(longest, o.LowerNS)
	return longest, longest > 0
}

// ruleOverload says in how much of the upgrade the runner was overloaded; where
// it never was, there is no such rule.
func (j *judgement) ruleOverload() {
	if len(j.up.overloaded) == 0 {
		return
	}
	v := Validity{Rule: "overload", Value: float64(len(j.up.overloaded)), Unit: "s", Limit: (1 - minUsableFailures) * float64(j.up.duration()/secondNS)}
	for second := j.up.start() / secondNS; second <= j.up.end()/secondNS; second++ {
		if j.up.suspect[second] {
			v.Unusable = appendStretch(v.Unusable, Stretch{second * secondNS, (second + 1) * secondNS}, 0)
		}
	}
	v.Explain = fmt.Sprintf("In %d s of the upgrade the runner was overloaded: %s or more of the slots of every lane were not sent. What failed then, and close to it, is not held against the upgrade.", len(j.up.overloaded), share(overloadUnsent))
	j.add(v, v.Value <= v.Limit)
}
