package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Sentences speak of the runner, whose machine sends the load. Where agents have
// sent it, it is their nodes that were late, busy or overloaded, and a reader sent
// to look at the runner would find nothing: so they are named in its place, in one
// pass over all that a verdict says.

// byAgents puts the load agents into a sentence in the runner's place.
var byAgents = strings.NewReplacer(
	"the runner's own machine", "the load agents' nodes",
	"the runner's machine was", "the load agents' nodes were",
	"the runner was", "the load agents were",
	"the runner sent its requests", "the load agents sent their requests",
	"timeouts of a late runner", "timeouts of late load agents",
	"failures of an overloaded runner", "failures of overloaded load agents",
	"contention of the machine", "contention of the load agents' nodes",
	"Rehearse on a machine with more to spare, or send less.", "Use more load agents, or nodes with more to spare, or send less.",
)

// nameSenders changes what a verdict says about a run whose load agents sent.
func (j *judgement) nameSenders(v *Verdict) {
	if len(j.up.rec.Run.Agents) == 0 {
		return
	}
	tell := func(texts ...*string) {
		for _, t := range texts {
			*t = byAgents.Replace(*t)
		}
	}
	tell(&v.Summary, &v.Ledger.Summary)
	for i := range v.Warnings {
		tell(&v.Warnings[i])
	}
	for i := range v.Criteria {
		tell(&v.Criteria[i].Explain)
		for k := range v.Criteria[i].Warnings {
			tell(&v.Criteria[i].Warnings[k])
		}
	}
	for i := range v.Validity {
		tell(&v.Validity[i].Explain)
	}
	for i := range v.Resolution {
		tell(&v.Resolution[i].Explain)
	}
	for i := range v.Outages {
		tell(&v.Outages[i].Cause)
	}
	for i := range v.Ledger.Bursts {
		tell(&v.Ledger.Bursts[i].Cause, &v.Ledger.Bursts[i].Mend)
	}
	for i := range v.Ledger.Rest {
		tell(&v.Ledger.Rest[i].Cause)
	}
}

// sender is who sent a side's load, for the middle of a sentence.
func (l *laneSide) sender() string {
	if n := len(l.side.rec.Run.Agents); n > 0 {
		return "the load agents"
	}
	return "this machine"
}

// mostUnsent is how many agents a sentence names.
const mostUnsent = 3

// whoDidNot names the agents that left slots of the lane unsent, those that left
// the most first: the end of a sentence, empty where the runner sent the load.
func (l *laneSide) whoDidNot() string {
	type idle struct {
		name        string
		unsent, due uint64
	}
	if l.data == nil {
		return ""
	}
	var all []idle
	rec := l.side.rec
	for k, a := range rec.Run.Agents {
		if k >= len(l.data.Parts) {
			break
		}
		w := &l.data.Parts[k].Sum
		if w.Second*secondNS < rec.Since() || w.Counts[record.Unsent] == 0 {
			continue
		}
		name := a.Name
		if a.Node != "" {
			name += " on node " + a.Node
		}
		all = append(all, idle{name, w.Counts[record.Unsent], w.Due()})
	}
	if all == nil {
		return ""
	}
	slices.SortStableFunc(all, func(a, b idle) int { return cmp.Compare(b.unsent, a.unsent) })
	var text []string
	for _, x := range all[:min(len(all), mostUnsent)] {
		text = append(text, fmt.Sprintf("%s left out %s of its %s", x.name, english.Number(x.unsent), english.Count(x.due, "slot")))
	}
	out := ". In the whole run " + strings.Join(text, ", ")
	if more := len(all) - mostUnsent; more > 0 {
		out += fmt.Sprintf(", and %s more did", english.Number(more))
	}
	return out
}
