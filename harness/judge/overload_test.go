package judge

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestOverloadedSeconds gives lanes seconds of 100 slots of which some were not
// sent, and wants to know in which the runner was overloaded and which of the
// others it spoils.
func TestOverloadedSeconds(t *testing.T) {
	long := map[int64]uint64{}
	for s := range int64(7) {
		long[30+s] = 50
	}
	for _, x := range []struct {
		name   string
		unsent map[string]map[int64]uint64 // by lane and second
		want   string                      // overloaded seconds and, as first-last, suspect ones
	}{
		{"nothing unsent", nil, "[] []"},
		{"one lane only", map[string]map[int64]uint64{"new": {30: 90}}, "[] []"},
		{"all but the control lane, as a target that hangs may do", map[string]map[int64]uint64{"new": {30: 90}, "reused": {30: 90}}, "[] []"},
		{"too little", map[string]map[int64]uint64{"new": {30: 19}, "reused": {30: 90}, "control": {30: 90}}, "[] []"},
		{"all lanes", map[string]map[int64]uint64{"new": {30: 20}, "reused": {30: 90}, "control": {30: 90}}, "[30] [28-32]"},
		{"a stream's slots say nothing", map[string]map[int64]uint64{"new": {30: 20}, "reused": {30: 20}, "control": {30: 20}, "stream": {40: 100}}, "[30] [28-32]"},
		{"two stretches", map[string]map[int64]uint64{"new": {10: 50, 70: 50}, "reused": {10: 50, 70: 50}, "control": {10: 50, 70: 50}}, "[10 70] [8-12 68-72]"},
		{"a fifth of half a minute", map[string]map[int64]uint64{"new": long, "reused": long, "control": long}, "[30 31 32 33 34 35 36] [21-45]"},
	} {
		r := &record.Record{Events: []timeline.Event{
			{Kind: timeline.KindPhase, Subject: "phase/" + timeline.PhaseUpgrade},
			{T: 100 * secondNS, Kind: timeline.KindPhaseEnd, Subject: "phase/" + timeline.PhaseUpgrade},
		}}
		for _, name := range []string{"new", "reused", "control", "stream"} {
			d := record.LaneData{Lane: record.Lane{Name: name, Rate: 100, Control: name == "control"}}
			for s := range int64(100) {
				w := record.Window{Second: s}
				w.Counts[record.Unsent] = x.unsent[name][s]
				w.Counts[record.OK] = 100 - w.Counts[record.Unsent]
				d.Windows = append(d.Windows, w)
			}
			r.Lanes = append(r.Lanes, d)
		}
		s := upgradeSide(r, false)
		s.findOverload()
		var overloaded []int64
		var suspect []string
		var from int64 = -1
		for second := range int64(101) {
			if s.overloaded[second] {
				overloaded = append(overloaded, second)
			}
			if s.suspect[second] && from < 0 {
				from = second
			}
			if !s.suspect[second] && from >= 0 {
				suspect, from = append(suspect, fmt.Sprintf("%d-%d", from, second-1)), -1
			}
		}
		slices.Sort(overloaded)
		if got := fmt.Sprint(overloaded, suspect); got != x.want {
			t.Errorf("%s: got %s, want %s", x.name, got, x.want)
		}
	}
}
