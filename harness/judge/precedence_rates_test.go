package judge_test

import (
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

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
		{
			name: "failures of an overloaded runner are not counted",
			faults: []synth.Fault{
				{Kind: synth.Pause, Start: 60 * sec, Length: 195 * time.Millisecond},
				{Start: 60500 * time.Millisecond, Length: 400 * time.Millisecond},
			},
			criteria: func(c []scenarios.Criterion) {
				for i := range c { // so few slots unsent that the rest could pass
					c[i].Required = c[i].Kind != scenarios.KindOutage
				}
			},
			outcome: judge.Inconclusive, id: "errors/new", result: judge.Undecided,
			explain: "The error rate went from 0% to 0% in the usable seconds; what failed in the others (failures of an overloaded runner 1 s) would be too much, and why it did is not known.",
		},
		{
			name: "failures are not counted that the control lane had as many of, in other seconds close by",
			faults: []synth.Fault{
				{Start: 40 * sec, Length: 300 * time.Millisecond}, {Start: 80 * sec, Length: 300 * time.Millisecond},
				{Lane: scenarios.LaneControl, Start: 44 * sec, Length: 300 * time.Millisecond}, {Lane: scenarios.LaneControl, Start: 77 * sec, Length: 300 * time.Millisecond},
			},
			outcome: judge.Inconclusive, id: "success/new", result: judge.Undecided,
			explain: "60 of 21,000 requests failed, but 60 failed on the control lane outside the cluster within 5 s of them: what remains is too little to blame on the upgrade.",
		},
		{
			name: "and the same for the increase",
			faults: []synth.Fault{
				{Start: 40 * sec, Length: 300 * time.Millisecond}, {Start: 80 * sec, Length: 300 * time.Millisecond},
				{Lane: scenarios.LaneControl, Start: 44 * sec, Length: 300 * time.Millisecond}, {Lane: scenarios.LaneControl, Start: 77 * sec, Length: 300 * time.Millisecond},
			},
			outcome: judge.Inconclusive, id: "errors/new", result: judge.Undecided,
			explain: "The error rate went from 0% to 0.286%, but 60 requests failed on the control lane outside the cluster within 5 s of those that did: what remains is too little to blame on the upgrade.",
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
			explain: "p50 went from 20.3 ms to 26.4 ms (+29.9%), at least +28.1% at 95%; +10% is allowed.",
		},
		{
			name: "slower by less than the floor", faults: []synth.Fault{{Kind: synth.SlowBody, Length: whole, Factor: 1.3}}, median: 1,
			outcome: judge.Go, id: "p50/new", result: judge.Pass,
			explain: "p50 went from 1.01 ms to 1.32 ms (+30%), by at most 319 µs at 95%; growth of up to 2 ms is never held against an upgrade.",
		},
		{
			name: "slower by about what is allowed", faults: []synth.Fault{{Kind: synth.SlowBody, Length: whole, Factor: 1.1}}, median: 40,
			outcome: judge.Inconclusive, id: "p50/new", result: judge.Undecided,
			explain: "p50 went from 40.6 ms to 44.6 ms (+9.9%), between +8.4% and +11.5% at 95%: too uncertain to tell from the +10% allowed. A longer baseline narrows it.",
		},
		{
			name: "the machine was busy all the time", faults: []synth.Fault{{Kind: synth.Busy, Length: whole, Factor: 15}}, median: 4,
			outcome: judge.Inconclusive, id: "p99/new", result: judge.Undecided,
			explain: "p99 needs at least 299 answered requests in 30 usable seconds on each side; during the upgrade there are 0 in 0 s (unusable: sent late 210 s, control lane slow 210 s). Counting every second, p99 went from 14.9 ms to 232 ms (+1457.1%).",
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
			name: "the runner sent late and the service was no slower", faults: []synth.Fault{{Kind: synth.Busy, Start: 30 * sec, Length: 100 * sec, Factor: 1.01}}, median: 20,
			change: func(r *record.Record) {
				d := lane(r, "new")
				for i := range d.Windows {
					if s := d.Windows[i].Second; s >= 100 && s < 200 {
						d.Windows[i].SendLag.AddN(30000, 2)
						d.Windows[i].Counts[record.OK] += 2
						d.Windows[i].Latency.AddN(20000, 2)
					}
				}
			},
			outcome: judge.Go, id: "p50/new", result: judge.Pass,
			explain: "p50 went from 20.3 ms to 20.3 ms (+0.1%), and it stays within +10% or 2 ms even counting the seconds in which the runner was busy (sent late 100 s).",
		},
		{
			name: "the runner sent late all the time and the service was no slower", median: 20,
			change: func(r *record.Record) {
				d := lane(r, "new")
				for i := range d.Windows {
					if d.Windows[i].Second >= 70 {
						d.Windows[i].SendLag.AddN(30000, 2)
						d.Windows[i].Counts[record.OK] += 2
						d.Windows[i].Latency.AddN(20000, 2)
					}
				}
			},
			outcome: judge.Go, id: "p99/new", result: judge.Pass,
			explain: "p99 went from 74.5 ms to 62.8 ms (-15.6%): within +25% or 2 ms even counting the seconds in which the runner was busy (sent late 210 s).",
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
			explain: "p99 needs at least 299 answered requests in 30 usable seconds on each side; in the baseline there are 2,000 in 20 s (unusable: not recorded 39 s). Counting every second, p99 went from 26.2 ms to 25.4 ms (-3%).",
		},
	} {
		t.Run(x.name, x.run)
	}
}
