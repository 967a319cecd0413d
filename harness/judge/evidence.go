package judge

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const secondNS = int64(1e9)

// side is one half of a comparison: the stretches of one record that count as
// the baseline, or as the upgrade.
type side struct {
	rec     *record.Record
	phases  []record.Interval // in order, not overlapping
	control *record.LaneData  // nil where the record has no control lane
	// Seconds in which the runner was overloaded, and those with the ones near
	// them; nil where it never was.
	overloaded, suspect map[int64]bool
}

// baselineSide returns the baseline of r. Whole is for a record made by
// `rehearse record`, which need not know phases: without one called baseline,
// everything but the warm-up counts.
func baselineSide(r *record.Record, whole bool) side {
	s := newSide(r, timeline.PhaseBaseline)
	if len(s.phases) == 0 && whole {
		s.phases = allButWarmup(r, timeline.PhaseBaseline)
	}
	return s
}

// upgradeSide returns the upgrade of r, which lasts until the end of the settle
// phase: some faults surface only after the last node is done.
func upgradeSide(r *record.Record, whole bool) side {
	s := newSide(r, timeline.PhaseUpgrade, timeline.PhaseRollback, timeline.PhaseSettle)
	if whole && !slices.ContainsFunc(s.phases, func(p record.Interval) bool { return p.Name == timeline.PhaseUpgrade }) {
		s.phases = allButWarmup(r, timeline.PhaseUpgrade)
	}
	return s
}

func newSide(r *record.Record, names ...string) side {
	s := side{rec: r}
	for _, name := range names {
		if p, ok := r.Phase(name); ok && p.End > p.Start {
			s.phases = append(s.phases, p)
		}
	}
	slices.SortFunc(s.phases, func(a, b record.Interval) int { return cmp.Compare(a.Start, b.Start) })
	for i := range r.Lanes {
		if r.Lanes[i].Lane.Control {
			s.control = &r.Lanes[i]
		}
	}
	return s
}

// allButWarmup returns the stretch from the end of the warm-up to the last
// window of any lane, as a phase called name.
func allButWarmup(r *record.Record, name string) []record.Interval {
	first, last := int64(math.MaxInt64), int64(0)
	for i := range r.Lanes {
		if w := r.Lanes[i].Windows; len(w) > 0 {
			first, last = min(first, w[0].Second*secondNS), max(last, (w[len(w)-1].Second+1)*secondNS)
		}
	}
	if p, ok := r.Phase(timeline.PhaseWarmup); ok {
		first = max(first, p.End)
	}
	if last <= first {
		return nil
	}
	return []record.Interval{{Name: name, Start: first, End: last}}
}

// duration returns the side's length in nanoseconds.
func (s *side) duration() int64 {
	var d int64
	for _, p := range s.phases {
		d += p.End - p.Start
	}
	return d
}

// stretches returns the side's phases, those that follow one another without a
// gap joined: the load does not pause between them.
func (s *side) stretches() []Stretch {
	var out []Stretch
	for _, p := range s.phases {
		out = appendStretch(out, Stretch{p.Start, p.End}, secondNS/100)
	}
	return out
}

// start and end return the side's outer edges.
func (s *side) start() int64 {
	if len(s.phases) == 0 {
		return 0
	}
	return s.phases[0].Start
}

func (s *side) end() int64 {
	if len(s.phases) == 0 {
		return 0
	}
	return s.phases[len(s.phases)-1].End
}

// phaseAt returns the name of the phase that t falls into, or the one before it.
func (s *side) phaseAt(t int64) string {
	name := ""
	for _, p := range s.phases {
		if name == "" || t >= p.Start {
			name = p.Name
		}
	}
	return name
}

// flaw is a set of reasons why a second's evidence cannot be used for something.
type flaw uint8

const (
	flawGap           flaw = 1 << iota // no window was recorded
	flawLag                            // requests were sent too late
	flawUnsent                         // slots were not sent
	flawShort                          // fewer slots than the rate asks for
	flawControlSlow                    // the control lane slowed at the same time
	flawControlFailed                  // the control lane failed at the same time
	flawLateTimeout                    // timeouts while the runner was far behind
	flawOverload                       // failures while the runner was overloaded, or close to it
)

// What a flaw spoils: latency by any of them; a failure can be blamed on the
// target unless the control lane failed too or the runner was far behind.
const (
	spoilsLatency  = flawGap | flawLag | flawUnsent | flawShort | flawControlSlow | flawControlFailed
	omits          = flawGap | flawUnsent | flawShort // those in which requests are missing
	spoilsFailures = flawGap | flawControlFailed | flawLateTimeout | flawOverload
)

// second is one whole second of a side, on one lane.
type second struct {
	at    int64 // offset from the run's start, in seconds
	win   *record.Window
	flaws flaw
}

// laneSide is one lane's evidence on one side.
type laneSide struct {
	side *side
	lane record.Lane
	data *record.LaneData // nil where the lane recorded nothing
	secs []second         // whole seconds inside the phases, in order
	// excused counts the control lane's failures close to those of usable seconds.
	excused float64

	kept     *blocks // see blocksIn
	keptOf   []*record.Window
	keptSize int
}

// period returns the time between two slots in nanoseconds.
func (l *laneSide) period() float64 {
	if l.lane.Rate <= 0 {
		return 1e9
	}
	return 1e9 / l.lane.Rate
}

// newLaneSide collects the seconds of a lane. An incomplete second at a phase's
// edge is left out: there the load started or stopped within it.
func newLaneSide(s *side, lane record.Lane) *laneSide {
	l := &laneSide{side: s, lane: lane, data: laneData(s.rec, lane.Name)}
	var windows []record.Window
	if l.data != nil {
		windows = l.data.Windows
	}
	i := 0
	for _, p := range s.stretches() {
		first, last := (p.Start+secondNS-1)/secondNS, p.End/secondNS-1
		for at := first; at <= last; at++ {
			for i < len(windows) && windows[i].Second < at {
				i++
			}
			sec := second{at: at}
			if i < len(windows) && windows[i].Second == at {
				sec.win = &windows[i]
				i++
			}
			edge := at == first || at == last
			if edge && (sec.win == nil || l.short(sec.win.Due())) {
				continue
			}
			l.secs = append(l.secs, sec)
		}
	}
	return l
}

// short reports whether due falls short of what the rate asks for in a second:
// by over 1%, beyond the one slot that may fall to either side of an edge.
func (l *laneSide) short(due uint64) bool {
	return float64(due) < minAchieved*l.lane.Rate-1
}

// windowIndex finds a lane's windows by their second.
type windowIndex []record.Window

func (x windowIndex) at(second int64) *record.Window {
	if len(x) == 0 {
		return nil
	}
	// Windows rarely have gaps: look where it would be without any.
	if i := second - x[0].Second; i >= 0 && i < int64(len(x)) && x[i].Second == second {
		return &x[i]
	}
	if i, ok := slices.BinarySearchFunc(x, second, func(w record.Window, s int64) int { return cmp.Compare(w.Second, s) }); ok {
		return &x[i]
	}
	return nil
}

// windows returns all of the lane's windows.
func (l *laneSide) windows() windowIndex {
	if l.data == nil {
		return nil
	}
	return l.data.Windows
}

// hasWindows reports whether the lane recorded anything on this side.
func (l *laneSide) hasWindows() bool {
	return slices.ContainsFunc(l.secs, func(s second) bool { return s.win != nil })
}

// usable returns the windows that no flaw of mask spoils.
func (l *laneSide) usable(mask flaw) []*record.Window {
	out := make([]*record.Window, 0, l.countUsable(mask))
	for i := range l.secs {
		if s := &l.secs[i]; s.win != nil && s.flaws&mask == 0 {
			out = append(out, s.win)
		}
	}
	return out
}

// countUsable returns how many windows no flaw of mask spoils.
func (l *laneSide) countUsable(mask flaw) (n int) {
	for i := range l.secs {
		if s := &l.secs[i]; s.win != nil && s.flaws&mask == 0 {
			n++
		}
	}
	return n
}

// sent returns the number of requests sent in the side's whole seconds.
func (l *laneSide) sent() (n uint64) {
	for i := range l.secs {
		if w := l.secs[i].win; w != nil {
			n += w.Sent()
		}
	}
	return n
}

// stretches returns the side's seconds that carry a flaw of mask, joined.
func (l *laneSide) stretches(mask flaw) []Stretch {
	var out []Stretch
	for i := range l.secs {
		if s := &l.secs[i]; s.flaws&mask != 0 {
			out = appendStretch(out, Stretch{s.at * secondNS, (s.at + 1) * secondNS}, 0)
		}
	}
	return out
}

// appendStretch adds s to a list in order of Start, joining it with the last
// one where at most slack nanoseconds are between them.
func appendStretch(list []Stretch, s Stretch, slack int64) []Stretch {
	if n := len(list); n > 0 && s.Start <= list[n-1].End+slack {
		list[n-1].End = max(list[n-1].End, s.End)
		return list
	}
	return append(list, s)
}

func laneData(r *record.Record, name string) *record.LaneData {
	for i := range r.Lanes {
		if r.Lanes[i].Lane.Name == name {
			return &r.Lanes[i]
		}
	}
	return nil
}

// laneNamed returns the lane of that name that the run announced.
func laneNamed(r *record.Record, name string) (record.Lane, bool) {
	for _, l := range r.Run.Lanes {
		if l.Name == name {
			return l, true
		}
	}
	return record.Lane{}, false
}

// laneLost returns when the generator of a lane died, if it did.
func laneLost(r *record.Record, name string) (int64, bool) {
	for _, e := range r.Events {
		if e.Kind == timeline.KindLaneLost && strings.TrimPrefix(e.Subject, "lane/") == name {
			return e.T, true
		}
	}
	return 0, false
}
