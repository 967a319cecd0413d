package search

import (
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// NodeTimes returns how long each node of a record took, in the order in which
// they rolled: from the start of its upgrade to the end of the validation after
// it, without the interval that is waited then. Nodes that failed, that an
// interruption cut in two, or that went back are left out.
func NodeTimes(r *record.Record, interval time.Duration) []time.Duration {
	begun := map[string]int64{}
	var out []time.Duration
	for _, e := range r.Events {
		switch {
		case e.Kind == timeline.KindInterrupted:
			clear(begun)
		case e.Detail["rollback"] != "":
		case !strings.HasPrefix(e.Subject, "node/"): // a group or an add-on of EKS, or a whole cluster
		case e.Kind == timeline.KindUpgradeStart:
			begun[e.Subject] = e.T
		case e.Kind == timeline.KindUpgradeEnd:
			start, ok := begun[e.Subject]
			delete(begun, e.Subject)
			if !ok || e.Detail["error"] != "" {
				continue
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
