package search

import (
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Roll is how a scenario rolls its nodes.
type Roll struct {
	Batch                              int // workers that roll together, at least 1
	ControlPlaneInterval, NodeInterval time.Duration
}

// Rounds returns in how many rounds so many nodes roll.
func (r Roll) Rounds(nodes int) int {
	batch := max(1, r.Batch)
	return (nodes + batch - 1) / batch
}

// Rounds returns how long each round of a record's roll took, in order: a node, or
// the nodes of a batch, from the start of the first one's upgrade to the end of the
// validation after the last, without the interval that is waited then. Left out are
// rounds in which a node failed or that an interruption cut in two, nodes that went
// back, and workers that were there for the time of the roll alone.
func Rounds(r *record.Record, roll Roll) []time.Duration {
	intervals := map[string]time.Duration{} // of control planes, by subject
	if r.Before != nil {
		for _, n := range r.Before.Nodes {
			if n.ControlPlane {
				intervals["node/"+n.Name] = roll.ControlPlaneInterval
			}
		}
	}
	open, failed, start := map[string]bool{}, false, int64(0)
	var out []time.Duration
	for _, e := range r.Events {
		switch {
		case e.Kind == timeline.KindInterrupted:
			clear(open)
		case e.Detail["rollback"] != "" || e.Detail["strategy"] == timeline.StrategyExtraCapacity:
		case !strings.HasPrefix(e.Subject, "node/"): // a group or an add-on of EKS, or a whole cluster
		case e.Kind == timeline.KindUpgradeStart:
			if len(open) == 0 {
				start, failed = e.T, false
			}
			open[e.Subject] = true
		case e.Kind == timeline.KindUpgradeEnd && open[e.Subject]:
			delete(open, e.Subject)
			failed = failed || e.Detail["error"] != ""
			if failed || len(open) > 0 {
				continue
			}
			interval, ok := intervals[e.Subject]
			if !ok {
				interval = roll.NodeInterval
			}
			took := time.Duration(e.T - start)
			if v := stepAfter(r, e.T); v != nil {
				took += max(0, time.Duration(v.EndNS-v.StartNS)-interval)
			}
			out = append(out, took)
		}
	}
	return out
}

// stepAfter returns the step of the upgrade that began first after t and ended
// well: the validation after a node.
func stepAfter(r *record.Record, t int64) *record.Step {
	for i := range r.Run.Steps {
		if s := &r.Run.Steps[i]; s.StartNS >= t && s.Outcome == record.OutcomePassed {
			return s
		}
	}
	return nil
}
