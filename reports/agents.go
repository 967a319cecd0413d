package reports

import (
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Agent is one of the pods that sent the load together.
type Agent struct {
	Name, Node string
	// State is what became of it, and Why the reason where it was lost.
	State, Why string
	// Bad is set where what it sent to the end is not known.
	Bad bool
	// Clock is how far its clock was from the runner's at the end, with the bound of
	// that, or at the start its bound alone; empty where neither is known.
	Clock string
	Lanes []AgentLane // none where it has sent nothing
}

// AgentLane is an agent's part of a lane, in the whole run. Windows counts the
// seconds that it has told of.
type AgentLane struct {
	Name                             string
	Windows, Due, Sent, Lost, Unsent uint64
}

// States of an agent.
const (
	agentDone    = "told everything"
	agentLost    = "lost"
	agentCut     = "until the interruption"
	agentNot     = "never started"
	agentUnknown = "its end was not recorded"
)

func newAgents(r *record.Record) []Agent {
	var out []Agent
	at := map[string]int{}
	for k, x := range r.Run.Agents {
		a := Agent{Name: clean(x.Name), Node: clean(x.Node), State: agentNot}
		for i := range r.Lanes {
			l := &r.Lanes[i]
			if k < len(l.Parts) && l.Parts[k].Seconds > 0 {
				w := &l.Parts[k].Sum
				a.Lanes = append(a.Lanes, AgentLane{clean(l.Lane.Name), uint64(l.Parts[k].Seconds), w.Due(), w.Sent(), w.Failed(), w.Counts[record.Unsent]})
			}
		}
		at["agent/"+x.Name] = len(out)
		out = append(out, a)
	}
	for _, e := range r.Events {
		i, ok := at[e.Subject]
		if !ok {
			continue
		}
		out[i].see(r, e)
	}
	return out
}

// see takes one event about the agent.
func (a *Agent) see(r *record.Record, e timeline.Event) {
	switch e.Kind {
	case timeline.KindAgentStart:
		a.State, a.Bad = agentUnknown, true
		for _, i := range r.Run.Interruptions {
			if i.AtNS >= e.T {
				a.State, a.Bad = agentCut, false // the interruption is judged by itself
			}
		}
		if d, err := time.ParseDuration(e.Detail["bound"]); err == nil {
			a.Clock = "set to ± " + millis(float64(d)/1e6)
		}
	case timeline.KindAgentLost:
		a.State, a.Bad = agentLost+" at "+offset(time.Duration(e.T)), true
		a.Why = clean(e.Detail["reason"])
		if told, err := time.ParseDuration(e.Detail["told"]); err == nil {
			a.Why = strings.TrimSuffix(a.Why, ".") + "; it has told what it sent until " + offset(told)
		}
	case timeline.KindAgentEnd:
		a.State, a.Bad = agentDone, false
		o, err := time.ParseDuration(e.Detail["offset"])
		b, err2 := time.ParseDuration(e.Detail["bound"])
		if err == nil && err2 == nil {
			a.Clock = millis(float64(o)/1e6) + " ± " + millis(float64(b)/1e6)
		} else {
			a.Clock, a.Bad, a.Why = "not read", true, "its clock could not be read at the end, "+clean(e.Detail["error"])
		}
	}
}

// senders is who sent the load, for the middle of a sentence.
func (v View) senders() string {
	if len(v.Agents) > 0 {
		return "the load agents' nodes"
	}
	return "this machine"
}

const agentsHint = "The agents sent the load together, each its share of every lane. Clock: how far theirs was from the runner's at the end, and how well that is known. Windows: the seconds that they told of."

// agentsTitle says how many there were, and how many were lost.
func (v View) agentsTitle() string {
	lost := 0
	for _, a := range v.Agents {
		if strings.HasPrefix(a.State, agentLost+" ") {
			lost++
		}
	}
	what := english.Count(len(v.Agents), "load agent")
	if lost == 0 {
		return what + ", none lost"
	}
	return fmt.Sprintf("%s, %s lost", what, english.Number(lost))
}

func (t *text) agents(v View) {
	if len(v.Agents) == 0 {
		return
	}
	t.section("Load agents: " + v.agentsTitle())
	var rows [][]cell
	for _, a := range v.Agents {
		sum := a.sum()
		rows = append(rows, []cell{
			{s: a.Name}, {s: orNone(a.Clock)}, {s: english.Number(sum.Windows)}, {s: english.Number(sum.Sent)}, {s: english.Number(sum.Lost)}, {s: english.Number(sum.Unsent)}, {s: a.statement()},
		})
	}
	t.table("llrrrrw", []string{"agent", "clock", "windows", "sent", "lost", "unsent", "state"}, rows)
}

// sum is what the agent sent on all lanes together; Windows are those of the lane
// with the most.
func (a Agent) sum() (out AgentLane) {
	for _, l := range a.Lanes {
		out.Windows = max(out.Windows, l.Windows)
		out.Due, out.Sent, out.Lost, out.Unsent = out.Due+l.Due, out.Sent+l.Sent, out.Lost+l.Lost, out.Unsent+l.Unsent
	}
	return out
}

// statement says what became of the agent, and where it ran.
func (a Agent) statement() string {
	s := a.State
	if a.Node != "" {
		s += ", on node " + a.Node
	}
	if a.Why != "" {
		s += ": " + a.Why
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

func (m *markdown) agents(v View) {
	m.fold("Load agents: "+v.agentsTitle(), len(v.Agents), func() {
		m.header("Agent", "Node", "State", "Clock", "Lane", "Windows", "Due", "Sent", "Lost", "Unsent")
		for _, a := range v.Agents {
			state := a.State
			if a.Why != "" {
				state += ": " + a.Why
			}
			first := []string{code(a.Name), code(a.Node), escape(state), escape(orNone(a.Clock))}
			for _, l := range a.Lanes {
				m.row(append(first, code(l.Name), english.Number(l.Windows), english.Number(l.Due), english.Number(l.Sent), english.Number(l.Lost), english.Number(l.Unsent))...)
				first = make([]string, len(first))
			}
			if len(a.Lanes) == 0 {
				m.row(append(first, none, "0", "0", "0", "0", "0")...)
			}
		}
	})
}
