// Package gate decides whether a record may open a release. A GO verdict is not
// enough: the record must be whole, of a real cluster, of the upgrade that is
// about to be released, and recent; and where the gate was proven before the
// rehearsal, nothing may have been missed.
package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Require is what a release asks of a record.
type Require struct {
	// From and To are the versions of the upgrade to be released; empty for any.
	From, To string
	// MaxAge is how long ago the rehearsal may have ended; 0 for any time.
	MaxAge time.Duration
	// AllowSimulated accepts a rehearsal on the embedded cluster, which proves
	// the pipeline and no upgrade.
	AllowSimulated bool
}

// Rules that a record can break.
const (
	RuleRecord    = "record"
	RuleVerdict   = "verdict"
	RuleSimulated = "simulated"
	RuleVersions  = "versions"
	RuleAge       = "age"
	RuleProof     = "proof"
)

// Refusal is one reason for which the gate stays closed, and what to do.
type Refusal struct {
	Rule   string `json:"rule"`
	Why    string `json:"why"`
	Remedy string `json:"remedy"`
}

// Check returns every reason for which the record, judged by v, does not open
// the gate at the time now; none where it does. It is pure.
func Check(r *record.Record, v judge.Verdict, want Require, now time.Time) []Refusal {
	var out []Refusal
	refuse := func(rule, remedy, format string, args ...any) {
		out = append(out, Refusal{Rule: rule, Why: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	const again = "rehearse again"
	if !r.Complete {
		refuse(RuleRecord, again, "The record is not complete: the run was not finished and sealed.")
	}
	if v.Outcome != judge.Go {
		refuse(RuleVerdict, "see the report", "The verdict is %s: %s", v.Outcome, v.Summary)
	}
	run := r.Run
	if run.Simulated && !want.AllowSimulated {
		refuse(RuleSimulated, "rehearse on a real cluster; --allow-simulated is for trying a pipeline out",
			"The rehearsal ran on the embedded cluster: no real cluster was upgraded.")
	}
	for _, x := range []struct{ which, got, want string }{{"from", run.Versions.From, want.From}, {"to", run.Versions.To, want.To}} {
		if x.want != "" && x.got != x.want {
			refuse(RuleVersions, again+" with the versions of the release", "The rehearsal went %s %s, and not %s %s.", x.which, orNone(x.got), x.which, x.want)
		}
	}
	if age := now.Sub(run.Ended); want.MaxAge > 0 && (run.Ended.IsZero() || age > want.MaxAge) {
		refuse(RuleAge, again, "The rehearsal ended %s ago; at most %s is accepted.", age.Round(time.Minute), want.MaxAge)
	}
	if run.Proof != nil {
		if missed := run.Proof.Missed(); len(missed) > 0 {
			refuse(RuleProof, "see rehearse prove", "The gate was not proven before the rehearsal: it missed %s.", strings.Join(missed, ", "))
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "an unknown version"
	}
	return s
}
