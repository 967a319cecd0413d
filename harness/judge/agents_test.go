package judge_test

import (
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// byAgents makes a record's load one that three agents have sent.
func byAgents(more ...timeline.Event) func(*record.Record) {
	return func(r *record.Record) {
		end := r.Events[len(r.Events)-1].T + int64(time.Second)
		lost := map[string]bool{}
		for _, e := range more {
			lost[e.Subject] = true
		}
		for i, name := range []string{"agent/load-agents-0-a", "agent/load-agents-1-b", "agent/load-agents-2-c"} {
			r.Run.Agents = append(r.Run.Agents, record.Agent{Name: name[len("agent/"):], Node: "node-1"})
			if !lost[name] {
				r.Events = append(r.Events, agentEvent(end, timeline.KindAgentEnd, name, "offset", (time.Duration(i)*time.Millisecond).String(), "bound", "2ms"))
			}
		}
		r.Events = append(r.Events, more...)
	}
}

func agentEvent(t int64, kind, subject string, detail ...string) timeline.Event {
	d := map[string]string{"node": "node-1"}
	for i := 0; i < len(detail); i += 2 {
		d[detail[i]] = detail[i+1]
	}
	return timeline.Event{T: t, Source: timeline.SourceLoad, Kind: kind, Subject: subject, Detail: d}
}

func TestAgents(t *testing.T) {
	const (
		second = "agent/load-agents-1-b"
		lost   = "Load agent load-agents-1-b on node node-1 was lost at +02:30.0: its pod was deleted. What it sent from then on is not known; an outage could not have been seen by it."
	)
	died := func(told string) timeline.Event {
		return agentEvent(150e9, timeline.KindAgentLost, second, "reason", "its pod was deleted", "told", told)
	}
	clock := func(detail ...string) timeline.Event {
		return agentEvent(400e9, timeline.KindAgentEnd, second, detail...)
	}
	for _, x := range []rule{
		{
			name: "all have told everything", change: byAgents(),
			outcome: judge.Go, id: "rule load-agents", result: judge.Pass, explain: "Every load agent has told what it sent.",
		},
		{
			name: "all have told everything, and how much that was",
			change: func(r *record.Record) {
				byAgents()(r)
				for i := range r.Lanes {
					for k := range uint64(3) {
						var p record.Part
						p.Sum.Counts[record.OK], p.Sum.Counts[record.Reset], p.Sum.Counts[record.Unsent] = 100, k, 5
						r.Lanes[i].Parts = append(r.Lanes[i].Parts, p)
					}
				}
			},
			outcome: judge.Go, id: "rule load-agents", result: judge.Pass,
			explain: "Every load agent has told what it sent: load-agents-0-a on node node-1 300 requests, of which 0 failed; load-agents-1-b on node node-1 303 requests, of which 3 failed; load-agents-2-c on node node-1 306 requests, of which 6 failed.",
		},
		{
			name: "their clocks agree", change: byAgents(),
			outcome: judge.Go, id: "rule agent-clocks", result: judge.Pass,
			explain: "The clocks of the load agents were at most 4 ms off the runner's, the worst that of load-agents-2-c on node node-1 (2 ms, known to 2 ms); 100 ms is allowed.",
		},
		{
			name: "one is lost", change: byAgents(died("2m29s")),
			outcome: judge.Inconclusive, id: "rule load-agents", result: judge.Fail, explain: lost, summary: "",
		},
		{
			name: "one is lost, and the others saw an outage", change: byAgents(died("2m29s")),
			faults:  []synth.Fault{{Start: 60 * sec, Length: 5 * sec}},
			outcome: judge.NoGo, id: "rule load-agents", result: judge.Fail, explain: lost,
		},
		{
			name: "one is lost when it had told all that counts", change: byAgents(died("10m0s")),
			outcome: judge.Go, id: "rule load-agents", result: judge.Pass, explain: "Every load agent has told what it sent.",
		},
		{
			name: "a clock was off", change: byAgents(clock("offset", "-350ms", "bound", "3ms")),
			outcome: judge.Inconclusive, id: "rule agent-clocks", result: judge.Fail,
			explain: "The clocks of the load agents were at most 353 ms off the runner's, the worst that of load-agents-1-b on node node-1 (-350 ms, known to 3 ms); 100 ms is allowed.",
		},
		{
			name: "a clock is not known well enough", change: byAgents(clock("offset", "0s", "bound", "110ms")),
			outcome: judge.Inconclusive, id: "rule agent-clocks", result: judge.Fail,
			explain: "The clocks of the load agents were at most 110 ms off the runner's, the worst that of load-agents-1-b on node node-1 (0 ms, known to 110 ms); 100 ms is allowed.",
		},
		{
			name: "a clock could not be read", change: byAgents(clock("error", "timeout")),
			outcome: judge.Inconclusive, id: "rule agent-clocks", result: judge.Fail,
			explain: "The clock of load agent load-agents-1-b on node node-1 could not be read at the end: timeout.",
		},
		{
			name: "they ran in the cluster under test",
			change: func(r *record.Record) {
				byAgents()(r)
				r.Run.Findings = append(r.Run.Findings, record.Finding{ID: record.FindingAgentsInTarget, Severity: record.SeverityWarn})
			},
			outcome: judge.Go, id: "rule agents-in-target", result: judge.Reported,
			explain: "The load was sent from the cluster under test: its upgrade took CPU from the agents, and the way to the canary was another than a user's.",
		},
	} {
		t.Run(x.name, x.run)
	}
}
