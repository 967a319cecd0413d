package reports

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Markdown writes a summary for a pull request, in GitHub's and GitLab's
// flavour: the verdict, why, and a table of the lanes on one screen, everything
// else folded below.
func Markdown(w io.Writer, v View) error {
	m := &markdown{w: bufio.NewWriter(w)}
	m.head(v)
	if f := v.Fidelity; f != nil {
		m.fold(uncovered+": "+english.Number(len(f.Uncovered)), len(f.Uncovered), func() {
			for _, u := range f.Uncovered {
				m.line("- " + escape(u))
			}
		})
	}
	m.lanes(v)
	m.attention(v)
	m.fold("All criteria: "+tally(v.Criteria), len(v.Criteria), func() {
		m.header("Result", "Criterion", "Found", "Limit", "Why")
		for _, c := range v.Criteria {
			m.row(result(c.Result), code(c.ID), escape(c.found()), escape(c.limit()), escape(c.Explain))
		}
	})
	m.agents(v)
	m.fold("Blame ledger: "+english.Count(len(v.Ledger.Bursts), "burst"), len(v.Ledger.Bursts), func() { m.ledger(v.Ledger) })
	m.fold("System components, before and after", len(v.Components), func() {
		m.header("Result", "Component", "Before", "After", "Restarts", "Version")
		for _, c := range v.Components {
			m.row(result(c.Result), code(c.Name), c.Before.ready(), c.After.ready(), fmt.Sprint(c.Restarts), escape(c.versions()))
		}
	})
	m.fold("Nodes, before and after", len(v.Nodes), func() {
		m.header("Node", "Role", "State", "Kubelet and kube-proxy")
		for _, n := range v.Nodes {
			m.row(code(n.Name), n.role(), n.state(), escape(n.versions()))
		}
	})
	m.fold("Findings: "+english.Number(len(v.Findings)), len(v.Findings), func() {
		m.header("Severity", "Object", "Cause", "Remedy")
		for _, f := range v.Findings {
			cause := escape(f.Cause)
			if len(f.Also) > 0 {
				cause += " The same of " + escape(f.also()) + "."
			}
			m.row(escape(f.Severity), code(f.Object), cause, escape(f.Remedy))
		}
	})
	m.fold("Validity of the measurement", len(v.Validity), func() {
		m.header("Result", "Rule", "Lane", "Found", "Limit", "Why")
		for _, x := range v.Validity {
			m.row(result(x.Result), code(x.Rule), escape(x.Lane), escape(measure(x.Value, x.Unit)), escape(measure(x.Limit, x.Unit)), escape(x.Explain))
		}
	})
	if p := v.Proof; p != nil {
		m.fold("Proof of the gate: "+p.tally(), len(p.Rows), func() {
			m.line(escape(p.Statement()))
			m.line("")
			m.header("Result", "Fault", "Expected criterion", "Verdict", "Detected after", "Attributed to")
			for _, r := range p.Rows {
				m.row(escape(r.Result()), code(r.Fault), escape(r.Expected), escape(r.verdict()), escape(r.DetectedAfter()), escape(r.AttributedTo))
			}
		})
	}
	m.fold("Steps", len(v.Steps), func() {
		m.header("#", "Outcome", "Took", "Step")
		for _, s := range v.Steps {
			m.row(fmt.Sprintf("%02d", s.Number), escape(s.Outcome), span(s.Duration()), escape(strings.TrimSpace(s.Description+" "+s.Error)))
		}
	})
	m.fold("Run", 1, func() {
		m.header("", "")
		for _, f := range v.Facts() {
			m.row(escape(f.Name), escape(f.Value))
		}
	})
	return m.w.Flush()
}

type markdown struct{ w *bufio.Writer }

func (m *markdown) line(s string) { _, _ = m.w.WriteString(s + "\n") }

func (m *markdown) head(v View) {
	title := fmt.Sprintf("## %s %s: %s", sign(v.Outcome), escape(string(v.Outcome)), code(v.Run.Name))
	if what := upgrade(v.Run); what != "" {
		title += ", " + escape(what)
	}
	m.line(title)
	m.line("")
	m.line(escape(v.Summary))
	if v.Simulated {
		m.line("")
		m.line("> **Simulated.** " + escape(simulatedNotice))
	}
	if v.Fidelity != nil {
		m.line("")
		m.line(escape(v.Fidelity.Statement()))
	}
	if !v.Run.Complete() {
		m.line("")
		m.line(escape("The run " + runOutcome(v.Run.Outcome) + ". " + v.Run.Failure))
	}
	if len(v.Resolution) > 0 {
		m.line("")
		var parts []string
		for _, r := range v.Resolution {
			parts = append(parts, code(r.Lane)+": "+escape(strings.TrimSuffix(r.statement(), "."))+".")
		}
		m.line("Resolution. " + strings.Join(parts, " "))
	}
	if len(v.Ledger.Bursts) > 0 && v.Ledger.Summary != "" {
		m.line("")
		m.line("Blame ledger. " + escape(v.Ledger.Summary))
	}
}

// sign is the verdict's sign, which shows as a picture in a pull request; the
// word always follows.
func sign(o judge.Outcome) string {
	switch o {
	case judge.Go:
		return "✅"
	case judge.NoGo:
		return "❌"
	}
	return "⚠️"
}

func result(r judge.Result) string { return Symbol(r) + " " + escape(string(r)) }

func (m *markdown) lanes(v View) {
	var rows [][]string
	for _, l := range v.Lanes {
		b, okB := l.Phase(timeline.PhaseBaseline)
		u, okU := l.Phase(timeline.PhaseUpgrade)
		if okB || okU {
			rows = append(rows, []string{
				code(l.Name), english.Number(b.Sent) + " → " + english.Number(u.Sent), english.Number(b.Lost) + " → " + english.Number(u.Lost), english.Number(b.Unsent) + " → " + english.Number(u.Unsent),
				b.latency(b.P50) + " → " + u.latency(u.P50), b.latency(b.P99) + " → " + u.latency(u.P99),
			})
		}
	}
	if len(rows) == 0 {
		return
	}
	m.line("")
	m.header("Lane, baseline → upgrade", "sent", "lost", "unsent", "p50", "p99")
	for _, r := range rows {
		m.row(r...)
	}
}

// attention lists what is neither passed nor merely reported, above the folds.
func (m *markdown) attention(v View) {
	const most = 6
	var lines []string
	for _, c := range v.Criteria {
		if c.Result != judge.Pass && c.Result != judge.Reported {
			lines = append(lines, fmt.Sprintf("- %s **%s** %s: %s", Symbol(c.Result), escape(string(c.Result)), code(c.ID), escape(c.Explain)))
		}
	}
	for _, f := range v.Findings {
		if severity(f) == 0 {
			lines = append(lines, fmt.Sprintf("- ✗ **%s** %s: %s %s", escape(f.Severity), code(f.Object), escape(f.Cause), escape(f.Remedy)))
		}
	}
	for _, x := range v.Warnings {
		lines = append(lines, "- "+escape(x))
	}
	if len(lines) == 0 {
		return
	}
	m.line("")
	for i, l := range lines {
		if i == most {
			m.line(fmt.Sprintf("- and %d more, in the report", len(lines)-most))
			break
		}
		m.line(l)
	}
}

// fold writes a part that is closed at first, unless it has no entries. The
// title is no Markdown: it stands inside an HTML element.
func (m *markdown) fold(title string, n int, body func()) {
	if n == 0 {
		return
	}
	m.line("")
	m.line("<details><summary>" + html.EscapeString(title) + "</summary>")
	m.line("")
	body()
	m.line("")
	m.line("</details>")
}

func (m *markdown) header(cells ...string) {
	m.row(cells...)
	m.line("|" + strings.Repeat(" --- |", len(cells)))
}

func (m *markdown) row(cells ...string) { m.line("| " + strings.Join(cells, " | ") + " |") }

var escaper = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;",
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "#", `\#`, "|", `\|`, "~", `\~`, "$", `\$`,
	// A mention would notify a stranger: what follows a zero-width space is none.
	"@", "@\u200b",
)

// escape returns s as Markdown that shows exactly s, in prose and in a table's cell.
func escape(s string) string { return escaper.Replace(s) }

// code returns s in a code span that works in a table's cell. In HTML, unlike in
// backquotes, every character can be escaped.
func code(s string) string {
	if s == "" {
		return ""
	}
	if strings.ContainsAny(s, "`|\\<>&@") {
		return "<code>" + escape(s) + "</code>"
	}
	return "`" + s + "`"
}
