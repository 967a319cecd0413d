package reports

import (
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
)

// facts returns what is told below a burst's statement.
func (b Burst) facts() []Fact {
	var out []Fact
	for _, f := range []Fact{{"cause", b.Cause}, {"chance", b.coincidence()}, {"who", b.who()}, {"usually", b.Usual}, {"mend", b.remedy()}} {
		if f.Value != "" {
			out = append(out, f)
		}
	}
	return out
}

// near returns the events to show beside the burst: none where the machine is
// blamed.
func (b Burst) near() []string {
	if b.Machine() {
		return nil
	}
	return b.Nearby
}

// ledger writes the bursts that matter most, and what the others come to.
func (t *text) ledger(v View) {
	if len(v.Ledger.Bursts) == 0 {
		if v.measured() {
			t.section("Blame ledger: no burst of lost or slow requests")
			t.wrap("  ", "  ", v.Ledger.Summary)
		}
		return
	}
	t.section("Blame ledger: " + english.Count(len(v.Ledger.Bursts), "burst") + " of lost or slow requests")
	t.wrap("  ", "  ", v.Ledger.Summary)
	worst, others := v.Ledger.worst(5, 3)
	for _, b := range worst {
		t.wrap("  ", "    ", b.statement())
		for _, f := range b.facts() {
			t.wrap("    "+f.Name+": ", "      ", f.Value)
		}
		for _, n := range b.near() {
			t.wrap("    near: ", "      ", n)
		}
	}
	if len(others) > 0 {
		t.wrap("  ", "    ", folded(others))
	}
	for _, r := range v.Ledger.Rest {
		if r.Bursts > 0 {
			t.wrap("  ", "    ", r.String())
		}
	}
}

// ledger lists the bursts that matter most, and what the others come to.
func (m *markdown) ledger(l Ledger) {
	worst, others := l.worst(8, 3)
	for _, b := range worst {
		m.line("- " + escape(b.statement()))
		for _, f := range b.facts() {
			m.line("  - " + f.Name + ": " + escape(f.Value))
		}
		for _, n := range b.near() {
			m.line("  - near: " + escape(n))
		}
	}
	if len(others) > 0 {
		m.line("- " + escape(folded(others)))
	}
	for _, r := range l.Rest {
		m.line("- " + escape(r.String()))
	}
}

// folded writes bursts that are not told one by one in one line: "and 12 more (9
// not judged) of at most 65 ms each, 702 ms together, in which no request was
// lost; all are in verdict.json", or nothing.
func folded(others []Burst) string {
	if len(others) == 0 {
		return ""
	}
	var longest, total time.Duration
	var lost uint64
	unjudged := 0
	for _, b := range others {
		longest, total = max(longest, b.AtMost), total+b.AtMost
		if b.Kind != judge.BurstAPI {
			lost += b.Lost
		}
		if !b.Usable {
			unjudged++
		}
	}
	what := "no request was lost"
	if lost == 1 {
		what = "1 request was lost"
	} else if lost > 1 {
		what = english.Number(lost) + " requests were lost"
	}
	more := english.Number(len(others)) + " more"
	if unjudged > 0 {
		more += fmt.Sprintf(" (%s not judged)", english.Number(unjudged))
	}
	if len(others) == 1 {
		return fmt.Sprintf("and %s of at most %s, in which %s; all are in verdict.json", more, span(longest), what)
	}
	return fmt.Sprintf("and %s of at most %s each, %s together, in which %s; all are in verdict.json", more, span(longest), span(total), what)
}
