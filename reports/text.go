package reports

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TextOptions says how text is laid out.
type TextOptions struct {
	// Width is the number of columns; 0 means 80, less than 72 means 72.
	Width int
	// Color allows ANSI colours; see ColorAllowed. Nothing is said by colour alone.
	Color bool
	// Report is where the whole report is, for the last line; empty leaves it out.
	Report string
}

// Text writes the report for a terminal: the verdict first, then what it rests on.
func Text(w io.Writer, v View, o TextOptions) error {
	if o.Width == 0 {
		o.Width = 80
	}
	t := &text{w: bufio.NewWriter(w), width: max(72, o.Width), color: o.Color}
	t.verdict(v)
	if v.Fidelity != nil {
		t.list(uncovered, v.Fidelity.Uncovered)
	}
	t.resolution(v)
	t.agents(v)
	t.lanes(v)
	t.criteria(v)
	t.validity(v)
	t.ledger(v)
	t.components(v)
	t.nodes(v)
	t.findings(v)
	t.steps(v)
	t.list("Warnings", v.Warnings)
	t.proven(v.Proof)
	t.section("Run")
	t.run(v)
	if o.Report != "" {
		t.line("")
		t.wrap("", "", "Report: "+clean(o.Report))
	}
	return t.w.Flush()
}

func (t *text) verdict(v View) {
	head := t.paint(verdictStyle(v.Outcome), " "+string(v.Outcome)+" ")
	if !t.color {
		head = string(v.Outcome)
	}
	t.line(head + "  " + t.paint(bold, v.Run.Name) + "  " + upgrade(v.Run))
	t.line("")
	t.wrap("", "", v.Summary)
	if v.Simulated {
		t.line("")
		t.wrap("", "", "SIMULATED. "+simulatedNotice)
	}
	if v.Fidelity != nil {
		t.line("")
		t.wrap("", "", v.Fidelity.Statement())
	}
	if !v.Run.Complete() {
		t.line("")
		t.wrap("", "", "The run "+runOutcome(v.Run.Outcome)+". "+v.Run.Failure)
	}
}

const simulatedNotice = "No real cluster was upgraded. This verdict tests rehearse and the scenario; it does not clear an upgrade of production."

func runOutcome(outcome string) string {
	switch outcome {
	case record.OutcomeFailed:
		return "failed before its end"
	case record.OutcomeInterrupted:
		return "was interrupted"
	case record.OutcomeRunning:
		return "did not end: the process was killed, or is still running"
	}
	return "ended with outcome " + outcome
}

// upgrade writes what was upgraded, or nothing for a recording of an upgrade
// that something else drove and whose versions nobody told.
func upgrade(r Run) string {
	var parts []string
	if r.From != "" || r.To != "" {
		parts = append(parts, arrow(r.From, r.To))
	}
	if r.Driver != "" {
		parts = append(parts, "on "+r.Driver)
	}
	return strings.Join(parts, " ")
}

func (t *text) resolution(v View) {
	if len(v.Resolution) == 0 {
		return
	}
	t.section("Resolution: what this measurement could have seen")
	width := 9
	for _, r := range v.Resolution {
		width = max(width, len(r.Lane))
	}
	for _, r := range v.Resolution {
		t.wrap("  "+pad(r.Lane, width)+" ", strings.Repeat(" ", width+3), r.statement())
	}
}

func (r Resolution) statement() string {
	if r.Explain != "" {
		return r.Explain
	}
	return fmt.Sprintf("an outage of %s or more would have been seen; error rate ≤ %s at 95%%", span(r.Outage), percent(r.ErrorRate))
}

func (t *text) lanes(v View) {
	var rows [][]cell
	for _, l := range v.Lanes {
		name := l.Name
		for _, phase := range []string{timeline.PhaseBaseline, timeline.PhaseUpgrade, timeline.PhaseRollback} {
			p, ok := l.Phase(phase)
			if !ok {
				continue
			}
			lost := cell{s: english.Number(p.Lost)}
			if p.Lost > 0 && !l.Control {
				lost.style = red
			}
			rows = append(rows, []cell{{s: name}, {s: phase}, {s: english.Number(p.Sent)}, lost, {s: english.Number(p.Unsent)}, {s: p.latency(p.P50)}, {s: p.latency(p.P99)}, {s: p.latency(p.Max)}})
			name = ""
		}
		b, okB := l.Phase(timeline.PhaseBaseline)
		u, okU := l.Phase(timeline.PhaseUpgrade)
		if okB && okU {
			rows = append(rows, []cell{{}, {s: "change", style: dim}, {}, {}, {}, {s: change(b.P50, u.P50), style: dim}, {s: change(b.P99, u.P99), style: dim}, {}})
		}
	}
	if len(rows) == 0 {
		return
	}
	t.section("Lanes: requests and latency, baseline and upgrade")
	t.table("llrrrrrr", []string{"lane", "phase", "sent", "lost", "unsent", "p50", "p99", "max"}, rows)
	for _, l := range v.Lanes {
		if l.Control {
			t.wrap("  ", "  ", l.Name+" is a twin of the canary outside the cluster: it tells trouble of "+v.senders()+" from the upgrade's and is never judged.")
		}
	}
}

// latency writes one of the phase's latencies, if anything was answered at all.
func (p LanePhase) latency(ms float64) string {
	if p.Sent == p.Lost {
		return none
	}
	return millis(ms)
}

func (t *text) criteria(v View) {
	if len(v.Criteria) == 0 {
		return
	}
	t.section("Criteria: " + tally(v.Criteria))
	var rows [][]cell
	for _, c := range v.Criteria {
		if c.Component != "" && c.Result == judge.Pass {
			continue // said in the table of components
		}
		why := c.Explain
		if c.Result == judge.Pass && c.Estimate != nil {
			why = ""
		}
		rows = append(rows, []cell{t.result(c.Result), {s: c.ID}, {s: c.found()}, {s: c.limit()}, {s: why}})
	}
	t.table("llrrw", []string{"result", "criterion", "found", "limit", "why"}, rows)
}

func (t *text) result(r judge.Result) cell {
	return cell{s: Symbol(r) + " " + string(r), style: resultStyle(r)}
}

func (t *text) validity(v View) {
	var rows [][]cell
	for _, x := range v.Validity {
		if x.Result != judge.Pass {
			rows = append(rows, []cell{t.result(x.Result), {s: x.Rule}, {s: x.Lane}, {s: measure(x.Value, x.Unit)}, {s: measure(x.Limit, x.Unit)}, {s: x.Explain}})
		}
	}
	if len(v.Validity) == 0 {
		return
	}
	if len(rows) == 0 {
		t.section(fmt.Sprintf("Validity of the measurement: %s, all kept", english.Count(len(v.Validity), "rule")))
		return
	}
	t.section("Validity of the measurement: rules not kept")
	t.table("lllrrw", []string{"result", "rule", "lane", "found", "limit", "why"}, rows)
}

// measured reports whether any lane recorded the upgrade: without that, no
// outage seen means nothing.
func (v View) measured() bool {
	for _, l := range v.Lanes {
		if p, ok := l.Phase(timeline.PhaseUpgrade); ok && p.Sent > 0 && !l.Control {
			return true
		}
	}
	return false
}

func (o Outage) statement() string {
	s := fmt.Sprintf("%s at %s, in the %s: %s, %s of %s lost", o.Lane, offset(o.Span.Start), o.Phase, bounds(o.AtLeast, o.AtMost), english.Number(o.Failed), english.Count(o.Sent, "request"))
	for i, c := range o.Classes {
		sep := ", "
		if i == 0 {
			sep = " ("
		}
		s += sep + english.Number(c.Count) + " " + c.Name
	}
	if len(o.Classes) > 0 {
		s += ")"
	}
	if !o.Usable {
		s += "; not judged, the measurement was not valid here"
	}
	return s
}

func (t *text) components(v View) {
	if len(v.Components) == 0 {
		return
	}
	t.section("System components, before and after")
	var rows [][]cell
	for _, c := range v.Components {
		rows = append(rows, []cell{t.result(c.Result), {s: c.Name}, {s: c.Before.ready()}, {s: c.After.ready()}, {s: fmt.Sprint(c.Restarts)}, {s: c.versions()}})
	}
	t.table("llrrrl", []string{"result", "component", "before", "after", "restarts", "version"}, rows)
	for _, c := range v.Components {
		if c.After != nil && c.After.Problem != "" {
			t.wrap("  "+c.Name+": ", "    ", c.After.Problem)
		}
	}
}

func (s *ComponentState) ready() string {
	switch {
	case s == nil:
		return none
	case !s.Present:
		return "absent"
	}
	return fmt.Sprintf("%d/%d", s.Ready, s.Desired)
}

func (s *ComponentState) version() string {
	if s == nil || len(s.Versions) == 0 {
		return none
	}
	return strings.Join(s.Versions, ", ")
}

func (c Component) versions() string { return arrow(c.Before.version(), c.After.version()) }

// arrow writes a value before and after, once where it is the same.
func arrow(before, after string) string {
	if before == "" {
		before = none
	}
	if after == "" {
		after = none
	}
	if before == after {
		return after
	}
	return before + " → " + after
}

func (t *text) nodes(v View) {
	if len(v.Nodes) == 0 {
		return
	}
	t.section("Nodes, before and after")
	var rows [][]cell
	for _, n := range v.Nodes {
		rows = append(rows, []cell{{s: n.Name}, {s: n.role()}, {s: n.state()}, {s: n.versions()}})
	}
	t.table("llll", []string{"node", "role", "state", "kubelet and kube-proxy"}, rows)
}

// versions writes the kubelet's versions, and kube-proxy's where they differ.
func (n Node) versions() string {
	kubelet, proxy := arrow(n.KubeletBefore, n.KubeletAfter), arrow(n.KubeProxyBefore, n.KubeProxyAfter)
	if n.KubeletBefore != "" && n.KubeletBefore == n.KubeletAfter {
		kubelet += " unchanged"
	}
	if proxy == kubelet || proxy == none {
		return kubelet
	}
	return kubelet + "; kube-proxy " + proxy
}

func (n Node) role() string {
	if n.ControlPlane {
		return "control plane"
	}
	return "worker"
}

func (n Node) state() string {
	switch {
	case n.Gone:
		return "gone"
	case !n.Observed && n.KubeletBefore != "":
		return "not seen"
	case n.New && !n.ReadyAfter:
		return "new, not ready"
	case !n.ReadyAfter:
		return "not ready"
	case n.New:
		return "new, ready"
	}
	return "ready"
}

func (t *text) findings(v View) {
	if len(v.Findings) == 0 {
		return
	}
	t.section("Findings: " + english.Number(len(v.Findings)))
	for _, f := range v.Findings {
		t.wrap("  "+t.paint(severityStyle(f.Severity), f.Severity)+"  ", "    ", f.ID+"  "+f.Object)
		t.wrap("    ", "    ", f.Cause)
		if len(f.Also) > 0 {
			t.wrap("    ", "    ", "The same of "+f.also()+".")
		}
		if f.Remedy != "" {
			t.wrap("    remedy: ", "      ", f.Remedy)
		}
	}
}

func (t *text) steps(v View) {
	if len(v.Steps) == 0 {
		return
	}
	t.section("Steps")
	var rows [][]cell
	for _, s := range v.Steps {
		rows = append(rows, []cell{{s: fmt.Sprintf("%02d", s.Number)}, {s: s.Outcome, style: outcomeStyle(s.Outcome)}, {s: span(s.Duration())}, {s: s.Description}})
	}
	t.table("rlrw", []string{"#", "outcome", "took", "step"}, rows)
	for _, s := range v.Steps {
		if s.Error != "" {
			t.wrap(fmt.Sprintf("  %02d: ", s.Number), "      ", s.Error)
			if s.Log != "" {
				t.wrap("      log: ", "      ", s.Log)
			}
		}
	}
}

func (t *text) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	t.section(title)
	for _, l := range lines {
		t.wrap("  - ", "    ", l)
	}
}

func (t *text) run(v View) {
	var rows [][]cell
	for _, f := range v.Facts() {
		rows = append(rows, []cell{{s: f.Name}, {s: f.Value}})
	}
	t.table("lw", nil, rows)
}
