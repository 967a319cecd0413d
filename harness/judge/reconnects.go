package judge

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// drainSlack is how long after its drain a node's streams may still end: the
// events of both come from different watchers.
const drainSlack = 2 * secondNS

// planned is a stretch in which the streams of a node's pods were meant to end.
type planned struct {
	node     string // "node/NAME"
	from, to int64
}

// drains returns the planned drains of a side's record: from the first eviction
// to the last pod gone as the steps tell or, where something else drove the
// upgrade, from a node's cordon until it was uncordoned or removed.
func (s *side) drains() []planned {
	if out := s.between([]string{timeline.KindDrainStart}, []string{timeline.KindDrainEnd}); len(out) > 0 {
		return out
	}
	return s.between([]string{timeline.KindCordon}, []string{timeline.KindUncordon, timeline.KindNodeRemoved})
}

// between returns the stretches from events of the first kinds to the next event
// of the other kinds about the same subject, or to the end of the record.
func (s *side) between(first, last []string) []planned {
	var out []planned
	open := map[string]int{}
	for _, e := range s.rec.Events {
		for _, kind := range first {
			if _, begun := open[e.Subject]; e.Kind == kind && !begun {
				open[e.Subject] = len(out)
				out = append(out, planned{node: e.Subject, from: e.T, to: 1<<63 - 1})
			}
		}
		for _, kind := range last {
			if i, begun := open[e.Subject]; e.Kind == kind && begun {
				out[i].to = e.T + drainSlack
				delete(open, e.Subject)
			}
		}
	}
	return out
}

// duringDrain reports whether a stream's end fell into a planned drain of the
// node that its pod ran on. A target that does not name the node, as the canary
// does, gets the benefit of any drain.
func duringDrain(e *timeline.Event, drains []planned) bool {
	node := e.Detail["node"]
	for _, d := range drains {
		if e.T >= d.from && e.T <= d.to && (node == "" || node == "unknown" || d.node == "node/"+node) {
			return true
		}
	}
	return false
}

// breaks returns the ends of a lane's streams within a side.
func (s *side) breaks(lane string) []*timeline.Event {
	var out []*timeline.Event
	for i := range s.rec.Events {
		e := &s.rec.Events[i]
		if e.Kind != timeline.KindStreamBroken || e.Subject != "lane/"+lane {
			continue
		}
		for _, p := range s.phases {
			if e.T >= p.Start && e.T < p.End {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

// judgeReconnects judges how often a stream broke outside planned drains, which
// it must be expected to survive.
func (j *judgement) judgeReconnects(c scenarios.Criterion, e *laneEvidence) Criterion {
	out := Criterion{ID: c.ID, Name: "Reconnects outside planned drains", Lane: c.Lane, Threshold: ptr(c.Limit)}
	out.Samples = Samples{Baseline: e.base.sent(), Upgrade: e.up.sent()}
	if !e.up.hasWindows() {
		return undecided(out, fmt.Sprintf("Nothing was recorded of lane %s during the upgrade.", c.Lane))
	}
	if n := len(j.base.breaks(c.Lane)); n > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("The stream broke %s already in the baseline, before anything was upgraded.", often(n)))
	}
	drains := j.up.drains()
	var held []*timeline.Event // against the upgrade
	drained, spoiled := 0, 0
	for _, b := range j.up.breaks(c.Lane) {
		switch {
		case duringDrain(b, drains):
			drained++
		case e.up.spoiled(b):
			spoiled++
		default:
			held = append(held, b)
		}
	}
	inDrains := ""
	if drained > 0 {
		inDrains = fmt.Sprintf(" It broke %s within the planned drain of its pod's node.", often(drained))
	}
	if spoiled > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("The stream broke %s while the control lane failed as well, or the runner was far behind: that is not counted.", often(spoiled)))
	}
	out.Estimate = ptr(float64(len(held)))
	_, watched := j.up.observed()
	switch {
	case float64(len(held)) > c.Limit && !watched:
		out.Result = Reported
		out.Threshold = nil
		out.Explain = fmt.Sprintf("The stream broke %s, first %s. Nothing watched the cluster, so planned drains cannot be told from the rest. Reported, not judged.", often(len(held)), describeBreak(held[0]))
	case float64(len(held)) > c.Limit:
		out.Result = Fail
		out.Explain = fmt.Sprintf("The stream broke %s outside a planned drain, first %s.%s", often(len(held)), describeBreak(held[0]), inDrains)
	case spoiled > 0:
		undecidedf(&out, "The stream broke %s while the control lane failed as well, or the runner was far behind: whether the upgrade broke it cannot be told.%s", often(spoiled), inDrains)
	default:
		out.Result = Pass
		out.Explain = "The stream never broke outside a planned drain." + inDrains
	}
	return out
}

// spoiled reports whether a break fell into a second whose failures cannot be
// blamed on the target.
func (l *laneSide) spoiled(e *timeline.Event) bool {
	if l.side.suspect[e.T/secondNS] {
		return true // the slot that it failed may be a later second's
	}
	for i := range l.secs {
		if s := &l.secs[i]; s.at == e.T/secondNS {
			return s.flaws&spoilsFailures != 0
		}
	}
	return false
}

func describeBreak(e *timeline.Event) string {
	class := e.Detail["class"]
	if class == record.OK.String() || class == "" {
		class = record.Reset.String()
	}
	what := fmt.Sprintf("%s (%s", at(e.T), class)
	if pod := e.Detail["pod"]; pod != "" {
		what += ", pod " + pod
	}
	if node := e.Detail["node"]; node != "" {
		what += " on " + node
	}
	return what + ")"
}

func often(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return english.Number(uint64(n)) + " times"
}
