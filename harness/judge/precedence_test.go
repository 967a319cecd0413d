package judge_test

import (
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
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
			summary: "All 22 criteria that were judged passed. An outage of 50 ms or more would have been seen on every lane.",
		},
		{
			name:    "an outage longer than allowed fails",
			faults:  []synth.Fault{{Start: 60 * sec, Length: 5 * sec}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from 130.0 s on during the upgrade: 500 of 500 requests failed (refused 500); 1 s is allowed.",
			summary: "outage/new failed: The only outage lasted at least 4.99 s and at most 5.01 s, from 130.0 s on during the upgrade: 500 of 500 requests failed (refused 500); 1 s is allowed. Also failed: success/new, errors/new, outage/reused, success/reused and errors/reused.",
		},
		{
			name:    "an outage shorter than allowed passes",
			faults:  []synth.Fault{{Start: 60 * sec, Length: 100 * time.Millisecond}},
			outcome: judge.Go, id: "outage/new", result: judge.Pass,
			explain: "The only outage lasted at least 90 ms and at most 110 ms, from 130.0 s on during the upgrade: 10 of 10 requests failed (refused 10); 1 s is allowed.",
		},
		{
			name:    "an outage as long as allowed cannot be told from one that is longer",
			faults:  []synth.Fault{{Start: 60 * sec, Length: sec, Lane: "new"}},
			outcome: judge.NoGo, id: "outage/new", result: judge.Undecided,
			explain: "An outage lasted at least 990 ms and at most 1.01 s, at 130.0 s: too close to the 1 s allowed to tell.",
		},
		{
			name:    "a hang is an outage",
			faults:  []synth.Fault{{Kind: synth.Hang, Start: 60 * sec, Length: 3 * sec}},
			outcome: judge.NoGo, id: "outage/reused", result: judge.Fail,
			explain: "The only outage lasted at least 2.99 s and at most 3.01 s, from 130.0 s on during the upgrade: 300 requests were answered only when it was over; 1 s is allowed.",
		},
		{
			name:    "half of the requests failing is an outage",
			faults:  []synth.Fault{{Start: 60 * sec, Length: 10 * sec, Share: 0.5, Class: record.HTTP5xx}},
			outcome: judge.NoGo, id: "outage/reused", result: judge.Fail,
			explain: "The only outage lasted at least 9.95 s and at most 9.97 s, from 130.0 s on during the upgrade: 456 of 996 requests failed (http-5xx 456); 1 s is allowed.",
		},
		{
			name:    "a generator that stopped for two seconds could have missed an outage",
			faults:  []synth.Fault{{Kind: synth.Pause, Start: 60 * sec, Length: 2 * sec}},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 2 s, at 130.0 s, an outage could not have been seen, because requests were not sent; 1 s is allowed.",
		},
		{
			name:    "a generator that stopped for less than an outage may last hides nothing",
			faults:  []synth.Fault{{Kind: synth.Pause, Start: 60 * sec, Length: 150 * time.Millisecond}},
			outcome: judge.Go, id: "outage/new", result: judge.Pass,
			explain: "No outage among 20,985 requests in 3 min 30 s; one of 50 ms or more would have been seen; 1 s is allowed.",
			summary: "All 22 criteria that were judged passed. An outage of 150 ms or more would have been seen on every lane.",
		},
		{
			name: "the same with a real outage elsewhere fails",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 60 * sec, Length: 2 * sec},
				{Start: 120 * sec, Length: 5 * sec},
			},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from 190.0 s on during the upgrade: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name: "an outage that the control lane shares is not the upgrade's",
			faults: []synth.Fault{
				{Start: 60 * sec, Length: 5 * sec},
				{Lane: scenarios.LaneControl, Start: 60 * sec, Length: 5 * sec},
			},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 4.99 s, at 130.0 s, an outage could not have been seen, because requests failed or hung on the control lane as well; 1 s is allowed.",
		},
		{
			name: "a hang that the control lane shares is not the upgrade's",
			faults: []synth.Fault{
				{Kind: synth.Hang, Start: 60 * sec, Length: 5 * sec},
				{Kind: synth.Hang, Lane: scenarios.LaneControl, Start: 60 * sec, Length: 5 * sec},
			},
			outcome: judge.Inconclusive, id: "outage/reused", result: judge.Undecided,
			explain: "For 4.99 s, at 130.0 s, an outage could not have been seen, because requests failed or hung on the control lane as well; 1 s is allowed.",
		},
		{
			name: "a control lane that failed at another time excuses nothing",
			faults: []synth.Fault{
				{Start: 60 * sec, Length: 5 * sec},
				{Lane: scenarios.LaneControl, Start: 100 * sec, Length: 5 * sec},
			},
			outcome: judge.NoGo, id: "outage/new", result: judge.Fail,
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from 130.0 s on during the upgrade: 500 of 500 requests failed (refused 500); 1 s is allowed.",
		},
		{
			name:    "a lane that was away before the upgrade cannot be judged after",
			faults:  []synth.Fault{{Start: -30 * sec, Length: 3 * sec}},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "Lane new was away for 2.99 s already in the baseline, at 40.0 s, before anything was upgraded: repair that first.",
		},
		{
			name: "seconds that were not recorded could hide an outage",
			change: func(r *record.Record) {
				d := lane(r, "new")
				d.Windows = without(d.Windows, func(w record.Window) bool { return w.Second == 150 || w.Second == 151 })
			},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Undecided,
			explain: "For 2 s, at 150.0 s, an outage could not have been seen, because nothing was recorded; 1 s is allowed.",
		},
		{
			name: "requests sent late, and answered, prove that the lane was served", median: 20,
			faults:  []synth.Fault{{Kind: synth.Busy, Start: 10 * sec, Length: 170 * sec, Factor: 15}},
			outcome: judge.Inconclusive, id: "outage/new", result: judge.Pass,
			explain: "No outage among 21,000 requests in 3 min 30 s; one of 50 ms or more would have been seen; 1 s is allowed.",
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

func TestPrecedenceRates(t *testing.T) {
	for _, x := range []rule{
		{
			name: "served", outcome: judge.Go, id: "success/new", result: judge.Pass,
			explain: "21,000 of 21,000 requests were served, at least 99.9871% at 95%; 99.9% is required.",
		},
		{
			name: "no more errors", outcome: judge.Go, id: "errors/new", result: judge.Pass,
			explain: "The error rate went from 0% to 0%: by at most 0.0129 points at 95%; 0.1 points are allowed.",
		},
		{
			name:    "too few served",
			faults:  []synth.Fault{{Length: 200 * sec, Share: 0.004}},
			outcome: judge.NoGo, id: "success/new", result: judge.Fail,
			explain: "75 of 21,000 requests failed: 99.643% were served, at most 99.704% at 95%; 99.9% is required.",
		},
		{
			name:    "more errors than before",
			faults:  []synth.Fault{{Length: 200 * sec, Share: 0.004}},
			outcome: judge.NoGo, id: "errors/new", result: judge.Fail,
			explain: "The error rate went from 0% to 0.357%: by at least 0.281 points at 95%; 0.1 points are allowed.",
		},
		{
			name:    "close to the limit",
			faults:  []synth.Fault{{Length: 200 * sec, Share: 0.001}},
			outcome: judge.Inconclusive, id: "success/new", result: judge.Undecided,
			explain: "20,981 of 21,000 requests were served, between 99.868% and 99.9378% at 95%: too few requests to tell from the 99.9% required.",
		},
		{
			name:    "errors switched off are reported",
			faults:  []synth.Fault{{Length: 200 * sec, Share: 0.001}},
			outcome: judge.Inconclusive, id: "errors/new", result: judge.Reported,
			explain: "The error rate went from 0% to 0.0905%, a change between 0.0373 and 0.132 points at 95%: too few requests to tell from the 0.1 points allowed. Reported, not judged.",
			criteria: func(c []scenarios.Criterion) {
				for i := range c {
					if c[i].Kind == scenarios.KindErrorIncrease {
						c[i].Required = false
					}
				}
			},
		},
		{
			name: "slots that were not sent may have failed",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 20 * sec, Length: 900 * time.Millisecond},
				{Kind: synth.Pause, Start: 60 * sec, Length: 900 * time.Millisecond},
			},
			outcome: judge.Inconclusive, id: "success/new", result: judge.Undecided,
			explain: "20,820 of 20,820 requests were served, but 0.857% of the slots were not sent by this machine; 0.1% is allowed.",
		},
		{
			name: "a rate that the machine cannot send",
			change: func(r *record.Record) {
				for i := range r.Run.Lanes {
					r.Run.Lanes[i].Rate = 120
				}
			},
			outcome: judge.Inconclusive, id: "rule achieved-rate new", result: judge.Fail,
			explain: "83.3% of the 120 requests a second asked for were sent on lane new; 99% are needed.",
		},
		{
			name: "failures that the control lane shares are not counted",
			faults: []synth.Fault{
				{Start: 60 * sec, Length: 20 * sec, Share: 0.3},
				{Lane: scenarios.LaneControl, Start: 60 * sec, Length: 20 * sec, Share: 0.3},
			},
			outcome: judge.Inconclusive, id: "success/new", result: judge.Undecided,
			explain: "19,000 of 19,000 requests were served in the usable seconds, but only 90.5% of the seconds are usable (control lane failing 20 s); 99% are needed.",
		},
	} {
		t.Run(x.name, x.run)
	}
}

func TestPrecedenceLatency(t *testing.T) {
	whole := 230 * sec
	for _, x := range []rule{
		{
			name: "as before", outcome: judge.Go, id: "p50/new", result: judge.Pass,
			explain: "p50 went from 20.3 ms to 20.3 ms (-0.1%), at most +1.4% at 95%; +10% is allowed.", median: 20,
		},
		{
			name: "slower", faults: []synth.Fault{{Kind: synth.SlowBody, Length: whole, Factor: 1.3}}, median: 20,
			outcome: judge.NoGo, id: "p50/new", result: judge.Fail,
			explain: "p50 went from 20.3 ms to 26.4 ms (+29.9%), at least +27.9% at 95%; +10% is allowed.",
		},
		{
			name: "slower by less than the floor", faults: []synth.Fault{{Kind: synth.SlowBody, Length: whole, Factor: 1.3}}, median: 1,
			outcome: judge.Go, id: "p50/new", result: judge.Pass,
			explain: "p50 went from 1.01 ms to 1.32 ms (+30%), by at most 319 µs at 95%; growth of up to 2 ms is never held against an upgrade.",
		},
		{
			name: "slower by about what is allowed", faults: []synth.Fault{{Kind: synth.SlowBody, Length: whole, Factor: 1.1}}, median: 40,
			outcome: judge.Inconclusive, id: "p50/new", result: judge.Undecided,
			explain: "p50 went from 40.6 ms to 44.6 ms (+9.9%), between +8.2% and +11.5% at 95%: too uncertain to tell from the +10% allowed. A longer baseline narrows it.",
		},
		{
			name: "the machine was busy all the time", faults: []synth.Fault{{Kind: synth.Busy, Length: whole, Factor: 15}}, median: 4,
			outcome: judge.Inconclusive, id: "p99/new", result: judge.Undecided,
			explain: "p99 needs at least 299 answered requests in 30 usable seconds on each side; during the upgrade there are 0 in 0 s (unusable: sent late 210 s, control lane slow 210 s).",
		},
		{
			name: "the machine was a little busy", faults: []synth.Fault{{Kind: synth.Busy, Length: whole, Factor: 1.2}}, median: 20,
			outcome: judge.Inconclusive, id: "p50/new", result: judge.Undecided,
			explain: "p50 went from 20.3 ms to 24.2 ms (+19.2%), but the control lane outside the cluster changed by +16.6% in the same seconds: the runner's machine was busy, and that is not the upgrade's doing.",
		},
		{
			name: "the machine was busy for a third of the time", faults: []synth.Fault{{Kind: synth.Busy, Start: 30 * sec, Length: 70 * sec, Factor: 5}}, median: 20,
			outcome: judge.Inconclusive, id: "p50/new", result: judge.Undecided,
			explain: "p50 went from 20.3 ms to 20.4 ms (+0.3%) in the usable seconds, but only 66.7% of the upgrade's seconds are usable (sent late 11 s, control lane slow 70 s); 80% are needed.",
		},
		{
			name: "slow and the control lane missing", faults: []synth.Fault{{Kind: synth.SlowBody, Length: whole, Factor: 1.5}}, median: 20,
			change:  func(r *record.Record) { lane(r, "control").Windows = nil },
			outcome: judge.Inconclusive, id: "p50/new", result: judge.Undecided,
			explain: "p50 went from 20.3 ms to 30.4 ms (+49.9%), but the control lane outside the cluster recorded nothing in the same seconds: whether the runner's machine was busy is not known.",
		},
		{
			name: "no baseline to speak of",
			change: func(r *record.Record) {
				d := lane(r, "new")
				d.Windows = without(d.Windows, func(w record.Window) bool { return w.Second < 50 })
			},
			outcome: judge.Inconclusive, id: "p99/new", result: judge.Undecided,
			explain: "p99 needs at least 299 answered requests in 30 usable seconds on each side; in the baseline there are 2,000 in 20 s (unusable: not recorded 39 s).",
		},
	} {
		t.Run(x.name, x.run)
	}
}

func TestPrecedenceRun(t *testing.T) {
	for _, x := range []rule{
		{
			name:    "a killed run",
			change:  func(r *record.Record) { r.Run.Outcome = record.OutcomeRunning },
			outcome: judge.Inconclusive, id: "rule run-complete", result: judge.Fail,
			explain: "The run did not come to its end: its process was killed, or it is still running.",
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
			explain: "The only outage lasted at least 4.99 s and at most 5.01 s, from 130.0 s on during the upgrade: 500 of 500 requests failed (refused 500); 1 s is allowed.",
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
					return e.Kind == timeline.KindUpgradeStart || e.Kind == timeline.KindUpgradeEnd || e.Kind == timeline.KindNodeVersion
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
			explain: "The generator of lane reused died at 150.0 s: its data end there.",
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
			explain: "Probe api-new died at 100.0 s: its data end there.",
		},
		{
			name: "a probe that fell silent",
			change: func(r *record.Record) {
				r.Probes[1].Samples = without(r.Probes[1].Samples, func(s record.ProbeSample) bool { return s.T > int64(100*sec) && s.T < int64(160*sec) })
			},
			outcome: judge.Inconclusive, id: "rule probe-data/api-reused", result: judge.Fail,
			explain: "Probe api-reused observed nothing for 60 s, from 100.0 s on; at most 10 s is expected.",
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

func TestPrecedenceCluster(t *testing.T) {
	for _, x := range []rule{
		{name: "at the target", outcome: judge.Go, id: "versions", result: judge.Pass,
			explain: "The API server and 4 of 4 nodes run v1.35.4 and are Ready."},
		{
			name: "an upgrade that changed nothing",
			change: func(r *record.Record) {
				r.After.ServerVersion = "v1.34.4"
				for i := range r.After.Nodes {
					r.After.Nodes[i].KubeletVersion = "v1.34.4"
				}
			},
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade changed nothing: the API server and all 4 nodes still run v1.34.4; v1.35.4 was asked for.",
		},
		{
			name:    "a node left behind",
			change:  func(r *record.Record) { r.After.Nodes[2].KubeletVersion = "v1.34.4" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: kubelet v1.34.4 still runs on worker-2.",
		},
		{
			name: "a node left behind by a run that was killed",
			change: func(r *record.Record) {
				r.After.Nodes[2].KubeletVersion = "v1.34.4"
				r.Run.Outcome = record.OutcomeRunning
			},
			outcome: judge.Inconclusive, id: "versions", result: judge.Undecided,
			explain: "The run ended before the upgrade to v1.35.4 was complete: kubelet v1.34.4 still runs on worker-2.",
		},
		{
			name:    "a kubelet newer than its API server",
			change:  func(r *record.Record) { r.After.ServerVersion = "v1.34.9" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: the API server runs v1.34.9; kubelet v1.35.4 is newer than the API server's v1.34.9 on cp-1, worker-1, worker-2 and worker-3.",
		},
		{
			name: "a node not Ready, one still cordoned",
			change: func(r *record.Record) {
				r.After.Nodes[1].Ready = false
				r.After.Nodes[2].Unschedulable = true
			},
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: not Ready: worker-1; still cordoned: worker-2.",
		},
		{
			name:    "a node lost",
			change:  func(r *record.Record) { r.After.Nodes = r.After.Nodes[:3] },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: 3 of 4 nodes are left.",
		},
		{
			name:    "the API server's pod at the old version",
			change:  func(r *record.Record) { component(r.After, "kube-scheduler").Instances[0].Version = "v1.34.4" },
			outcome: judge.NoGo, id: "versions", result: judge.Fail,
			explain: "The upgrade to v1.35.4 is not complete: v1.34.4 still runs in kube-system/kube-scheduler-cp-1.",
		},
		{
			name:    "no snapshot after",
			change:  func(r *record.Record) { r.After = nil },
			outcome: judge.Inconclusive, id: "versions", result: judge.Undecided,
			explain: "No snapshot of the cluster was taken after the upgrade.",
		},
		{
			name: "at the target already before",
			change: func(r *record.Record) {
				r.Before.ServerVersion = "v1.35.4"
				for i := range r.Before.Nodes {
					r.Before.Nodes[i].KubeletVersion = "v1.35.4"
				}
			},
			outcome: judge.Inconclusive, id: "versions", result: judge.Undecided,
			explain: "The cluster ran v1.35.4 already before: there was nothing to upgrade.",
		},
		{name: "a component that is healthy", outcome: judge.Go, id: "component/coredns", result: judge.Pass,
			explain: "coredns is healthy: 2 of 2 ready."},
		{
			name: "a component not ready",
			change: func(r *record.Record) {
				c := component(r.After, "coredns")
				c.Ready = 1
				c.Instances[1].Ready, c.Instances[1].Reason = false, "CrashLoopBackOff"
			},
			outcome: judge.NoGo, id: "component/coredns", result: judge.Fail,
			explain: "coredns is not healthy after the upgrade: 1 of 2 ready: pod kube-system/coredns-worker-2 (CrashLoopBackOff).",
		},
		{
			name: "a component gone",
			change: func(r *record.Record) {
				r.After.Components = without(r.After.Components, func(c record.Component) bool { return c.Name == "kube-flannel" })
			},
			outcome: judge.NoGo, id: "component/kube-flannel", result: judge.Fail,
			explain: "kube-flannel was there before the upgrade (4 of 4 ready) and is gone after it.",
		},
		{
			name: "a component that was never there",
			change: func(r *record.Record) {
				drop := func(c record.Component) bool { return c.Name == "kube-flannel" }
				r.After.Components, r.Before.Components = without(r.After.Components, drop), without(r.Before.Components, drop)
			},
			outcome: judge.Inconclusive, id: "component/kube-flannel", result: judge.Undecided,
			explain: "kube-flannel was found neither before nor after the upgrade: install it in the mirror, or take it off checks.systemComponents.",
		},
		{
			name: "a component that was never there and is not required",
			change: func(r *record.Record) {
				drop := func(c record.Component) bool { return c.Name == "kube-flannel" }
				r.After.Components, r.Before.Components = without(r.After.Components, drop), without(r.Before.Components, drop)
			},
			criteria: func(c []scenarios.Criterion) {
				for i := range c {
					c[i].Required = c[i].Required && c[i].Component != "kube-flannel"
				}
			},
			outcome: judge.Go, id: "component/kube-flannel", result: judge.Reported,
			explain: "kube-flannel was found neither before nor after the upgrade: install it in the mirror, or take it off checks.systemComponents. Reported, not judged.",
		},
		{
			name: "a component that was broken before",
			change: func(r *record.Record) {
				for _, s := range []*record.Snapshot{r.Before, r.After} {
					c := component(s, "coredns")
					c.Ready = 1
					c.Instances[1].Ready, c.Instances[1].Reason = false, "ImagePullBackOff"
				}
			},
			outcome: judge.Inconclusive, id: "component/coredns", result: judge.Undecided,
			explain: "coredns is not healthy after the upgrade (1 of 2 ready: pod kube-system/coredns-worker-2 (ImagePullBackOff)), but was not before it either (1 of 2 ready: pod kube-system/coredns-worker-2 (ImagePullBackOff)): repair it and rehearse again.",
		},
		{
			name: "a daemon set that lost a node",
			change: func(r *record.Record) {
				c := component(r.After, "kube-proxy")
				c.Instances, c.Desired, c.Ready = c.Instances[:3], 3, 3
			},
			outcome: judge.NoGo, id: "component/kube-proxy", result: judge.Fail,
			explain: "kube-proxy is not healthy after the upgrade: no ready pod on worker-3.",
		},
		{
			name:   "an etcd member lost",
			planes: 3,
			change: func(r *record.Record) {
				component(r.After, "etcd").Members[2] = record.Named{Name: "cp-3", Detail: "deadline exceeded"}
			},
			outcome: judge.NoGo, id: "component/etcd", result: judge.Fail,
			explain: "etcd is not healthy after the upgrade: member cp-3 is unhealthy (deadline exceeded).",
		},
		{
			name: "an APIService lost",
			change: func(r *record.Record) {
				r.After.APIServices[1] = record.Named{Name: "v1beta1.metrics.k8s.io", Detail: "MissingEndpoints"}
			},
			outcome: judge.NoGo, id: "apiservices", result: judge.Fail,
			explain: "1 of 2 APIServices are unavailable after the upgrade: v1beta1.metrics.k8s.io (MissingEndpoints).",
		},
		{
			name: "DNS lost",
			change: func(r *record.Record) {
				r.After.DNSLookup = record.Named{Name: "kubernetes.default", Detail: "i/o timeout"}
			},
			outcome: judge.NoGo, id: "dns", result: judge.Fail,
			explain: "A lookup of kubernetes.default from inside the cluster failed after the upgrade: i/o timeout.",
		},
		{
			name: "a system pod that broke",
			change: func(r *record.Record) {
				r.After.Lingering = []record.PodState{{Pod: "kube-system/metrics-server-1", Phase: "Running", Reason: "CrashLoopBackOff"}}
			},
			outcome: judge.NoGo, id: "lingering-pods", result: judge.Fail,
			explain: "1 pod of system namespaces broke with the upgrade: kube-system/metrics-server-1 (CrashLoopBackOff).",
		},
		{
			name: "a system pod that was evicted is named and no failure",
			change: func(r *record.Record) {
				r.After.Lingering = []record.PodState{{Pod: "kube-system/metrics-server-1", Phase: "Failed", Reason: "Evicted"}}
			},
			outcome: judge.Go, id: "lingering-pods", result: judge.Pass,
			explain: "No pod of system namespaces broke with the upgrade.",
		},
		{
			name: "an API away, with one control plane",
			change: func(r *record.Record) {
				for i := range r.Probes[0].Samples {
					s := &r.Probes[0].Samples[i]
					s.OK = s.T < int64(100*sec) || s.T >= int64(130*sec)
				}
			},
			outcome: judge.Go, id: "api", result: judge.Reported,
			explain: "api-new answered 720 of 840 observations and was available 85.7% of the time, away for at most 30.2 s in one piece, at 100.0 s. Reported, not judged.",
		},
		{
			name: "an API away, with three control planes", planes: 3,
			change: func(r *record.Record) {
				for i := range r.Probes[0].Samples {
					s := &r.Probes[0].Samples[i]
					s.OK = s.T < int64(100*sec) || s.T >= int64(130*sec)
				}
			},
			outcome: judge.NoGo, id: "api", result: judge.Fail,
			explain: "api-new answered 720 of 840 observations and was available 85.7% of the time, away for at most 30.2 s in one piece, at 100.0 s; 99.5% is required.",
		},
		{
			name: "an API away for about as long as it may be", planes: 3,
			change: func(r *record.Record) {
				for i := range r.Probes[0].Samples {
					s := &r.Probes[0].Samples[i]
					s.OK = s.T < int64(100*sec) || s.T >= int64(101*sec)
				}
			},
			outcome: judge.Inconclusive, id: "api", result: judge.Undecided,
			explain: "api-new answered 836 of 840 observations and was available 99.524% of the time, away for at most 1.25 s in one piece, at 100.0 s, which is between 99.405% and 99.643%: too coarse to tell from the 99.5% required.",
		},
		{
			name: "an API that answered", planes: 3,
			outcome: judge.Go, id: "api", result: judge.Pass,
			explain: "api-new answered 840 of 840 observations and was available 100% of the time; 99.5% is required.",
		},
	} {
		t.Run(x.name, x.run)
	}
}
