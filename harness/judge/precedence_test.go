package judge_test

import (
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// rule is one row of a precedence table: what is planted, and what must be said.
type rule struct {
	name   string
	faults []synth.Fault
	// median of the latency in ms, 8 by default; rate 100 by default
	median, rate float64
	planes       int // control planes, 1 by default
	change       func(r *record.Record)
	criteria     func([]scenarios.Criterion)
	outcome      judge.Outcome
	// id, result and explain are of the criterion or, with the prefix "rule ", of
	// the validity rule (and its lane) that the row is about.
	id      string
	result  judge.Result
	explain string
	summary string // not compared where empty
}

func (x rule) run(t *testing.T) {
	t.Parallel()
	p := synth.DefaultProfile()
	if x.median > 0 {
		p.Median = x.median
	}
	o := synth.Options{Seed: 7, Faults: x.faults, Profile: &p, Rate: x.rate, ControlPlanes: x.planes}
	r := synth.Record(o)
	if x.change != nil {
		x.change(r)
	}
	s := o.Scenario()
	criteria := s.Criteria()
	if x.criteria != nil {
		x.criteria(criteria)
	}
	v := judge.Judge(r, criteria)
	if v.Outcome != x.outcome {
		t.Errorf("outcome %s, want %s; %s", v.Outcome, x.outcome, v.Summary)
	}
	if x.summary != "" && v.Summary != x.summary {
		t.Errorf("summary\n got %q\nwant %q", v.Summary, x.summary)
	}
	result, explain := find(t, v, x.id)
	if result != x.result || explain != x.explain {
		t.Errorf("%s is %s:\n got %q\nwant %q (%s)", x.id, result, explain, x.explain, x.result)
	}
}

func find(t *testing.T, v judge.Verdict, id string) (judge.Result, string) {
	t.Helper()
	for _, c := range v.Criteria {
		if c.ID == id {
			return c.Result, c.Explain
		}
	}
	for _, r := range v.Validity {
		if "rule "+r.Rule == id || "rule "+r.Rule+" "+r.Lane == id {
			return r.Result, r.Explain
		}
	}
	t.Fatalf("the verdict has neither criterion nor rule %q", id)
	return "", ""
}

func lane(r *record.Record, name string) *record.LaneData {
	for i := range r.Lanes {
		if r.Lanes[i].Lane.Name == name {
			return &r.Lanes[i]
		}
	}
	panic("no lane " + name)
}

func component(s *record.Snapshot, name string) *record.Component {
	for i := range s.Components {
		if s.Components[i].Name == name {
			return &s.Components[i]
		}
	}
	panic("no component " + name)
}

func without[T any](list []T, drop func(T) bool) []T {
	var out []T
	for _, x := range list {
		if !drop(x) {
			out = append(out, x)
		}
	}
	return out
}

const sec = time.Second

func TestPrecedenceOutages(t *testing.T) {
	for _, x := range []rule{
		{
			name: "nothing planted", outcome: judge.Go, id: "outage/new", result: judge.Pass,
			explain: "No outage among 21,000 requests in 3 min 30 s; one of 50 ms or more would have been seen; 1 s is allowed.",
			summary: "All 25 criteria that were judged passed. An outage of 50 ms or more would have been seen on every lane.",
		},
		{
			name:    "an outage longer than allowed fails",
			faults:  []synth.Fault{{Start: 60 * sec, Length: 5 * sec}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from +02:10.0 on in the upgrade phase: 500 of 500 requests failed (refused 500); 1 s is allowed.",
			summary: "outage/new failed: The only outage lasted at least 4.99 s and at most 5.01 s, from +02:10.0 on in the upgrade phase: 500 of 500 requests failed (refused 500); 1 s is allowed. Also failed: success/new, errors/new, outage/reused, success/reused and errors/reused.",
		},
		{
			name:    "an outage shorter than allowed passes",
			faults:  []synth.Fault{{Start: 60 * sec, Length: 100 * time.Millisecond}},
			outcome: judge.Go, id: "outage/new", result: judge.Pass,
			explain: "The only outage lasted at least 90 ms and at most 110 ms, from +02:10.0 on in the upgrade phase: 10 of 10 requests failed (refused 10); 1 s is allowed.",
		},
		{
			name:    "an outage as long as allowed cannot be told from one that is longer",
			faults:  []synth.Fault{{Start: 60 * sec, Length: sec, Lane: "new"}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Undecided,
			explain: "An outage lasted at least 990 ms and at most 1.01 s, at +02:10.0: too close to the 1 s allowed to tell.",
		},
		{
			name:    "a hang is an outage",
			faults:  []synth.Fault{{Kind: synth.Hang, Start: 60 * sec, Length: 3 * sec}},
			outcome: judge.NoGo, id: "outage/reused", result: judge.Fail,
			explain: "The only outage lasted at least 2.99 s and at most 3.01 s, from +02:10.0 on in the upgrade phase: 300 requests were answered only when it was over; 1 s is allowed.",
		},
		{
			name:    "half of the requests failing is an outage",
			faults:  []synth.Fault{{Start: 60 * sec, Length: 10 * sec, Share: 0.5, Class: record.HTTP5xx}},
			outcome: judge.NoGo, id: "outage/reused", result: judge.Fail,
			explain: "The only outage lasted at least 9.95 s and at most 9.97 s, from +02:10.0 on in the upgrade phase: 456 of 996 requests failed (http-5xx 456); 1 s is allowed.",
		},
		{
			name:    "a generator that stopped for two seconds could have missed an outage",
			faults:  []synth.Fault{{Kind: synth.Pause, Start: 60 * sec, Length: 2 * sec}},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 2 s, at +02:10.0, an outage could not have been seen, because requests were not sent; 1 s is allowed.",
		},
		{
			name:    "a generator that stopped for less than an outage may last hides nothing",
			faults:  []synth.Fault{{Kind: synth.Pause, Start: 60 * sec, Length: 150 * time.Millisecond}},
			outcome: judge.Go, id: "outage/new", result: judge.Pass,
			explain: "No outage among 20,985 requests in 3 min 30 s; one of 50 ms or more would have been seen; 1 s is allowed.",
			summary: "All 25 criteria that were judged passed. An outage of 150 ms or more would have been seen on every lane.",
		},
		{
			name: "the same with a real outage elsewhere fails",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 60 * sec, Length: 2 * sec},
				{Start: 120 * sec, Length: 5 * sec},
			},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from +03:10.0 on in the upgrade phase: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name: "an outage that the control lane shares is not the upgrade's",
			faults: []synth.Fault{
				{Start: 60 * sec, Length: 5 * sec},
				{Lane: scenarios.LaneControl, Start: 60 * sec, Length: 5 * sec},
			},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 4.99 s, at +02:10.0, an outage could not have been seen, because requests failed or hung on the control lane as well; 1 s is allowed.",
		},
		{
			name: "a hang that the control lane shares is not the upgrade's",
			faults: []synth.Fault{
				{Kind: synth.Hang, Start: 60 * sec, Length: 5 * sec},
				{Kind: synth.Hang, Lane: scenarios.LaneControl, Start: 60 * sec, Length: 5 * sec},
			},
			outcome: judge.Inconclusive, id: "outage/reused", result: judge.Undecided,
			explain: "For 4.99 s, at +02:10.0, an outage could not have been seen, because requests failed or hung on the control lane as well; 1 s is allowed.",
		},
		{
			name: "a control lane that failed at another time excuses nothing",
			faults: []synth.Fault{
				{Start: 60 * sec, Length: 5 * sec},
				{Lane: scenarios.LaneControl, Start: 100 * sec, Length: 5 * sec},
			},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from +02:10.0 on in the upgrade phase: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name: "an outage in seconds in which the runner was overloaded is not the upgrade's",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 60 * sec, Length: 400 * time.Millisecond},
				{Start: 60500 * time.Millisecond, Length: 1200 * time.Millisecond},
			},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 1.19 s, at +02:10.5, an outage could not have been seen, because the runner was overloaded when requests failed or hung; 1 s is allowed.",
		},
		{
			name: "of an outage that the runner missed the beginning of the rest counts",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 60 * sec, Length: 400 * time.Millisecond},
				{Start: 60500 * time.Millisecond, Length: 6 * sec},
			},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 5.99 s and at most 6.01 s, from +02:10.5 on in the upgrade phase: 600 of 600 requests failed (refused 600); 1 s is allowed.",
		},
		{
			name: "of a shorter one too little is certain, though what is fails the rates",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 60 * sec, Length: 400 * time.Millisecond},
				{Start: 60500 * time.Millisecond, Length: 3 * sec},
			},
			outcome: judge.NoGo, id: "outage/new", result: judge.Undecided,
			explain: "An outage that began at +02:10.5 lasted at least 2.99 s, but the runner was overloaded in some of it, and only 490 ms in one piece are certain; 1 s is allowed.",
		},
		{
			name:    "a lane that was away before the upgrade cannot be judged after",
			faults:  []synth.Fault{{Start: -30 * sec, Length: 3 * sec}},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "Lane new was away for 2.99 s already in the baseline, at +00:40.0, before anything was upgraded: repair that first.",
		},
		{
			name: "seconds that were not recorded could hide an outage",
			change: func(r *record.Record) {
				d := lane(r, "new")
				d.Windows = without(d.Windows, func(w record.Window) bool { return w.Second == 150 || w.Second == 151 })
			},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 2 s, at +02:30.0, an outage could not have been seen, because nothing was recorded; 1 s is allowed.",
		},
		{
			name: "requests sent late, and answered, prove that the lane was served", median: 20,
			faults:  []synth.Fault{{Kind: synth.Busy, Start: 10 * sec, Length: 170 * sec, Factor: 15}},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Pass,
			explain: "No outage among 21,000 requests in 3 min 30 s; one of 50 ms or more would have been seen; 1 s is allowed.",
		},
		{
			name:    "an outage that was not over when the load ended",
			faults:  []synth.Fault{{Start: 209*sec + 500e6, Length: 10 * sec}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Undecided,
			explain: "An outage that began at +04:39.5 had lasted 490 ms, and was not over, when the load ended: load must run on until it is; 1 s is allowed.",
		},
		{
			name:    "a long one that was not over when the load ended",
			faults:  []synth.Fault{{Start: 205 * sec, Length: 10 * sec}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and was not over when the load ended, from +04:35.0 on in the settle phase: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name:    "an outage that began just before the upgrade and went on in it",
			faults:  []synth.Fault{{Start: -50e6, Length: 10 * sec}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 9.94 s and at most 10 s, from +01:10.0 on in the upgrade phase: 995 of 995 requests failed (refused 995); 1 s is allowed.",
		},
		{
			name: "a rate too low to see what is allowed", rate: 4,
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "Only an outage of 1.25 s or more would have been seen at 4 requests a second; 1 s is allowed. Raise the rate.",
		},
	} {
		t.Run(x.name, x.run)
	}
}
