package gate

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/history"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Decision is the gate's answer about one run directory.
type Decision struct {
	Open           bool          `json:"open"`
	Dir            string        `json:"dir"`
	Scenario       string        `json:"scenario,omitempty"`
	ScenarioSHA256 string        `json:"scenarioSHA256,omitempty"`
	From           string        `json:"from,omitempty"`
	To             string        `json:"to,omitempty"`
	Ended          time.Time     `json:"ended,omitzero"`
	Verdict        judge.Outcome `json:"verdict,omitempty"`
	// Thresholds is the file that gave them anew; empty where the verdict is by
	// the scenario's own.
	Thresholds string    `json:"thresholds,omitempty"`
	Refusals   []Refusal `json:"refusals"`
	// History is present where earlier runs were asked for.
	History *History `json:"history,omitempty"`
	// Checked are the rules that were asked of the record, in order.
	Checked []string `json:"checked"`
}

// History is how the run compares with earlier ones.
type History struct {
	Dir         string               `json:"dir"`
	Runs        int                  `json:"runs"` // earlier runs that count
	LeftOut     []history.LeftOut    `json:"leftOut,omitempty"`
	Comparisons []history.Comparison `json:"comparisons"`
}

// Decide checks the record in dir, judged by v, and says what was decided.
func Decide(dir string, r *record.Record, v judge.Verdict, want Require, now time.Time) *Decision {
	run := r.Run
	d := &Decision{
		Dir: dir, Scenario: run.Name, ScenarioSHA256: run.ScenarioSHA256, From: run.Versions.From, To: run.Versions.To,
		Ended: run.Ended, Verdict: v.Outcome, Refusals: []Refusal{},
	}
	for _, rule := range Rules {
		if want.Applies(rule, r) {
			d.Checked = append(d.Checked, rule)
		}
	}
	d.Refusals = append(d.Refusals, Check(r, v, want, now)...)
	d.Open = len(d.Refusals) == 0
	return d
}

// Untrusted is the decision about a record that cannot be trusted, because of
// err: it was damaged, or changed after it was sealed.
func Untrusted(dir string, err error) *Decision {
	return &Decision{Dir: dir, Checked: []string{RuleRecord}, Refusals: []Refusal{{
		Rule: RuleRecord, Why: "The record cannot be trusted: " + err.Error() + ".", Remedy: again,
	}}}
}
