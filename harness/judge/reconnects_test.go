package judge_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// streamOptions are those of a rehearsal with a stream.
func streamOptions(faults ...synth.Fault) synth.Options {
	return synth.Options{Seed: 7, Lanes: []string{scenarios.LaneNew, scenarios.LaneStream}, Faults: faults}
}

// brokenAt adds the end of a stream to the timeline.
func brokenAt(r *record.Record, t int64, node string) {
	detail := map[string]string{"class": "reset", "error": "the stream was ended: EOF", "pod": "canary-1"}
	if node != "" {
		detail["node"] = node
	}
	r.Events = append(r.Events, timeline.Event{T: t, Source: timeline.SourceLoad, Kind: timeline.KindStreamBroken, Subject: "lane/stream", Detail: detail})
	slices.SortStableFunc(r.Events, func(a, b timeline.Event) int { return cmp.Compare(a.T, b.T) })
}

// event returns when something happened to a subject.
func event(t *testing.T, r *record.Record, kind, subject string) int64 {
	t.Helper()
	for _, e := range r.Events {
		if e.Kind == kind && e.Subject == subject {
			return e.T
		}
	}
	t.Fatalf("the timeline has no %s of %s", kind, subject)
	return 0
}

func TestReconnects(t *testing.T) {
	const ms = int64(time.Millisecond)
	drain := func(r *record.Record, worker string) (start, end int64) {
		return event(t, r, timeline.KindDrainStart, "node/"+worker), event(t, r, timeline.KindDrainEnd, "node/"+worker)
	}
	for _, x := range []struct {
		name    string
		faults  []synth.Fault
		change  func(r *record.Record)
		outcome judge.Outcome
		result  judge.Result
		explain string
	}{
		{"no break", nil, func(*record.Record) {}, judge.Go, judge.Pass,
			"The stream never broke outside a planned drain."},
		{"in the drain of its node", nil, func(r *record.Record) {
			for _, w := range []string{"worker-1", "worker-2"} {
				start, _ := drain(r, w)
				brokenAt(r, start+700*ms, w)
			}
		}, judge.Go, judge.Pass,
			"The stream never broke outside a planned drain. It broke twice within the planned drain of its pod's node."},
		{"as the drain ends", nil, func(r *record.Record) {
			_, end := drain(r, "worker-1")
			brokenAt(r, end+1500*ms, "worker-1")
		}, judge.Go, judge.Pass,
			"The stream never broke outside a planned drain. It broke once within the planned drain of its pod's node."},
		{"in the drain of another node", nil, func(r *record.Record) {
			start, _ := drain(r, "worker-1")
			brokenAt(r, start+700*ms, "worker-2")
		}, judge.NoGo, judge.Fail,
			"The stream broke once outside a planned drain, first at +02:04.9 (reset, pod canary-1 on worker-2)."},
		{"after the drain", nil, func(r *record.Record) {
			start, end := drain(r, "worker-1")
			brokenAt(r, start+700*ms, "worker-1")
			brokenAt(r, end+2001*ms, "worker-1")
			brokenAt(r, end+9000*ms, "worker-2")
		}, judge.NoGo, judge.Fail,
			"The stream broke twice outside a planned drain, first at +02:15.0 (reset, pod canary-1 on worker-1). It broke once within the planned drain of its pod's node."},
		{"no node known, within a drain", nil, func(r *record.Record) {
			start, _ := drain(r, "worker-1")
			brokenAt(r, start+700*ms, "")
		}, judge.Go, judge.Pass,
			"The stream never broke outside a planned drain. It broke once within the planned drain of its pod's node."},
		{"only in the baseline", nil, func(r *record.Record) { brokenAt(r, 30_000*ms, "worker-1") }, judge.Go, judge.Pass,
			"The stream never broke outside a planned drain."},
		{"while settling", nil, func(r *record.Record) { brokenAt(r, 255_000*ms, "worker-1") }, judge.NoGo, judge.Fail,
			"The stream broke once outside a planned drain, first at +04:15.0 (reset, pod canary-1 on worker-1)."},
		{"with the control lane", []synth.Fault{
			{Lane: scenarios.LaneControl, Start: 10 * time.Second, Length: 400 * time.Millisecond},
			{Lane: scenarios.LaneStream, Start: 10 * time.Second, Length: 400 * time.Millisecond},
		}, func(r *record.Record) { brokenAt(r, 80_100*ms, "worker-1") }, judge.Inconclusive, judge.Undecided,
			"The stream broke once while the control lane failed as well, or the runner was far behind: whether the upgrade broke it cannot be told."},
		{"something else drained, by the watch", nil, func(r *record.Record) {
			start, _ := drain(r, "worker-1")
			r.Events = slices.DeleteFunc(r.Events, func(e timeline.Event) bool {
				return e.Kind == timeline.KindDrainStart || e.Kind == timeline.KindDrainEnd
			})
			brokenAt(r, start+700*ms, "worker-1")
			brokenAt(r, event(t, r, timeline.KindUncordon, "node/worker-1")+3000*ms, "worker-1")
		}, judge.NoGo, judge.Fail,
			"The stream broke once outside a planned drain, first at +02:27.0 (reset, pod canary-1 on worker-1). It broke once within the planned drain of its pod's node."},
		{"nothing recorded", nil, func(r *record.Record) { lane(r, scenarios.LaneStream).Windows = nil }, judge.Inconclusive, judge.Undecided,
			"Nothing was recorded of lane stream during the upgrade."},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := streamOptions(x.faults...)
			r := synth.Record(o)
			x.change(r)
			s := o.Scenario()
			v := judge.Judge(r, s.Criteria())
			result, explain := find(t, v, "reconnects/stream")
			if v.Outcome != x.outcome || result != x.result || explain != x.explain {
				t.Errorf("%s (%s): %s\n got %q\nwant %q (%s, %s)", v.Outcome, v.Summary, result, explain, x.explain, x.result, x.outcome)
			}
		})
	}
}

// TestReconnectsThatNobodyWatched compares records that know of no cluster: a
// break cannot be told from one in a planned drain.
func TestReconnectsThatNobodyWatched(t *testing.T) {
	o := streamOptions()
	o.Profile = slower()
	baseline, upgrade := synth.Record(o), synth.Record(o)
	for _, r := range []*record.Record{baseline, upgrade} {
		r.Before, r.After = nil, nil
		r.Events = slices.DeleteFunc(r.Events, func(e timeline.Event) bool { return e.Source != timeline.SourceRun })
	}
	upgrade.Run.ID = "another"
	brokenAt(upgrade, 100e9, "worker-1")
	thresholds := scenarios.Default().Thresholds
	v, err := judge.Compare(baseline, upgrade, thresholds.LaneCriteria(o.Lanes))
	if err != nil {
		t.Fatal(err)
	}
	result, explain := find(t, v, "reconnects/stream")
	want := "The stream broke once, first at +01:40.0 (reset, pod canary-1 on worker-1). Nothing watched the cluster, so planned drains cannot be told from the rest. Reported, not judged."
	if result != judge.Reported || explain != want {
		t.Errorf("%s:\n got %q\nwant %q", result, explain, want)
	}
}

// TestStreamHasNoCriteriaOfRequests keeps a stream from being judged by what each
// planned drain rightly costs it.
func TestStreamHasNoCriteriaOfRequests(t *testing.T) {
	o := streamOptions()
	s := o.Scenario()
	var ids []string
	for _, c := range s.Thresholds.LaneCriteria(s.Load.Lanes) {
		if c.Lane == scenarios.LaneStream {
			ids = append(ids, c.ID)
		}
	}
	if want := []string{"outage/stream", "reconnects/stream"}; !slices.Equal(ids, want) {
		t.Errorf("criteria of the stream: %q, want %q", ids, want)
	}
}
