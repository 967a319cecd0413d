package judge_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// overloaded is a run in whose upgrade a fifth of the slots was not sent, and many
// requests failed meanwhile.
func overloaded(r *record.Record) {
	up, _ := r.Phase(timeline.PhaseUpgrade)
	for i := range r.Lanes {
		for k := range r.Lanes[i].Windows {
			w := &r.Lanes[i].Windows[k]
			if at := w.Second * 1e9; at < up.Start || at >= up.End {
				continue
			}
			w.Counts[record.Unsent] += w.Counts[record.OK] / 4
			w.Counts[record.OK] -= w.Counts[record.OK] / 4
		}
	}
}

// TestAgentsAreNamedInTheRunnersPlace holds that no sentence of a verdict speaks of
// this machine or of a runner that sent the load where agents did.
func TestAgentsAreNamedInTheRunnersPlace(t *testing.T) {
	said := func(agents bool) (judge.Verdict, string) {
		o := synth.Options{Seed: 7}
		r := synth.Record(o)
		overloaded(r)
		if agents {
			byAgents()(r)
			for i := range r.Lanes {
				for k := range uint64(3) {
					var p record.Part
					p.Seconds, p.Sum.Second = 100, 1
					p.Sum.Counts[record.OK], p.Sum.Counts[record.Unsent] = 1000, 50*k
					r.Lanes[i].Parts = append(r.Lanes[i].Parts, p)
				}
			}
		}
		s := o.Scenario()
		v := judge.Judge(r, s.Criteria())
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return v, string(text)
	}
	_, text := said(false)
	if !strings.Contains(text, "this machine") || !strings.Contains(text, "the runner was") {
		t.Fatalf("the load of one machine is not spoken of as such: %s", text)
	}
	v, text := said(true)
	for _, wrong := range []string{"this machine", "the runner was", "The runner was", "runner's machine", "late runner", "overloaded runner", "contention of the machine"} {
		if i := strings.Index(text, wrong); i >= 0 {
			t.Errorf("%q is said of a run with agents: …%s…", wrong, text[max(0, i-120):min(len(text), i+80)])
		}
	}
	want := "In the whole run load-agents-2-c on node node-1 left out 100 of its 1,100 slots, load-agents-1-b on node node-1 left out 50 of its 1,050 slots"
	if !slices.ContainsFunc(v.Criteria, func(c judge.Criterion) bool {
		return strings.Contains(c.Explain, "the load agents") && strings.Contains(c.Explain, want)
	}) {
		t.Errorf("no criterion names the agents that left slots out: %s", text)
	}
}
