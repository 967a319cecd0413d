package judge_test

import (
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestPrecedenceRun(t *testing.T) {
	for _, x := range []rule{
		{
			name:    "a killed run",
			change:  func(r *record.Record) { r.Run.Outcome = record.OutcomeRunning },
			outcome: judge.Inconclusive, id: "rule run-complete", result: judge.Fail,
			explain: "The run did not come to its end: its process was killed, or it is still running.",
		},
		{
			name:    "a record that was not sealed",
			change:  func(r *record.Record) { r.Complete = false },
			outcome: judge.Inconclusive, id: "rule run-complete", result: judge.Fail,
			explain: "The record was not sealed: its process was killed, or its files were changed since.",
		},
		{
			name: "an interrupted run",
			change: func(r *record.Record) {
				r.Run.Outcome, r.Run.Failure = record.OutcomeInterrupted, "interrupted in step 5"
			},
			outcome: judge.Inconclusive, id: "rule run-complete", result: judge.Fail,
			explain: "The run was interrupted: interrupted in step 5.",
		},
		{
			name: "a run that a signal interrupted",
			change: func(r *record.Record) {
				r.Run.Outcome, r.Run.Failure = record.OutcomeInterrupted, "interrupted"
			},
			outcome: judge.Inconclusive, id: "rule run-complete", result: judge.Fail,
			explain: "The run was interrupted.",
		},
		{
			name: "a run that failed outside the upgrade",
			change: func(r *record.Record) {
				r.Run.Outcome, r.Run.Failure = record.OutcomeFailed, "Docker went away"
				r.Run.Steps[1].Outcome = record.OutcomeFailed
			},
			outcome: judge.Inconclusive, id: "rule run-complete", result: judge.Fail,
			explain: "The run could not be carried out: Docker went away.",
		},
		{
			name: "a step of the upgrade that failed",
			change: func(r *record.Record) {
				r.Run.Outcome, r.Run.Failure = record.OutcomeFailed, "step 4 failed"
				r.Run.Steps[3].Outcome, r.Run.Steps[3].Error = record.OutcomeFailed, "pod web-0 blocks the drain: its budget allows no disruption"
				r.After = nil
			},
			outcome: judge.NoGo, id: "upgrade", result: judge.Fail,
			explain: "Step 4 of the upgrade, \"Upgrade node worker-1 to v1.35.4\", failed: pod web-0 blocks the drain: its budget allows no disruption.",
		},
		{
			name: "a real outage in a killed run still fails", faults: []synth.Fault{{Start: 60 * sec, Length: 5 * sec}},
			change:  func(r *record.Record) { r.Run.Outcome = record.OutcomeRunning },
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from +02:10.0 on in the upgrade phase: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name: "a damaged record",
			change: func(r *record.Record) {
				r.Damage = []record.Damage{{File: "load/new.frames", Offset: 4711, What: "the last frame is torn"}}
			},
			outcome: judge.Inconclusive, id: "rule damage", result: judge.Fail,
			explain: "load/new.frames of the record is damaged at byte 4711: the last frame is torn.",
		},
		{
			name: "no upgrade phase",
			change: func(r *record.Record) {
				r.Events = without(r.Events, func(e timeline.Event) bool { return e.T >= int64(70*sec) && e.Source == timeline.SourceRun })
			},
			outcome: judge.Inconclusive, id: "rule phases", result: judge.Fail,
			explain: "The record holds no upgrade: there is nothing to compare.",
		},
		{
			name: "nothing was upgraded under load",
			change: func(r *record.Record) {
				r.Events = without(r.Events, func(e timeline.Event) bool {
					return e.Kind == timeline.KindUpgradeStart || e.Kind == timeline.KindUpgradeEnd || e.Kind == timeline.KindNodeVersion || e.Kind == timeline.KindPodVersion
				})
			},
			outcome: judge.Inconclusive, id: "rule upgrade-observed", result: judge.Fail,
			explain: "No upgrade was observed under load: no node and no component changed its version during the upgrade phase.",
		},
		{
			name: "a lane that died",
			change: func(r *record.Record) {
				d := lane(r, "reused")
				d.Windows = without(d.Windows, func(w record.Window) bool { return w.Second >= 150 })
				r.Events = append(r.Events, timeline.Event{T: int64(150 * sec), Source: timeline.SourceLoad, Kind: timeline.KindLaneLost, Subject: "lane/reused"})
			},
			outcome: judge.Inconclusive, id: "rule lane-data reused", result: judge.Fail,
			explain: "The generator of lane reused died at +02:30.0: its data end there.",
		},
		{
			name:    "a lane without data",
			change:  func(r *record.Record) { r.Lanes = r.Lanes[1:] },
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "Nothing was recorded of lane new during the upgrade.",
		},
		{
			name: "a lane that the record does not know",
			change: func(r *record.Record) {
				r.Run.Lanes = r.Run.Lanes[1:]
				r.Lanes = r.Lanes[1:]
			},
			outcome: judge.Inconclusive, id: "p99/new", result: judge.Undecided,
			explain: "The record has no lane new.",
		},
		{
			name: "a probe that died",
			change: func(r *record.Record) {
				r.Probes[0].Samples = without(r.Probes[0].Samples, func(s record.ProbeSample) bool { return s.T > int64(100*sec) })
				r.Events = append(r.Events, timeline.Event{T: int64(100 * sec), Source: timeline.SourceProbe, Kind: timeline.KindProbeLost, Subject: "probe/api-new"})
			},
			outcome: judge.Inconclusive, id: "rule probe-data/api-new", result: judge.Fail,
			explain: "Probe api-new died at +01:40.0: its data end there.",
		},
		{
			name: "a probe that fell silent",
			change: func(r *record.Record) {
				r.Probes[1].Samples = without(r.Probes[1].Samples, func(s record.ProbeSample) bool { return s.T > int64(100*sec) && s.T < int64(160*sec) })
			},
			outcome: judge.Inconclusive, id: "rule probe-data/api-reused", result: judge.Fail,
			explain: "Probe api-reused observed nothing for 60 s, from +01:40.0 on; at most 10 s is expected.",
		},
		{
			name: "the runner sent late in some seconds", faults: []synth.Fault{{Kind: synth.Busy, Start: 30 * sec, Length: 4 * sec, Factor: 15}},
			outcome: judge.Go, id: "rule send-lag new", result: judge.Pass,
			explain: "p99 of the send lag of lane new was 5.89 ms, and in 4 s above the 25 ms allowed: their latencies are not used.",
		},
		{
			name:    "no control lane",
			change:  func(r *record.Record) { r.Run.Lanes, r.Lanes = r.Run.Lanes[:2], r.Lanes[:2] },
			outcome: judge.Go, id: "rule control-lane", result: judge.Reported,
			explain: "There is no control lane: trouble of the runner's own machine cannot be told from the upgrade's.",
		},
	} {
		t.Run(x.name, x.run)
	}
}
