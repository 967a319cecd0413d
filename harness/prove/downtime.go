package prove

import (
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// probe checks that one of the probes saw the fault as one downtime.
func (e *evaluation) probe(want *Probe) {
	var best *bounds
	name := ""
	tol := int64(3 * time.Millisecond)
	for _, p := range e.trial.Record.Run.Probes {
		if !slices.Contains(want.Names, p.Name) {
			continue
		}
		tol = max(tol, 2*p.IntervalNS)
		for _, d := range downtimes(e.trial.Record, p.Name) {
			// The one that shares the most with the fault.
			if d.end < e.from-tol || d.start > e.to+tol || best != nil && d.lower <= best.lower {
				continue
			}
			best, name = &d, p.Name
		}
	}
	if best == nil {
		e.miss("None of the probes %s saw a downtime while the fault was there.", strings.Join(want.Names, ", "))
		return
	}
	e.found = append(e.found, finding{at: best.start})
	e.bounded("The downtime of probe "+name, *best, e.to-e.from, tol, int64(want.Adds), 0)
}

// downtimes returns what the timeline says of the stretches in which a probe
// failed.
func downtimes(r *record.Record, probe string) []bounds {
	var out []bounds
	open := false
	for _, ev := range r.Events {
		if ev.Subject != "probe/"+probe {
			continue
		}
		switch {
		case ev.Kind == timeline.KindProbeDown:
			out = append(out, bounds{start: ev.T, end: end(r), lower: end(r) - ev.T, open: true})
			open = true
		case ev.Kind == timeline.KindProbeUp && open:
			open = false
			d := &out[len(out)-1]
			lower, err1 := time.ParseDuration(ev.Detail["atLeast"])
			upper, err2 := time.ParseDuration(ev.Detail["atMost"])
			if err1 == nil && err2 == nil {
				d.lower, d.upper, d.open = int64(lower), int64(upper), false
				d.end = d.start + d.lower
			}
		}
	}
	return out
}
