package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// maxAgentClockNS is how far an agent's clock may be from the runner's, at worst: a
// tenth of a window, and of what attribution takes for the same moment.
const maxAgentClockNS = 100e6

// ruleAgents applies the rules about load that agents have sent. What an agent does
// not tell is no outage, and no GO either: one could have been there. A record whose
// load was sent by the runner has no such rules.
func (j *judgement) ruleAgents() {
	for _, r := range j.records() {
		if len(r.Run.Agents) == 0 && !slices.ContainsFunc(r.Events, func(e timeline.Event) bool { return e.Kind == timeline.KindAgentStart }) {
			continue
		}
		end := j.up.end()
		if r != j.up.rec {
			end = j.base.end()
		}
		j.ruleLost(r, end)
		j.ruleClocks(r)
		if slices.ContainsFunc(r.Run.Findings, func(f record.Finding) bool { return f.ID == record.FindingAgentsInTarget }) {
			v := Validity{Rule: "agents-in-target", Result: Reported, Explain: "The load was sent from the cluster under test: its upgrade took CPU from the agents, and the way to the canary was another than a user's."}
			j.validity = append(j.validity, v)
			j.warnings = append(j.warnings, v.Explain)
		}
	}
}

// ruleLost holds when every agent has told what it sent until the end.
func (j *judgement) ruleLost(r *record.Record, end int64) {
	v := Validity{Rule: "load-agents", Explain: "Every load agent has told what it sent" + shareOfEach(r) + "."}
	var lost []string
	since := r.Since()
	for _, e := range r.Events {
		if e.Kind != timeline.KindAgentLost || e.T < since {
			continue
		}
		until := end // or where the process ended that it belonged to
		for _, i := range r.Run.Interruptions {
			if i.AtNS >= e.T {
				until = min(until, i.AtNS)
				break
			}
		}
		// One that was lost when all that counts was told has done its work.
		told, err := time.ParseDuration(e.Detail["told"])
		if err == nil && int64(told) >= until {
			continue
		}
		lost = append(lost, fmt.Sprintf("Load agent %s was lost %s: %s", agentName(e), at(e.T), sentence(e.Detail["reason"])))
		v.Unusable = append(v.Unusable, Stretch{max(int64(told), 0), max(until, int64(told))})
	}
	if v.Value = float64(len(lost)); lost != nil {
		v.Unusable = merged(v.Unusable)
		v.Explain = strings.Join(lost, " ") + " What it sent from then on is not known; an outage could not have been seen by it."
	}
	j.global(v, lost == nil)
}

// shareOfEach says how many requests each agent sent, on all lanes, and how many of
// them failed.
func shareOfEach(r *record.Record) string {
	var text []string
	since := r.Since()
	for k, a := range r.Run.Agents {
		var sent, failed uint64
		for i := range r.Lanes {
			if k < len(r.Lanes[i].Parts) {
				w := &r.Lanes[i].Parts[k].Sum
				if w.Second*secondNS < since {
					continue
				}
				sent, failed = sent+w.Sent(), failed+w.Failed()
			}
		}
		if sent == 0 {
			continue
		}
		name := a.Name
		if a.Node != "" {
			name += " on node " + a.Node
		}
		text = append(text, fmt.Sprintf("%s %d requests, of which %d failed", name, sent, failed))
	}
	if text == nil {
		return ""
	}
	return ": " + strings.Join(text, "; ")
}

// ruleClocks holds when the agents' clocks agreed with the runner's at the end, as
// they were made to at the start. What is in between lies within both: clocks drift,
// and one that jumped and came back would have lost its agent.
func (j *judgement) ruleClocks(r *record.Record) {
	v := Validity{Rule: "agent-clocks", Limit: maxAgentClockNS / 1e6, Unit: "ms", Explain: "No load agent has told how its clock agrees with the runner's."}
	unknown := ""
	ends := 0
	since := r.Since()
	for _, e := range r.Events {
		if e.Kind != timeline.KindAgentEnd || e.T < since {
			continue
		}
		ends++
		offset, err := time.ParseDuration(e.Detail["offset"])
		bound, err2 := time.ParseDuration(e.Detail["bound"])
		if err != nil || err2 != nil {
			unknown = fmt.Sprintf("The clock of load agent %s could not be read at the end: %s", agentName(e), sentence(e.Detail["error"]))
			continue
		}
		if worst := float64(offset.Abs()+bound) / 1e6; worst >= v.Value {
			v.Value = worst
			v.Explain = fmt.Sprintf("The clocks of the load agents were at most %s off the runner's, the worst that of %s (%s, known to %s); %s is allowed.",
				duration(worst*1e6), agentName(e), duration(float64(offset)), duration(float64(bound)), duration(maxAgentClockNS))
		}
	}
	if unknown != "" {
		v.Explain = unknown
	}
	// Without any, all are lost, and that is said by the rule about it.
	j.global(v, ends == 0 || unknown == "" && v.Value <= v.Limit)
}

// agentName is the pod that an event is about, with its node.
func agentName(e timeline.Event) string {
	name := strings.TrimPrefix(e.Subject, "agent/")
	if node := e.Detail["node"]; node != "" {
		name += " on node " + node
	}
	return name
}
