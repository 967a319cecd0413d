package judge

import (
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// laneEvidence is everything that is known about one lane.
type laneEvidence struct {
	lane     record.Lane
	base, up *laneSide
	detector *detector
	outages  []Outage // of the upgrade's side
	before   []Outage // of the baseline
	// noPass is the reason, as the end of a sentence, why this lane can pass no
	// rate and no latency criterion; empty where it can.
	noPass     string
	resolution Resolution
	// latency, made on first use
	size   int // seconds a block
	basePr pair
	upPr   pair
	built  bool
}

func newLaneEvidence(base, up *side, lane record.Lane) *laneEvidence {
	e := &laneEvidence{lane: lane, base: newLaneSide(base, lane), up: newLaneSide(up, lane)}
	e.base.markOwn()
	e.up.markOwn()
	return e
}

// look finds the lane's outages, with what the control lane tells; slow are the
// seconds in which it was slow.
func (e *laneEvidence) look(control *laneEvidence, slow map[int64]bool) {
	var cb, cu *laneSide
	if control != nil {
		cb, cu = control.base, control.up
		e.base.markControl(cb, nil)
		e.up.markControl(cu, slow)
	}
	slots := e.lane.Rate * float64(e.up.side.duration()) / 1e9
	e.detector = newDetector(e.base, e.lane, len(e.up.secs), slots)
	e.outages = findOutages(e.up, cu, e.detector)

	// The baseline judged by its own standards: no threshold learnt from itself.
	strict := newDetector(&laneSide{side: e.base.side, lane: e.lane}, e.lane, len(e.base.secs), slots)
	e.before = findOutages(e.base, cb, strict)
}

// blocks returns the latency of both sides in blocks, with the control lane's
// in the same seconds.
func (e *laneEvidence) blocks(control *laneEvidence) (base, up pair) {
	if e.built {
		return e.basePr, e.upPr
	}
	e.size = blockSeconds(e.base.countUsable(spoilsLatency), e.up.countUsable(spoilsLatency))
	build := func(own *laneSide, other *laneSide) pair {
		windows := own.usable(spoilsLatency)
		p := pair{lane: newBlocks(windows, e.size)}
		if other != nil && other.data != nil {
			p.control = other.blocksIn(windows, e.size)
		}
		return p
	}
	var cb, cu *laneSide
	if control != nil {
		cb, cu = control.base, control.up
	}
	e.basePr, e.upPr, e.built = build(e.base, cb), build(e.up, cu), true
	return e.basePr, e.upPr
}

// blocksIn returns the lane's blocks in the seconds of other windows. It keeps
// the last ones made: most often all lanes ask for the same seconds.
func (l *laneSide) blocksIn(windows []*record.Window, size int) *blocks {
	all := l.windows()
	same := make([]*record.Window, 0, len(windows))
	for _, w := range windows {
		o := all.at(w.Second)
		if o == nil {
			o = &noWindow
		}
		same = append(same, o)
	}
	if l.kept == nil || l.keptSize != size || !slices.Equal(l.keptOf, same) {
		l.kept, l.keptSize, l.keptOf = newBlocks(same, size), size, same
	}
	return l.kept
}

// noWindow stands for a second that was not recorded; it is never written.
var noWindow record.Window

// sums returns one entry for each of the phases in which a lane sent.
func sums(r *record.Record, phases []record.Interval) []LaneSum {
	out := []LaneSum{}
	for i := range r.Lanes {
		d := &r.Lanes[i]
		for _, p := range phases {
			s := LaneSum{Lane: d.Lane.Name, Phase: p.Name}
			var latency record.Dense
			var top uint64
			var whole record.Window // its counts are those of the phase
			for j := range d.Windows {
				w := &d.Windows[j]
				// A window belongs to the phase in which its middle lies.
				if mid := w.Second*secondNS + secondNS/2; mid < p.Start || mid >= p.End {
					continue
				}
				for c, n := range w.Counts {
					whole.Counts[c] += n
				}
				latency.Merge(&w.Latency, 1)
				top = max(top, w.Latency.Max())
			}
			s.Due, s.Sent, s.Failed, s.Unsent = whole.Due(), whole.Sent(), whole.Failed(), whole.Counts[record.Unsent]
			if s.Due == 0 {
				continue
			}
			for c, n := range whole.Counts {
				if class := record.Class(c); class.Failed() && n > 0 {
					if s.Classes == nil {
						s.Classes = map[string]uint64{}
					}
					s.Classes[class.String()] += n
				}
			}
			ms := func(q float64) float64 { return significant(float64(latency.Quantile(q)) / 1000) }
			s.P50MS, s.P90MS, s.P99MS, s.P999MS, s.MaxMS = ms(0.5), ms(0.9), ms(0.99), ms(0.999), significant(float64(top)/1000)
			out = append(out, s)
		}
	}
	return out
}

// observed reports whether the timeline of the side shows that something was
// upgraded, and whether anything watched the cluster at all.
func (s *side) observed() (changed, watched bool) {
	for _, e := range s.rec.Events {
		switch e.Source {
		case timeline.SourceKube, timeline.SourceStep, timeline.SourceDriver:
			watched = true
		default:
			continue
		}
		if e.T < s.start() || e.T >= s.end() {
			continue
		}
		switch e.Kind {
		case timeline.KindUpgradeStart, timeline.KindUpgradeEnd, timeline.KindNodeVersion, timeline.KindPodVersion, timeline.KindNodeAdded:
			changed = true
		}
	}
	return changed, watched
}
