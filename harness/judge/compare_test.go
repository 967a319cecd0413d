package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// recorded returns what `rehearse record` leaves of a target: lanes, and
// neither phases nor a cluster.
func recorded(seed uint64, faults ...synth.Fault) *record.Record {
	r := synth.Record(synth.Options{Seed: seed, Lanes: []string{"new"}, Faults: faults})
	r.Events, r.Before, r.After, r.Probes, r.Run.Probes, r.Run.Steps = nil, nil, nil, nil, nil, nil
	r.Run.Versions, r.Run.Command = record.Versions{}, "rehearse record"
	r.Run.Lanes, r.Lanes = r.Run.Lanes[:1], r.Lanes[:1]
	return r
}

func TestCompare(t *testing.T) {
	o := synth.Options{Lanes: []string{"new"}}
	s := o.Scenario()
	v, err := judge.Compare(recorded(1), recorded(2), s.Criteria())
	if err != nil {
		t.Fatal(err)
	}
	if v.Outcome != judge.Go {
		t.Errorf("an unchanged target is %s: %s", v.Outcome, v.Summary)
	}
	for id, want := range map[string]string{
		"versions":          "No cluster was watched, so versions are not judged.",
		"component/coredns": "No cluster was watched, so coredns is not judged.",
		"api":               "The API was not probed, so its availability is not judged.",
	} {
		if result, explain := find(t, v, id); result != judge.Reported || explain != want {
			t.Errorf("%s is %s: %q, want %q", id, result, explain, want)
		}
	}
	if want := "No cluster was watched: that an upgrade took place is taken on trust. There is no control lane: trouble of the runner's own machine cannot be told from the upgrade's."; strings.Join(v.Warnings, " ") != want {
		t.Errorf("warnings %q", v.Warnings)
	}

	v, err = judge.Compare(recorded(1), recorded(2, synth.Fault{Start: 30 * sec, Length: 3 * sec}), s.Criteria())
	if err != nil {
		t.Fatal(err)
	}
	want := "outage/new failed: The only outage lasted at least 2.99 s and at most 3.01 s, from +01:40.0 on in the upgrade phase: 300 of 300 requests failed (refused 300); 1 s is allowed. Also failed: success/new and errors/new."
	if v.Outcome != judge.NoGo || v.Summary != want {
		t.Errorf("%s\n got %q\nwant %q", v.Outcome, v.Summary, want)
	}

	// A record that an interrupt stopped is complete: that is how one stops it.
	stopped := recorded(2)
	stopped.Run.Outcome = record.OutcomeInterrupted
	if v, err = judge.Compare(recorded(1), stopped, s.Criteria()); err != nil || v.Outcome != judge.Go {
		t.Errorf("an interrupted record: %s %s, %v", v.Outcome, v.Summary, err)
	}

	// A rehearsal's record may be either side; its phases are then used.
	run := synth.Record(o)
	run.Run.Lanes, run.Lanes = run.Run.Lanes[:1], run.Lanes[:1]
	if v, err = judge.Compare(recorded(1), run, s.Criteria()); err != nil || v.Outcome != judge.Go {
		t.Errorf("a rehearsal as upgrade: %s %s, %v", v.Outcome, v.Summary, err)
	}
	if c := criterion(t, v, "success/new"); c.Samples.Upgrade != 21000 {
		t.Errorf("%d requests counted, want those of upgrade and settle, 21000", c.Samples.Upgrade)
	}
}

func TestCompareSameAsJudge(t *testing.T) {
	o := synth.Options{Seed: 4, Faults: []synth.Fault{{Start: 30 * sec, Length: 2 * sec, Share: 0.5}}}
	s := o.Scenario()
	r := synth.Record(o)
	one := judge.Judge(r, s.Criteria())
	two, err := judge.Compare(synth.Record(o), r, s.Criteria())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range one.Criteria {
		if d := two.Criteria[i]; c.ID != d.ID || c.Result != d.Result || c.Samples != d.Samples {
			t.Errorf("%s: %s and %s, %v and %v", c.ID, c.Result, d.Result, c.Samples, d.Samples)
		}
	}
}

func TestCompareRefuses(t *testing.T) {
	for _, x := range []struct {
		want   string
		change func(r *record.Record)
	}{
		{"compare: lane new: 100 requests a second in the baseline and 200 in the upgrade: record both at the same rate", func(r *record.Record) { r.Run.Lanes[0].Rate = 200 }},
		{"compare: lane new: target http://127.0.0.1:30080/ in the baseline and http://10.0.0.1/ in the upgrade: record the same target", func(r *record.Record) { r.Run.Lanes[0].Target = "http://10.0.0.1/" }},
		{"compare: lane new: timeout 5 s in the baseline and 2 s in the upgrade: record both with the same timeout", func(r *record.Record) { r.Run.Lanes[0].TimeoutNS = int64(2 * time.Second) }},
		{"compare: lane new is in the baseline's record and not in the upgrade's: record both with the same lanes", func(r *record.Record) { r.Run.Lanes[0].Name = "reused" }},
		{"compare: lane reused is in the upgrade's record and not in the baseline's: record both with the same lanes", func(r *record.Record) { r.Run.Lanes = append(r.Run.Lanes, record.Lane{Name: "reused"}) }},
		{"compare: lane new is the control lane in one of the records only: record both alike", func(r *record.Record) { r.Run.Lanes[0].Control = true }},
	} {
		changed := recorded(2)
		changed.Run.Lanes = append([]record.Lane(nil), changed.Run.Lanes...)
		x.change(changed)
		if _, err := judge.Compare(recorded(1), changed, nil); err == nil || err.Error() != x.want {
			t.Errorf("\n got %v\nwant %s", err, x.want)
		}
	}
}

// TestHostileRecords judges records that no rehearsal writes. Nothing may panic,
// and nothing may be a GO.
func TestHostileRecords(t *testing.T) {
	o := synth.Options{Seed: 9, Baseline: 35 * sec, Upgrade: 35 * sec, Settle: 3 * sec}
	s := o.Scenario()
	criteria := s.Criteria()
	for name, r := range map[string]*record.Record{
		"empty":            {},
		"phases alone":     {Events: synth.Record(o).Events},
		"lanes undeclared": {Lanes: synth.Record(o).Lanes},
		"lanes unrecorded": {Run: synth.Record(o).Run, Events: synth.Record(o).Events},
		"no rate": func() *record.Record {
			r := synth.Record(o)
			for i := range r.Run.Lanes {
				r.Run.Lanes[i].Rate, r.Lanes[i].Lane.Rate = 0, 0
			}
			r.Run.Outcome = record.OutcomeRunning
			return r
		}(),
		"empty windows": func() *record.Record {
			r := synth.Record(o)
			for i := range r.Lanes {
				for j := range r.Lanes[i].Windows {
					r.Lanes[i].Windows[j] = record.Window{Second: int64(j)}
				}
			}
			return r
		}(),
		"everything failed": func() *record.Record {
			o := o
			o.Faults = []synth.Fault{{Start: -60 * sec, Length: 10 * time.Minute}, {Start: -60 * sec, Length: 10 * time.Minute, Lane: "control"}}
			return synth.Record(o)
		}(),
		"phases backwards": func() *record.Record {
			r := synth.Record(o)
			for i := range r.Events {
				if r.Events[i].Kind == timeline.KindPhaseEnd {
					r.Events[i].T = 0
				}
			}
			return r
		}(),
	} {
		v := judge.Judge(r, criteria)
		if v.Outcome == judge.Go {
			t.Errorf("%s: GO", name)
		}
		if v.Summary == "" {
			t.Errorf("%s: no summary", name)
		}
	}
	// The upgrade's own steps were carried out; that alone is no GO.
	if v := judge.Judge(synth.Record(o), nil); v.Outcome != judge.Inconclusive || v.Summary != "No criterion was judged." {
		t.Errorf("no criteria: %s: %q", v.Outcome, v.Summary)
	}
}

func criterion(t *testing.T, v judge.Verdict, id string) judge.Criterion {
	t.Helper()
	for _, c := range v.Criteria {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("the verdict has no criterion %s", id)
	return judge.Criterion{}
}
