package judge_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// rule is one row of the precedence table: what is planted, and what must be said.
type rule struct {
	name    string
	faults  []synth.Fault
	change  func(r *record.Record)
	outcome judge.Outcome
	// id, result and explain are of the criterion that the row is about.
	id      string
	result  judge.Result
	explain string
}

func (x rule) run(t *testing.T) {
	o := synth.Options{Seed: 7, Faults: x.faults}
	r := synth.Record(o)
	if x.change != nil {
		x.change(r)
	}
	s := o.Scenario()
	v := judge.Judge(r, s.Criteria())
	if v.Outcome != x.outcome {
		t.Errorf("outcome %s, want %s; %s", v.Outcome, x.outcome, v.Summary)
	}
	c := criterion(t, v, x.id)
	if c.Result != x.result || c.Explain != x.explain {
		t.Errorf("%s is %s:\n got %q\nwant %q (%s)", x.id, c.Result, c.Explain, x.explain, x.result)
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

func TestPrecedenceOutages(t *testing.T) {
	for _, x := range []rule{
		{
			name: "nothing planted", outcome: judge.Go, id: "outage/new", result: judge.Pass,
			explain: "No outage among 21,000 requests in 3 min 30 s; one of 50 ms or more would have been seen; 1 s is allowed.",
		},
		{
			name:    "an outage longer than allowed fails",
			faults:  []synth.Fault{{Start: 60 * time.Second, Length: 5 * time.Second}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from 130.0 s on during the upgrade: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name:    "an outage shorter than allowed passes",
			faults:  []synth.Fault{{Start: 60 * time.Second, Length: 100 * time.Millisecond}},
			outcome: judge.Go, id: "outage/new", result: judge.Pass,
			explain: "The only outage lasted at least 90 ms and at most 110 ms, from 130.0 s on during the upgrade: 10 of 10 requests failed (refused 10); 1 s is allowed.",
		},
		{
			name:    "a hang is an outage",
			faults:  []synth.Fault{{Kind: synth.Hang, Start: 60 * time.Second, Length: 3 * time.Second}},
			outcome: judge.NoGo, id: "outage/reused", result: judge.Fail,
			explain: "The only outage lasted at least 2.99 s and at most 3.01 s, from 130.0 s on during the upgrade: 300 requests were answered only when it was over; 1 s is allowed.",
		},
		{
			name:    "a generator that stopped for two seconds could have missed an outage",
			faults:  []synth.Fault{{Kind: synth.Pause, Start: 60 * time.Second, Length: 2 * time.Second}},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 2 s, at 130.0 s, an outage could not have been seen, because requests were not sent; 1 s is allowed.",
		},
		{
			name: "the same with a real outage elsewhere fails",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 60 * time.Second, Length: 2 * time.Second},
				{Start: 120 * time.Second, Length: 5 * time.Second},
			},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from 190.0 s on during the upgrade: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name: "an outage that the control lane shares is not the upgrade's",
			faults: []synth.Fault{
				{Start: 60 * time.Second, Length: 5 * time.Second},
				{Lane: scenarios.LaneControl, Start: 60 * time.Second, Length: 5 * time.Second},
			},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 4.99 s, at 130.0 s, an outage could not have been seen, because requests failed or hung on the control lane as well; 1 s is allowed.",
		},
	} {
		t.Run(x.name, x.run)
	}
}

func TestSameRecordSameBytes(t *testing.T) {
	o := synth.Options{Seed: 3, Faults: []synth.Fault{{Start: 50 * time.Second, Length: 3 * time.Second, Share: 0.5}}}
	s := o.Scenario()
	var first []byte
	for range 3 {
		b, err := json.Marshal(judge.Judge(synth.Record(o), s.Criteria()))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Fatalf("two verdicts of one record differ:\n%s\n%s", first, b)
		}
	}
}
