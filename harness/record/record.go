package record

import "github.com/kube-rehearse/rehearse/harness/timeline"

// Record is a whole run directory in memory, as the judge and the reports see it.
type Record struct {
	Run    Run
	Events []timeline.Event // in order of T
	Lanes  []LaneData       // in the order of Run.Lanes
	Probes []ProbeData      // in the order of Run.Probes
	Before *Snapshot        // nil where the run did not come that far
	After  *Snapshot
	// Complete is true where the run was finished and sealed, and every file is
	// as it was then. A run that was killed leaves a record that is not.
	Complete bool
	// Damage lists what could not be read: a torn last frame after a crash. A
	// record with damage anywhere else does not load at all, and a complete one
	// has none.
	Damage []Damage
}

// LaneData is what one lane recorded.
type LaneData struct {
	Lane     Lane
	Windows  []Window // in order of Second; a second without a window is a gap
	Requests []Request
	// Dropped counts the failed and slow requests that were not written singly
	// because the lane had reached its bound.
	Dropped uint64
	// Parts are what each of Run.Agents has sent of the lane, in that order; none
	// where the runner's own process sent it.
	Parts []Part
}

// Part is what one agent sent of a lane, in all. Its seconds by themselves are for
// LoadPart.
type Part struct {
	Seconds int // windows recorded
	// Sum has the counts, histograms and connections of all of them; its Second is
	// the first one's, and it has no spans.
	Sum Window
}

// ProbeData is what one probe recorded.
type ProbeData struct {
	Probe   Probe
	Samples []ProbeSample
}

// Damage is one place of a record that could not be read.
type Damage struct {
	File   string `json:"file"` // path inside the run directory
	Offset int64  `json:"offset"`
	What   string `json:"what"`
}

// Interval is a stretch of the run, in nanoseconds from its start.
type Interval struct {
	Name       string
	Start, End int64
}

// Phases returns the run's phases in order, derived from the timeline. A phase
// that was begun and not ended (an interrupted run) ends with the last event.
func (r *Record) Phases() []Interval {
	var out []Interval
	last := int64(0)
	for _, e := range r.Events {
		last = max(last, e.T)
	}
	for _, e := range r.Events {
		switch e.Kind {
		case timeline.KindPhase:
			name := phaseName(e.Subject)
			if n := len(out); n > 0 && out[n-1].Name == name {
				out[n-1].End = last // it goes on after an interruption
				continue
			}
			out = append(out, Interval{Name: name, Start: e.T, End: last})
		case timeline.KindResumed:
			if e.Detail["measurement"] == timeline.MeasurementAnew {
				out = nil
			}
		case timeline.KindPhaseEnd:
			for i := len(out) - 1; i >= 0; i-- {
				if out[i].Name == phaseName(e.Subject) {
					out[i].End = e.T
					break
				}
			}
		}
	}
	return out
}

// Since returns from when on what was measured counts, in nanoseconds from the
// start: where the run was interrupted before its upgrade began, all was measured
// again from there on. Otherwise it is 0.
func (r *Record) Since() int64 {
	var since int64
	for _, i := range r.Run.Interruptions {
		if i.Anew {
			since = i.ResumedNS
		}
	}
	return since
}

// Phase returns the last phase called name, and whether there is one.
func (r *Record) Phase(name string) (Interval, bool) {
	all := r.Phases()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Name == name {
			return all[i], true
		}
	}
	return Interval{}, false
}

func phaseName(subject string) string {
	const prefix = "phase/"
	if len(subject) > len(prefix) && subject[:len(prefix)] == prefix {
		return subject[len(prefix):]
	}
	return subject
}
