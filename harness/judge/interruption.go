package judge

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// ruleInterruptions holds when no interruption of the run left more of the
// upgrade unmeasured than the longest outage allowed: a longer one could hide
// there. Where no limit is set, no such outage is judged, and any gap is too
// much only by the rules about lanes. A record that nobody interrupted has no
// such rule.
func (j *judgement) ruleInterruptions(criteria []scenarios.Criterion) {
	all := j.up.rec.Run.Interruptions
	if len(all) == 0 {
		return
	}
	limit := -1.0
	for _, c := range criteria {
		if c.Kind == scenarios.KindOutage && c.Limit >= 0 && (limit < 0 || c.Limit < limit) {
			limit = c.Limit
		}
	}
	v := Validity{Rule: "interruptions", Unit: "s", Limit: max(limit, 0) / 1e9}
	v.Explain = fmt.Sprintf("The run was interrupted %s, when the upgrade was not being measured: what counts was measured in one piece.", times(int32(len(all))))
	var gap Stretch
	for _, i := range all {
		for _, e := range j.lanes {
			g := e.up.unmeasured(i)
			if g.End <= g.Start {
				continue
			}
			v.Unusable = append(v.Unusable, g)
			if g.End-g.Start > gap.End-gap.Start {
				gap = g
				v.Explain = fmt.Sprintf("The run was interrupted %s, in the upgrade, and nothing was measured for %s: an outage could not have been seen then", at(i.AtNS), duration(float64(g.End-g.Start)))
			}
		}
	}
	v.Unusable = merged(v.Unusable)
	v.Value = float64(gap.End-gap.Start) / 1e9
	switch ok := limit < 0 || v.Value*1e9 <= limit; {
	case gap == Stretch{}:
		j.global(v, true)
	case limit < 0:
		v.Explain += "."
		j.global(v, ok)
	default:
		v.Explain += fmt.Sprintf("; %s is allowed.", duration(limit))
		j.global(v, ok)
	}
}

// unmeasured returns the part of the side for which the lane has no window
// because of an interruption; it is empty where End is not after Start.
func (l *laneSide) unmeasured(i record.Interruption) Stretch {
	g := Stretch{l.side.start(), l.side.end()}
	if l.data == nil || len(l.side.phases) == 0 {
		return g
	}
	for k := range l.data.Windows {
		at := l.data.Windows[k].Second * secondNS
		if at > i.AtNS {
			g.End = min(g.End, at)
			break
		}
		// Of the last second as much was measured as it has requests. The run's last
		// sign of life says less: a process that ends lives on for a while without load.
		sent := min(1, float64(l.data.Windows[k].Due())/l.lane.Rate)
		g.Start = max(l.side.start(), at+int64(sent*float64(secondNS)))
	}
	return g
}

// merged joins stretches that touch.
func merged(list []Stretch) []Stretch {
	slices.SortFunc(list, func(a, b Stretch) int { return cmp.Compare(a.Start, b.Start) })
	var out []Stretch
	for _, s := range list {
		out = appendStretch(out, s, 0)
	}
	return out
}
