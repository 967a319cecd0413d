package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// NewView makes the view of a record and the verdict that was judged from it.
// It reads both and keeps r, which must not change while the view is in use.
func NewView(r *record.Record, v judge.Verdict) View {
	view := View{
		Verdict:   v,
		Outcome:   judge.Outcome(clean(string(v.Outcome))),
		Summary:   clean(v.Summary),
		Simulated: v.Simulated || r.Run.Simulated,
		Run:       newRun(r),
		Lanes:     newLanes(r, v),
		Agents:    newAgents(r),
		Nodes:     newNodes(r),
		Fidelity:  newFidelity(mirrorOf(r)),
		Proof:     NewProof(r.Run.Proof),
		rec:       r,
	}
	for _, x := range v.Resolution {
		view.Resolution = append(view.Resolution, Resolution{
			Lane: clean(x.Lane), Outage: milliseconds(x.OutageMS), ErrorRate: x.ErrorRate, Explain: clean(x.Explain),
		})
	}
	for _, c := range v.Criteria {
		view.Criteria = append(view.Criteria, newCriterion(c))
	}
	slices.SortStableFunc(view.Criteria, func(a, b Criterion) int { return rank(a.Result) - rank(b.Result) })
	for _, x := range v.Validity {
		rule := Validity{
			Rule: clean(x.Rule), Lane: clean(x.Lane), Unit: clean(x.Unit), Explain: clean(x.Explain),
			Value: x.Value, Limit: x.Limit, Result: cleanResult(x.Result),
		}
		for _, s := range x.Unusable {
			rule.Unusable = append(rule.Unusable, Span{time.Duration(s.Start), time.Duration(s.End)})
		}
		view.Validity = append(view.Validity, rule)
	}
	for _, o := range v.Outages {
		view.Outages = append(view.Outages, Outage{
			Lane: clean(o.Lane), Phase: clean(o.Phase), Span: Span{time.Duration(o.Start), time.Duration(o.End)},
			AtLeast: time.Duration(o.LowerNS), AtMost: time.Duration(o.UpperNS), Failed: o.Failed, Sent: o.Sent,
			Classes: counts(o.Classes), Nearby: cleanAll(o.Nearby), Cause: clean(o.Cause), Usable: o.Usable,
		})
	}
	view.Ledger = newLedger(v.Ledger)
	view.Losses, view.MoreLost = newLosses(r)
	view.Components = newComponents(r, view.Criteria)
	for _, f := range record.Together(r.Run.Findings) {
		also := make([]string, len(f.Also))
		for i, o := range f.Also {
			also[i] = clean(o)
		}
		view.Findings = append(view.Findings, Finding{clean(f.ID), clean(f.Severity), clean(f.Object), clean(f.Cause), clean(f.Remedy), also})
	}
	slices.SortStableFunc(view.Findings, func(a, b Finding) int { return severity(a) - severity(b) })
	for _, s := range r.Run.Steps {
		view.Steps = append(view.Steps, Step{
			Number: s.Number, Section: clean(s.Section), Description: clean(s.Description), Span: Span{time.Duration(s.StartNS), time.Duration(s.EndNS)},
			Outcome: clean(s.Outcome), Error: clean(s.Error), Log: clean(s.Log),
		})
	}
	view.Warnings = cleanAll(v.Warnings)
	for _, d := range r.Damage {
		view.Warnings = append(view.Warnings, clean(fmt.Sprintf("%s is damaged at byte %d: %s", d.File, d.Offset, d.What)))
	}
	return view
}

func newRun(r *record.Record) Run {
	run := Run{
		ID: clean(r.Run.ID), Name: clean(r.Run.Name), Tool: clean(r.Run.Tool), Command: clean(r.Run.Command),
		Driver: clean(r.Run.Driver),
		From:   clean(strings.Join(append([]string{r.Run.Versions.From}, r.Run.Versions.Via...), " → ")), To: clean(r.Run.Versions.To),
		Before: clean(r.Run.Versions.Before), After: clean(r.Run.Versions.After),
		Started: r.Run.Started.UTC(), Outcome: clean(r.Run.Outcome), Failure: clean(r.Run.Failure),
		ScenarioSHA256: clean(r.Run.ScenarioSHA256), Scenario: indented(r.Run.Scenario), Pressure: r.Run.Host.Pressure,
	}
	if !r.Run.Ended.IsZero() {
		run.Duration = r.Run.Ended.Sub(r.Run.Started)
	}
	for _, i := range r.Run.Interruptions {
		run.Interruptions = append(run.Interruptions, Interruption{Span{time.Duration(i.AtNS), time.Duration(i.ResumedNS)}, i.Anew})
	}
	host := []string{strings.TrimSpace(r.Run.Host.OS + "/" + r.Run.Host.Arch)}
	if k := r.Run.Host.Kernel; k != "" {
		host = append(host, "kernel "+k)
	}
	if n := r.Run.Host.CPUs; n > 0 {
		host = append(host, english.Count(uint64(n), "CPU"))
	}
	if m := r.Run.Host.MemoryBytes; m > 0 {
		host = append(host, fmt.Sprintf("%.1f GiB", float64(m)/(1<<30)))
	}
	run.Host = clean(strings.Join(host, ", "))
	for _, s := range []*record.Snapshot{r.Before, r.After} {
		if s != nil {
			run.Network = clean(s.Network)
		}
	}
	return run
}

// indented returns a JSON document for reading, line by line neutralised.
func indented(doc json.RawMessage) string {
	var b bytes.Buffer
	if len(doc) == 0 || json.Indent(&b, doc, "", "  ") != nil {
		return clean(string(doc))
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		text := strings.TrimLeft(line, " ")
		lines[i] = line[:len(line)-len(text)] + clean(text)
	}
	return strings.Join(lines, "\n")
}

func newLanes(r *record.Record, v judge.Verdict) []Lane {
	var lanes []Lane
	at := map[string]int{}
	for _, l := range r.Run.Lanes {
		at[l.Name] = len(lanes)
		lanes = append(lanes, Lane{
			Name: clean(l.Name), Target: clean(l.Target), Rate: l.Rate, Timeout: time.Duration(l.TimeoutNS), Control: l.Control,
		})
	}
	for _, s := range v.Lanes {
		i, ok := at[s.Lane]
		if !ok {
			i = len(lanes)
			at[s.Lane] = i
			lanes = append(lanes, Lane{Name: clean(s.Lane)})
		}
		lanes[i].Phases = append(lanes[i].Phases, LanePhase{
			Name: clean(s.Phase), Due: s.Due, Sent: s.Sent, Lost: s.Failed, Unsent: s.Unsent,
			P50: s.P50MS, P90: s.P90MS, P99: s.P99MS, P999: s.P999MS, Max: s.MaxMS, Classes: counts(s.Classes),
		})
	}
	return lanes
}

const componentPrefix = "component/"

func newCriterion(c judge.Criterion) Criterion {
	out := Criterion{
		ID: clean(c.ID), Name: clean(c.Name), Lane: clean(c.Lane), Unit: clean(c.Unit),
		Threshold: c.Threshold, Estimate: c.Estimate, Interval: c.Interval, PValue: c.PValue, Samples: c.Samples,
		Result: cleanResult(c.Result), Explain: clean(c.Explain), Warnings: cleanAll(c.Warnings),
	}
	if name, ok := strings.CutPrefix(out.ID, componentPrefix); ok {
		out.Component = name
	}
	return out
}

func newComponents(r *record.Record, criteria []Criterion) []Component {
	var out []Component
	at := map[string]int{}
	find := func(name, kind string) *Component {
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, Component{Name: name, Kind: kind, Result: judge.Reported})
		}
		if kind != "" {
			out[i].Kind = kind
		}
		return &out[i]
	}
	restarts := map[string]int32{} // by pod: one that was there before keeps its count
	if r.Before != nil {
		for _, c := range r.Before.Components {
			find(clean(c.Name), clean(c.Kind)).Before = newState(c)
			for _, p := range c.Instances {
				restarts[c.Name+" "+p.Pod] = p.Restarts
			}
		}
	}
	if r.After != nil {
		for _, c := range r.After.Components {
			shown := find(clean(c.Name), clean(c.Kind))
			shown.After = newState(c)
			for _, p := range c.Instances {
				shown.Restarts += int(max(0, p.Restarts-restarts[c.Name+" "+p.Pod]))
			}
		}
	}
	// The criteria were sorted by result; a component judged only there (it was
	// never seen) still gets its row.
	for _, c := range criteria {
		if c.Component != "" {
			shown := find(c.Component, "")
			shown.Result, shown.Explain = c.Result, c.Explain
		}
	}
	return out
}

func newState(c record.Component) *ComponentState {
	s := &ComponentState{Present: c.Present, Ready: c.Ready, Desired: c.Desired, Problem: clean(c.Problem)}
	for _, p := range c.Instances {
		if version := clean(p.Version); version != "" && !slices.Contains(s.Versions, version) {
			s.Versions = append(s.Versions, version)
		}
	}
	sort.Strings(s.Versions)
	for _, m := range c.Members {
		word := "healthy"
		if !m.OK {
			word = "unhealthy"
		}
		s.Members = append(s.Members, clean(m.Name+" "+word+" "+m.Detail))
	}
	return s
}

func newNodes(r *record.Record) []Node {
	var out []Node
	at := map[string]int{}
	if r.Before != nil {
		for _, n := range r.Before.Nodes {
			at[n.Name] = len(out)
			out = append(out, Node{
				Name: clean(n.Name), ControlPlane: n.ControlPlane, Gone: r.After != nil,
				KubeletBefore: clean(n.KubeletVersion), KubeProxyBefore: clean(n.KubeProxyVersion), OS: clean(n.OSImage),
			})
		}
	}
	if r.After != nil {
		for _, n := range r.After.Nodes {
			i, ok := at[n.Name]
			if !ok {
				i = len(out)
				out = append(out, Node{Name: clean(n.Name), ControlPlane: n.ControlPlane, New: r.Before != nil})
			}
			out[i].KubeletAfter, out[i].KubeProxyAfter = clean(n.KubeletVersion), clean(n.KubeProxyVersion)
			out[i].ReadyAfter, out[i].Observed, out[i].Gone = n.Ready, true, false
			out[i].RuntimeAfter, out[i].OS = clean(n.Runtime), clean(n.OSImage)
		}
	}
	return out
}

// counts returns the entries of m, the most frequent first.
func counts(m map[string]uint64) []Count {
	var out []Count
	for name, n := range m {
		out = append(out, Count{clean(name), n})
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Count != out[j].Count {
			return out[i].Count > out[j].Count
		}
		return out[i].Name < out[j].Name
	})
	return out
}

func cleanResult(r judge.Result) judge.Result { return judge.Result(clean(string(r))) }

// rank orders results by how much they matter to who reads the report.
func rank(r judge.Result) int {
	if i := slices.Index([]judge.Result{judge.Fail, judge.Undecided, judge.Pass, judge.Reported}, r); i >= 0 {
		return i
	}
	return 0
}

func severity(f Finding) int {
	if i := slices.Index([]string{record.SeverityBlock, record.SeverityWarn, record.SeverityInfo}, f.Severity); i >= 0 {
		return i
	}
	return 0
}
