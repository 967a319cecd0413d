package judge_test

import (
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// interrupted cuts what lies between two offsets of the run out of a record, as
// a kill and a resume leave it.
func interrupted(from, to time.Duration) func(*record.Record) {
	return func(r *record.Record) {
		at := func(t int64) bool { return t >= int64(from) && t < int64(to) }
		for i := range r.Lanes {
			l := &r.Lanes[i]
			l.Windows = without(l.Windows, func(w record.Window) bool { return at(w.Second * 1e9) })
			l.Requests = without(l.Requests, func(q record.Request) bool { return at(q.Due) })
		}
		for i := range r.Probes {
			r.Probes[i].Samples = without(r.Probes[i].Samples, func(s record.ProbeSample) bool { return at(s.T) })
		}
		r.Run.Interruptions = append(r.Run.Interruptions, record.Interruption{AtNS: int64(from), ResumedNS: int64(to)})
		r.Events = append(r.Events, timeline.Event{T: int64(to), Source: timeline.SourceRun, Kind: timeline.KindResumed, Subject: "run",
			Detail: map[string]string{"measurement": timeline.MeasurementGoesOn}})
	}
}

func TestInterruptions(t *testing.T) {
	const gap = "The run was interrupted at +02:20.0, in the upgrade, and nothing was measured for 30 s: an outage could not have been seen then; 1 s is allowed."
	for _, x := range []rule{
		{
			name: "half a minute of the upgrade was not measured", change: interrupted(140*sec, 170*sec),
			outcome: judge.Inconclusive, id: "rule interruptions", result: judge.Fail, explain: gap,
		},
		{
			name: "a failure that was measured stays one", change: interrupted(140*sec, 170*sec),
			faults:  []synth.Fault{{Start: 60 * sec, Length: 5 * sec}},
			outcome: judge.NoGo, id: "rule interruptions", result: judge.Fail, explain: gap,
		},
		{
			// What the watch did not see meanwhile is another criterion's doubt.
			name: "no longer than the outage allowed", change: interrupted(140*sec, 141*sec),
			outcome: judge.Inconclusive, id: "rule interruptions", result: judge.Pass,
			explain: "The run was interrupted at +02:20.0, in the upgrade, and nothing was measured for 1 s: an outage could not have been seen then; 1 s is allowed.",
		},
		{
			// The process that was interrupted lived on until 02:20.95, without load.
			name: "the last second before it was cut short",
			change: func(r *record.Record) {
				interrupted(141*sec, 142*sec)(r)
				r.Run.Interruptions[0].AtNS = int64(140*sec + 950*time.Millisecond)
				for i := range r.Lanes {
					for k := range r.Lanes[i].Windows {
						if w := &r.Lanes[i].Windows[k]; w.Second == 140 {
							w.Counts[record.OK] /= 10
						}
					}
				}
			},
			outcome: judge.Inconclusive, id: "rule interruptions", result: judge.Fail,
			explain: "The run was interrupted at +02:21.0, in the upgrade, and nothing was measured for 1.9 s: an outage could not have been seen then; 1 s is allowed.",
		},
		{
			name: "before the upgrade, and measured anew",
			change: func(r *record.Record) {
				r.Run.Interruptions = []record.Interruption{{AtNS: 1, ResumedNS: 2, Anew: true}}
			},
			outcome: judge.Go, id: "rule interruptions", result: judge.Pass,
			explain: "The run was interrupted once, when the upgrade was not being measured: what counts was measured in one piece.",
		},
	} {
		t.Run(x.name, x.run)
	}
}
