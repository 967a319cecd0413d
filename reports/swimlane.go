package reports

import (
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// swimlane is what happened to one node during the roll. Times are seconds
// from the start of the run.
type swimlane struct {
	Node  string     `json:"node"`
	Label string     `json:"label"` // role and versions
	Spans []nodeSpan `json:"spans"`
	Marks []nodeMark `json:"marks"`
}

// nodeSpan is a stretch in which a node was in some state.
type nodeSpan struct {
	State string  `json:"state"`
	Start float64 `json:"s"`
	End   float64 `json:"e"`
	Open  bool    `json:"open,omitempty"` // it did not end within the record
}

// nodeMark is an instant of a node.
type nodeMark struct {
	What string  `json:"what"`
	T    float64 `json:"t"`
}

// transitions tells which kind of event begins a state of a node and which ends it.
var transitions = []struct{ state, begin, end string }{
	{"cordoned", timeline.KindCordon, timeline.KindUncordon},
	{"draining", timeline.KindDrainStart, timeline.KindDrainEnd},
	{stateStalled, timeline.KindDrainStalled, timeline.KindDrainEnd},
	{"upgrading", timeline.KindUpgradeStart, timeline.KindUpgradeEnd},
	{"not ready", timeline.KindNodeNotReady, timeline.KindNodeReady},
}

// stateStalled is the state of a node whose drain at least one pod holds up.
const stateStalled = "stalled"

// marks are the instants of a node that are shown, with their words.
var marks = map[string]string{
	timeline.KindNodeVersion:  "version changed",
	timeline.KindNodeRebooted: "rebooted",
	timeline.KindNodeAdded:    "added",
	timeline.KindNodeRemoved:  "removed",
}

// swimlanes returns one lane for each node of v, in its order, and for each
// that only the timeline knows.
func swimlanes(v View, events []timeline.Event, end float64) []swimlane {
	var lanes []swimlane
	at := map[string]int{}
	find := func(node string) *swimlane {
		i, ok := at[node]
		if !ok {
			i = len(lanes)
			at[node] = i
			lanes = append(lanes, swimlane{Node: node})
		}
		return &lanes[i]
	}
	for _, n := range v.Nodes {
		find(n.Name).Label = n.role() + ", " + n.versions()
	}
	stalled := map[string]map[string]bool{} // node to the pods that hold its drain up
	last := ""                              // the node whose upgrade ended last, or the one in its place: a validation that names none follows it
	succeeds := map[string]string{}         // new node to old
	for _, e := range events {
		node, isNode := strings.CutPrefix(e.Subject, "node/")
		node = clean(node)
		t := seconds64(e.T)
		if e.Kind == timeline.KindValidation && e.Detail["passed"] == "true" {
			if !isNode {
				node = last
			}
			if node != "" {
				l := find(node)
				l.Marks = append(l.Marks, nodeMark{"validated", t})
			}
			continue
		}
		if n := clean(e.Detail["node"]); e.Kind == timeline.KindPodForced && n != "" {
			l := find(n)
			l.Marks = append(l.Marks, nodeMark{"pod forced", t})
		}
		if !isNode {
			continue
		}
		switch e.Kind {
		case timeline.KindDrainStalled:
			if stalled[node] == nil {
				stalled[node] = map[string]bool{}
			}
			stalled[node][e.Detail["pod"]] = true
		case timeline.KindDrainResumed:
			delete(stalled[node], e.Detail["pod"])
			if open := find(node).open(stateStalled); open != nil && len(stalled[node]) == 0 {
				open.End, open.Open = t, false
			}
		case timeline.KindDrainEnd:
			delete(stalled, node)
		}
		if word, ok := marks[e.Kind]; ok {
			l := find(node)
			l.Marks = append(l.Marks, nodeMark{word, t})
		}
		for _, x := range transitions {
			switch e.Kind {
			case x.begin:
				l := find(node)
				if open := l.open(x.state); open == nil {
					l.Spans = append(l.Spans, nodeSpan{State: x.state, Start: t, End: end, Open: true})
				}
			case x.end:
				if open := find(node).open(x.state); open != nil {
					open.End, open.Open = t, false
				}
			}
		}
		switch e.Kind {
		case timeline.KindUpgradeEnd:
			last = node
			if new := clean(e.Detail["new"]); new != "" {
				last = new
				succeeds[new] = node
			}
		case timeline.KindNodeRemoved:
			find(node).close(t)
		}
	}
	for i := range lanes {
		l := &lanes[i]
		if old := succeeds[l.Node]; old != "" && l.Label != "" {
			l.Label += ", in place of " + old
		}
	}
	return lanes
}

// close ends every state of a node that is gone.
func (l *swimlane) close(t float64) {
	for i := range l.Spans {
		if l.Spans[i].Open {
			l.Spans[i].End, l.Spans[i].Open = t, false
		}
	}
}

func (l *swimlane) open(state string) *nodeSpan {
	for i := range l.Spans {
		if l.Spans[i].State == state && l.Spans[i].Open {
			return &l.Spans[i]
		}
	}
	return nil
}

// seconds64 turns nanoseconds into seconds.
func seconds64(ns int64) float64 { return float64(ns) / 1e9 }

// runEnd returns the end of everything in r, in seconds.
func runEnd(r *record.Record, g grid) float64 {
	end := float64(g.First + int64(g.N)*g.Width)
	if g.N == 0 {
		end = 0
	}
	for _, e := range r.Events {
		end = max(end, seconds64(e.T))
	}
	for _, s := range r.Run.Steps {
		end = max(end, seconds64(s.EndNS))
	}
	return max(end, 1)
}
