package judge_test

import (
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
)

// A rehearsal in which the service was away for five seconds.
func ExampleJudge() {
	o := synth.Options{Seed: 1, Lanes: []string{"new"}, Faults: []synth.Fault{{Start: time.Minute, Length: 5 * time.Second}}}
	s := o.Scenario()
	v := judge.Judge(synth.Record(o), s.Criteria())
	fmt.Println(v.Outcome)
	for _, c := range v.Criteria {
		if c.Result == judge.Fail {
			fmt.Println(c.Explain)
		}
	}
	// Output:
	// NO-GO
	// The only outage lasted at least 4.99 s and at most 5.01 s, from +02:10.0 on in the upgrade phase: 500 of 500 requests failed (refused 500); 1 s is allowed.
	// 500 of 21,000 requests failed: 97.6% were served, at most 97.8% at 95%; 99.9% is required.
	// The error rate went from 0% to 2.38%: by at least 2.21 points at 95%; 0.1 points are allowed.
}

// Two records of different rates say nothing about each other.
func ExampleCompare() {
	slow, fast := synth.Options{Rate: 50}, synth.Options{Rate: 100}
	s := slow.Scenario()
	_, err := judge.Compare(synth.Record(slow), synth.Record(fast), s.Criteria())
	fmt.Println(err)
	// Output:
	// compare: lane new: 50 requests a second in the baseline and 100 in the upgrade: record both at the same rate
}
