package reports

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// charts is the data of the page's timeline, embedded as JSON. Times are
// seconds from the start of the run, unless a field says otherwise.
type charts struct {
	StartMS  int64        `json:"startMS"` // of the run, since 1970
	End      float64      `json:"end"`
	Grid     grid         `json:"grid"`
	Sampling string       `json:"sampling"`
	Phases   []chartSpan  `json:"phases"`
	Lanes    []chartLane  `json:"lanes"`
	Probes   []chartProbe `json:"probes"`
	Events   []chartEvent `json:"events"`
	// Left tells how many events there was no room for.
	Left     int         `json:"left"`
	Outages  []chartSpan `json:"outages"`
	Unusable []chartSpan `json:"unusable"`
	// Bursts are the ledger's entries, in its order.
	Bursts []chartBurst `json:"bursts"`
	Nodes  []swimlane   `json:"nodes"`
}

type chartLane struct {
	Name    string `json:"name"`
	Control bool   `json:"control"`
	laneSeries
}

type chartProbe struct {
	Name string `json:"name"`
	probeSeries
}

type chartSpan struct {
	Name  string  `json:"name"` // of the phase or the lane
	Text  string  `json:"text,omitempty"`
	Start float64 `json:"s"`
	End   float64 `json:"e"`
}

type chartEvent struct {
	T       float64     `json:"t"`
	Kind    string      `json:"kind"`
	Row     int         `json:"row"` // index into eventRows
	Alarm   bool        `json:"alarm,omitempty"`
	Subject string      `json:"subject"`
	Source  string      `json:"source"`
	Detail  [][2]string `json:"detail,omitempty"`
}

type chartBurst struct {
	chartSpan
	Number int    `json:"n"`
	Tone   string `json:"tone"`
	Kind   string `json:"kind"`
}

// maxEvents bounds the events of a page: more can neither be told apart nor
// read, and they would make up most of the file.
const maxEvents = 4000

// eventRows groups the kinds of events, from what the upgrade did to what
// followed from it. A kind that none of them names is in the last.
var eventRows = []struct {
	name  string
	kinds []string
}{
	{"Upgrade", []string{
		timeline.KindCordon, timeline.KindUncordon, timeline.KindDrainStart, timeline.KindDrainEnd,
		timeline.KindEvictRefused, timeline.KindDrainStalled, timeline.KindDrainResumed, timeline.KindPodForced, timeline.KindOrderViolated, timeline.KindUpgradeStart, timeline.KindUpgradeEnd, timeline.KindValidation, timeline.KindRetry,
	}},
	{"Nodes", []string{
		timeline.KindNodeReady, timeline.KindNodeNotReady, timeline.KindNodeAdded, timeline.KindNodeRemoved, timeline.KindNodeVersion,
		timeline.KindNodeRebooted, timeline.KindNodeCondition, timeline.KindHeartbeatLost, timeline.KindHeartbeatBack,
	}},
	{"Pods", []string{
		timeline.KindEvict, timeline.KindPodScheduled, timeline.KindPodReady, timeline.KindPodNotReady, timeline.KindPodTerminating, timeline.KindPodDeleted,
		timeline.KindPodFailed, timeline.KindPodWaiting, timeline.KindRestart, timeline.KindPodVersion, timeline.KindEndpointAdded, timeline.KindEndpointRemoved,
	}},
	{"Observers", []string{
		timeline.KindProbeUp, timeline.KindProbeDown, timeline.KindProbeLost, timeline.KindLaneLost, timeline.KindLaneStart, timeline.KindLaneEnd,
		timeline.KindWatchBlind, timeline.KindWatchSeeing, timeline.KindLongWatchBroken, timeline.KindLongWatchBack,
	}},
	{"Cluster", []string{timeline.KindLease, timeline.KindKubeEvent}},
}

func eventRow(kind string) int {
	for i, row := range eventRows {
		if slices.Contains(row.kinds, kind) {
			return i
		}
	}
	return len(eventRows) - 1
}

// shown reports whether an event has a mark of its own: phases are shaded and
// steps have their own table.
func shown(e timeline.Event) bool {
	switch e.Kind {
	case timeline.KindPhase, timeline.KindPhaseEnd, timeline.KindStepStart, timeline.KindStepEnd:
		return false
	}
	return true
}

func newCharts(v View) charts {
	r := v.rec
	g := newGrid(r)
	c := charts{StartMS: v.Run.Started.UnixMilli(), Grid: g, End: runEnd(r, g), Sampling: g.sampling()}
	for _, p := range r.Phases() {
		c.Phases = append(c.Phases, chartSpan{Name: clean(p.Name), Start: seconds64(p.Start), End: seconds64(p.End)})
	}
	for _, l := range r.Lanes {
		c.Lanes = append(c.Lanes, chartLane{clean(l.Lane.Name), l.Lane.Control, newLaneSeries(g, l.Windows)})
	}
	c.Probes = newChartProbes(g, r.Probes)
	c.Events, c.Left = newEvents(r.Events)
	for _, o := range v.Outages {
		if !o.Usable {
			continue // what was not valid there is shaded as such
		}
		c.Outages = append(c.Outages, chartSpan{o.Lane, o.statement(), o.Span.Start.Seconds(), max(o.Span.End, o.Span.Start).Seconds()})
	}
	for _, b := range v.Ledger.Bursts {
		c.Bursts = append(c.Bursts, chartBurst{chartSpan{b.Lane, b.statement(), b.Span.Start.Seconds(), b.Span.End.Seconds()}, b.Number, b.Tone(), b.Kind})
	}
	c.Unusable = unusable(v.Validity)
	c.Nodes = swimlanes(v, r.Events, c.End)
	return c
}

// unusable joins the stretches of all rules lane by lane: a second in which
// three rules failed is not more unusable than one in which one did.
func unusable(rules []Validity) []chartSpan {
	var all, out []chartSpan
	for _, x := range rules {
		for _, s := range x.Unusable {
			all = append(all, chartSpan{Name: x.Lane, Start: s.Start.Seconds(), End: s.End.Seconds()})
		}
	}
	slices.SortStableFunc(all, func(a, b chartSpan) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Start, b.Start))
	})
	for _, s := range all {
		if n := len(out); n > 0 && out[n-1].Name == s.Name && s.Start <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, s.End)
			continue
		}
		out = append(out, s)
	}
	return out
}

// newEvents returns what is shown of the events. Where there is no room for all,
// the last rows give way first, and in the row that has too little room trouble
// stays and the others are thinned out evenly.
func newEvents(all []timeline.Event) (out []chartEvent, left int) {
	alarm := alarms(all)
	rows := len(eventRows)
	calm, loud := make([]int, rows), make([]int, rows)
	for i, e := range all {
		switch {
		case !shown(e):
		case alarm[i]:
			loud[eventRow(e.Kind)]++
		default:
			calm[eventRow(e.Kind)]++
		}
	}
	loudRoom, calmRoom := make([]int, rows), make([]int, rows)
	for i, free := 0, maxEvents; i < rows; i++ {
		loudRoom[i] = min(loud[i], free)
		free -= loudRoom[i]
		calmRoom[i] = min(calm[i], free)
		free -= calmRoom[i]
	}
	seen := make([]int, rows)
	for i, e := range all {
		if !shown(e) {
			continue
		}
		row := eventRow(e.Kind)
		var keep bool
		if alarm[i] {
			keep = loudRoom[row] > 0
			loudRoom[row]--
		} else {
			k := seen[row]
			seen[row]++
			keep = (k+1)*calmRoom[row]/calm[row] > k*calmRoom[row]/calm[row]
		}
		if !keep {
			left++
			continue
		}
		x := chartEvent{T: seconds64(e.T), Kind: clean(e.Kind), Row: row, Alarm: alarm[i], Subject: clean(e.Subject), Source: clean(e.Source)}
		for _, key := range sortedKeys(e.Detail) {
			x.Detail = append(x.Detail, [2]string{clean(key), clean(e.Detail[key])})
		}
		out = append(out, x)
	}
	return out, left
}

// alarms tells which events are trouble: those that nobody plans. A node that is
// not ready while it is being upgraded, or before it was ready for the first time,
// does what it was asked to.
func alarms(all []timeline.Event) []bool {
	out := make([]bool, len(all))
	upgrading, joining := map[string]bool{}, map[string]bool{}
	for i, e := range all {
		switch e.Kind {
		case timeline.KindUpgradeStart:
			upgrading[e.Subject] = true
		case timeline.KindUpgradeEnd:
			delete(upgrading, e.Subject)
		case timeline.KindNodeAdded:
			joining[e.Subject] = true
		case timeline.KindNodeReady:
			delete(joining, e.Subject)
		case timeline.KindNodeNotReady, timeline.KindNodeRebooted, timeline.KindHeartbeatLost:
			out[i] = !upgrading[e.Subject] && !joining[e.Subject]
		case timeline.KindEvictRefused, timeline.KindDrainStalled, timeline.KindPodForced, timeline.KindOrderViolated, timeline.KindPodFailed, timeline.KindPodWaiting, timeline.KindRestart, timeline.KindKubeEvent,
			timeline.KindProbeDown, timeline.KindProbeLost, timeline.KindLaneLost, timeline.KindWatchBlind:
			out[i] = true
		case timeline.KindValidation:
			out[i] = e.Detail["passed"] == "false" && e.Detail["blockedBy"] != ""
		}
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// sampling says how the record's seconds became the charts' points.
func (g grid) sampling() string {
	if g.Width <= 1 {
		return "Each point is one second of the run."
	}
	return fmt.Sprintf("This run is too long for a point a second: each point covers %d seconds and shows the p50 of all their requests, "+
		"the p99 of the worst second and the requests lost in the worst second, so that no peak is smoothed away.", g.Width)
}
