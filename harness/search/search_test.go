package search

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const s = time.Second

// needs is a cluster that meets the thresholds from an interval on, given as much
// surge; before that, it is undecided as often as vague says.
func needs(interval time.Duration, surge, vague int) Try {
	return func(_ context.Context, x Setting) (Trial, error) {
		switch {
		case vague > 0:
			vague--
			return Trial{Outcome: Undecided}, nil
		case x.Interval >= interval && x.Surge >= surge:
			return Trial{Outcome: Met}, nil
		}
		return Trial{Outcome: NotMet}, nil
	}
}

func TestFind(t *testing.T) {
	ladder := Ladder(15*s, 10*time.Minute) // 0 15 30 60 120 240 480 600
	for _, tc := range []struct {
		name   string
		space  Space
		try    Try
		want   *Setting
		trials int
	}{
		{"nothing to wait for", Space{Ladder: ladder}, needs(0, 0, 0), &Setting{}, 4},
		{"a minute", Space{Ladder: ladder}, needs(50*s, 0, 0), &Setting{Interval: 60 * s}, 4},
		{"the longest alone", Space{Ladder: ladder}, needs(10*time.Minute, 0, 0), &Setting{Interval: 10 * time.Minute}, 4},
		{"never", Space{Ladder: ladder}, needs(time.Hour, 0, 0), nil, 1},
		{"never, with any surge", Space{Ladder: ladder, MaxSurge: 2}, needs(time.Hour, 0, 0), nil, 3},
		{"with a surge of one", Space{Ladder: ladder, MaxSurge: 2}, needs(30*s, 1, 0), &Setting{Interval: 30 * s, Surge: 1}, 5},
		{"noise once", Space{Ladder: ladder}, needs(50*s, 0, 1), &Setting{Interval: 60 * s}, 5},
		{"noise twice counts as not met", Space{Ladder: ladder}, needs(50*s, 0, 2), nil, 2},
		{"a single interval", Space{Ladder: []time.Duration{5 * s}}, needs(0, 0, 0), &Setting{Interval: 5 * s}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Find(t.Context(), tc.space, tc.try)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, r.Best); diff != "" || len(r.Trials) != tc.trials {
				t.Errorf("%d trials, want %d; best (-want +got):\n%s", len(r.Trials), tc.trials, diff)
			}
		})
	}
}

func TestFindEndsWithWhatCannotBeTried(t *testing.T) {
	gone := errors.New("no Docker")
	n := 0
	r, err := Find(t.Context(), Space{Ladder: Ladder(s, 8*s)}, func(context.Context, Setting) (Trial, error) {
		if n++; n == 2 {
			return Trial{}, gone
		}
		return Trial{Outcome: Met}, nil
	})
	if !errors.Is(err, gone) || err.Error() != "search: trial of interval 2s: no Docker" || len(r.Trials) != 1 {
		t.Errorf("%d trials, error %v", len(r.Trials), err)
	}
	if _, err := Find(t.Context(), Space{}, nil); err == nil {
		t.Error("no interval to try is no error")
	}
}

func TestLadder(t *testing.T) {
	want := []time.Duration{0, 15 * s, 30 * s, 60 * s, 120 * s, 240 * s, 480 * s, 600 * s}
	if diff := cmp.Diff(want, Ladder(15*s, 10*time.Minute)); diff != "" {
		t.Error(diff)
	}
}

func TestProduction(t *testing.T) {
	roll := Roll{NodeInterval: 10 * time.Minute}
	f, err := Production(50, []time.Duration{100 * s, 120 * s, 170 * s}, roll)
	if err != nil {
		t.Fatal(err)
	}
	want := Forecast{Nodes: 50, Batch: 1, Samples: 3, Estimate: 50*130*s + 500*time.Minute, Lower: 5000*s + 500*time.Minute, Upper: 8500*s + 500*time.Minute, Floor: 500 * time.Minute}
	if diff := cmp.Diff(want, f); diff != "" || f.Coverage() != 0.5 {
		t.Errorf("coverage %v; forecast (-want +got):\n%s", f.Coverage(), diff)
	}
	if got := f.String(); got != "50 nodes: about 10 h 8 min, between 9 h 43 min and 10 h 42 min (from 3 measured; at least 8 h 20 min of it between nodes)" {
		t.Error(got)
	}
	roll.Batch = 4
	if f, err = Production(50, []time.Duration{100 * s, 120 * s, 170 * s}, roll); err != nil {
		t.Fatal(err)
	}
	if got, want := f.String(), "50 nodes, 4 at a time: about 2 h 38 min, between 2 h 32 min and 2 h 47 min (from 3 batches measured; at least 2 h 10 min of it between batches)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := Production(0, []time.Duration{s}, roll); err == nil {
		t.Error("a forecast of no nodes")
	}
	if _, err := Production(3, nil, roll); err == nil {
		t.Error("a forecast from nothing")
	}
}

func TestRounds(t *testing.T) {
	event := func(at time.Duration, kind, subject string, detail map[string]string) timeline.Event {
		return timeline.Event{T: int64(at), Kind: kind, Subject: subject, Detail: detail}
	}
	r := &record.Record{
		Events: []timeline.Event{
			event(0, timeline.KindUpgradeStart, "node/a", nil), event(60*s, timeline.KindUpgradeEnd, "node/a", nil),
			event(100*s, timeline.KindUpgradeStart, "node/b", nil), event(110*s, timeline.KindInterrupted, "run", nil), event(150*s, timeline.KindUpgradeEnd, "node/b", nil),
			event(200*s, timeline.KindUpgradeStart, "node/c", nil), event(220*s, timeline.KindUpgradeEnd, "node/c", map[string]string{"error": "no"}),
			event(300*s, timeline.KindUpgradeStart, "node/a", map[string]string{"rollback": "true"}), event(320*s, timeline.KindUpgradeEnd, "node/a", map[string]string{"rollback": "true"}),
		},
		Run: record.Run{Steps: []record.Step{
			{StartNS: 0, EndNS: int64(60 * s), Outcome: record.OutcomePassed},
			{StartNS: int64(61 * s), EndNS: int64(96 * s), Outcome: record.OutcomePassed},
		}},
	}
	if diff := cmp.Diff([]time.Duration{80 * s}, Rounds(r, Roll{NodeInterval: 15 * s})); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
}

// TestRoundsOfBatches rolls a control plane, two workers together and one alone,
// and takes away a worker that was there for the roll alone.
func TestRoundsOfBatches(t *testing.T) {
	event := func(at time.Duration, kind, node string, detail map[string]string) timeline.Event {
		return timeline.Event{T: int64(at), Kind: kind, Subject: "node/" + node, Detail: detail}
	}
	step := func(from, to time.Duration) record.Step {
		return record.Step{StartNS: int64(from), EndNS: int64(to), Outcome: record.OutcomePassed}
	}
	extra := map[string]string{"strategy": timeline.StrategyExtraCapacity}
	r := &record.Record{
		Before: &record.Snapshot{Nodes: []record.Node{{Name: "cp", ControlPlane: true}, {Name: "a"}, {Name: "b"}, {Name: "c"}}},
		Events: []timeline.Event{
			event(0, timeline.KindUpgradeStart, "cp", nil), event(90*s, timeline.KindUpgradeEnd, "cp", nil),
			event(200*s, timeline.KindUpgradeStart, "a", nil), event(201*s, timeline.KindUpgradeStart, "b", nil),
			event(240*s, timeline.KindUpgradeEnd, "b", nil), event(250*s, timeline.KindUpgradeEnd, "a", nil),
			event(300*s, timeline.KindUpgradeStart, "c", nil), event(330*s, timeline.KindUpgradeEnd, "c", nil),
			event(400*s, timeline.KindUpgradeStart, "x", extra), event(420*s, timeline.KindUpgradeEnd, "x", extra),
		},
		Run: record.Run{Steps: []record.Step{step(0, 90*s), step(90*s, 160*s), step(200*s, 250*s), step(250*s, 275*s), step(300*s, 330*s), step(330*s, 355*s), step(420*s, 440*s)}},
	}
	roll := Roll{Batch: 2, ControlPlaneInterval: 60 * s, NodeInterval: 15 * s}
	if diff := cmp.Diff([]time.Duration{100 * s, 60 * s, 40 * s}, Rounds(r, roll)); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
	// A node of a batch that fails makes its round no measurement.
	r.Events[4].Detail = map[string]string{"error": "no"}
	if diff := cmp.Diff([]time.Duration{100 * s, 40 * s}, Rounds(r, roll)); diff != "" {
		t.Errorf("with a failure (-want +got):\n%s", diff)
	}
}
