// Package gate decides whether a record may open a release. A GO verdict is not
// enough: the record must be whole, of a real cluster, of the scenario and the
// upgrade that are about to be released, and recent; it must not be worse than
// earlier runs were; and where the gate was proven before the rehearsal,
// nothing may have been missed.
package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/history"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Require is what a release asks of a record.
type Require struct {
	// From and To are the versions of the upgrade to be released; empty for any.
	From, To string
	// ScenarioSHA256 is the hexadecimal digest that the record's resolved scenario
	// must have; empty for any.
	ScenarioSHA256 string
	// MaxAge is how long ago the rehearsal may have ended; 0 for any time.
	MaxAge time.Duration
	// AllowSimulated accepts a rehearsal on the embedded cluster, which proves
	// the pipeline and no upgrade.
	AllowSimulated bool
	// Proof asks that the gate was proven before the rehearsal, with every fault
	// there is.
	Proof bool
	// MinFidelity is the least share, 0 to 1, of production that the mirror must
	// stand for; 0 for any, and for scenarios that mirror nothing.
	MinFidelity float64
	// History holds the run against earlier ones; nil for no such comparison.
	History []history.Comparison
}

// Rules that a record can break.
const (
	RuleRecord    = "record"
	RuleVerdict   = "verdict"
	RuleSimulated = "simulated"
	RuleVersions  = "versions"
	RuleScenario  = "scenario"
	RuleAge       = "age"
	RuleProof     = "proof"
	RuleFidelity  = "fidelity"
	RuleHistory   = "history"
)

// Rules lists all rules in the order in which they are checked.
var Rules = []string{RuleRecord, RuleVerdict, RuleSimulated, RuleVersions, RuleScenario, RuleAge, RuleProof, RuleFidelity, RuleHistory}

// Refusal is one reason for which the gate stays closed, and what to do.
type Refusal struct {
	Rule   string `json:"rule"`
	Why    string `json:"why"`
	Remedy string `json:"remedy"`
}

// Applies tells whether the rule is asked of the record at all.
func (w Require) Applies(rule string, r *record.Record) bool {
	switch rule {
	case RuleSimulated:
		return !w.AllowSimulated
	case RuleVersions:
		return w.From != "" || w.To != "" || r != nil && turnedRound(r)
	case RuleScenario:
		return w.ScenarioSHA256 != ""
	case RuleAge:
		return w.MaxAge > 0
	case RuleProof:
		return w.Proof || r != nil && r.Run.Proof != nil
	case RuleFidelity:
		return w.MinFidelity > 0
	case RuleHistory:
		return slices.ContainsFunc(w.History, func(c history.Comparison) bool { return c.Against == history.AgainstHistory })
	}
	return true
}

// Check returns every reason for which the record, judged by v, does not open
// the gate at the time now; none where it does. It is pure.
func Check(r *record.Record, v judge.Verdict, want Require, now time.Time) []Refusal {
	c := checker{r: r, want: want, now: now}
	if !r.Complete {
		c.refuse(RuleRecord, again, "The record is not complete: the run was not finished and sealed.")
	}
	if v.Outcome != judge.Go {
		c.refuse(RuleVerdict, "see the report", "The verdict is %s: %s", v.Outcome, v.Summary)
	}
	if r.Run.Simulated && !want.AllowSimulated {
		c.refuse(RuleSimulated, "rehearse on a real cluster; --allow-simulated is for trying a pipeline out",
			"The rehearsal ran on the embedded cluster: no real cluster was upgraded.")
	}
	c.versions()
	c.scenario()
	c.age()
	c.proof()
	c.fidelity()
	for _, x := range want.History {
		if x.Exceeds {
			c.refuse(RuleHistory, "see in the report what is new in this upgrade; where it is to be accepted, leave --history out once", "Worse than earlier runs. %s", x.Explain)
		}
	}
	return c.out
}

const again = "rehearse again"

type checker struct {
	r    *record.Record
	want Require
	now  time.Time
	out  []Refusal
}

func (c *checker) refuse(rule, remedy, format string, args ...any) {
	c.out = append(c.out, Refusal{Rule: rule, Why: fmt.Sprintf(format, args...), Remedy: remedy})
}

// turnedRound reports whether the roll of a record went back on its way.
func turnedRound(r *record.Record) bool {
	_, back := r.Phase(timeline.PhaseRollback)
	return back
}

func (c *checker) versions() {
	run := c.r.Run
	if turnedRound(c.r) {
		c.refuse(RuleVersions, again+" without upgrade.rollback", "The roll was turned round and its workers went back to %s: the upgrade to %s was not rehearsed to its end.", orNone(run.Versions.From), orNone(run.Versions.To))
	}
	for _, x := range []struct{ which, got, want string }{{"from", run.Versions.From, c.want.From}, {"to", run.Versions.To, c.want.To}} {
		if x.want != "" && x.got != x.want {
			c.refuse(RuleVersions, again+" with the versions of the release", "The rehearsal went %s %s, and not %s %s.", x.which, orNone(x.got), x.which, x.want)
		}
	}
}

func (c *checker) scenario() {
	if got := c.r.Run.ScenarioSHA256; c.want.ScenarioSHA256 != "" && got != c.want.ScenarioSHA256 {
		if got == "" {
			got = "none"
		}
		c.refuse(RuleScenario, again+" with this scenario and this version of rehearse", "The rehearsal ran another scenario: its SHA-256 is %s, and not %s.", got, c.want.ScenarioSHA256)
	}
}

func (c *checker) age() {
	ended := c.r.Run.Ended
	switch age := c.now.Sub(ended); {
	case c.want.MaxAge <= 0:
	case ended.IsZero():
		c.refuse(RuleAge, again, "The record does not say when the rehearsal ended; at most %s ago is accepted.", c.want.MaxAge)
	case age < -clockSlack:
		c.refuse(RuleAge, "set the clocks of both machines right", "The rehearsal ended at %s, which is still to come by this machine's clock.", ended.Format(time.RFC3339))
	case age > c.want.MaxAge:
		c.refuse(RuleAge, again, "The rehearsal ended %s ago; at most %s is accepted.", age.Round(time.Minute), c.want.MaxAge)
	}
}

// clockSlack is by how much the clock of the machine that rehearsed may be ahead.
const clockSlack = 5 * time.Minute

func (c *checker) proof() {
	p := c.r.Run.Proof
	const prove = "rehearse with run --prove"
	if p == nil {
		if c.want.Proof {
			c.refuse(RuleProof, prove, "The gate was not proven before the rehearsal.")
		}
		return
	}
	if missed := p.Missed(); len(missed) > 0 {
		c.refuse(RuleProof, "see rehearse prove", "The gate was not proven before the rehearsal: it missed %s.", strings.Join(missed, ", "))
	} else if c.want.Proof && (p.Partial || len(p.Rows) == 0) {
		c.refuse(RuleProof, prove, "The gate was proven with only %d of its faults before the rehearsal.", len(p.Rows))
	}
}

func (c *checker) fidelity() {
	if c.want.MinFidelity <= 0 {
		return
	}
	const mirror = "rehearse a scenario that rehearse mirror made of production"
	s, err := scenarios.FromResolved(c.r.Run.Scenario)
	switch {
	case err != nil:
		c.refuse(RuleFidelity, again, "The mirror's fidelity is not known: %v.", err)
	case s.Mirror == nil:
		c.refuse(RuleFidelity, mirror, "The mirror's fidelity is not known: the scenario was not made of a production cluster.")
	case s.Mirror.Fidelity < c.want.MinFidelity:
		c.refuse(RuleFidelity, "see mirror.uncovered in the scenario for what is missing", "The mirror's fidelity is %.0f%%; at least %.0f%% is asked.", 100*s.Mirror.Fidelity, 100*c.want.MinFidelity)
	}
}

func orNone(s string) string {
	if s == "" {
		return "an unknown version"
	}
	return s
}
