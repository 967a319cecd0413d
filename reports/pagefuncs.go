package reports

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// pageFuncs are what the template may call beside the methods of its data.
var pageFuncs = template.FuncMap{
	"count":       english.Number[uint64],
	"offset":      offset,
	"span":        span,
	"percent":     percent,
	"measure":     measure,
	"symbol":      Symbol,
	"tally":       tally,
	"agentsHint":  func() string { return agentsHint },
	"agentsTitle": View.agentsTitle,
	"interval":    drawInterval,
	"upgrade":     upgrade,
	"change":      change,
	"clock":       func(start time.Time, d time.Duration) string { return start.Add(d).UTC().Format("15:04:05") },
	"date":        func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },

	"found":     Criterion.found,
	"limit":     Criterion.limit,
	"numbers":   func(c Criterion) string { return strings.Join(c.numbers(), "; ") },
	"ledger":    ledgerOfPage,
	"length":    func(b Burst) string { return bounds(b.AtLeast, b.AtMost) },
	"requests":  Burst.requests,
	"where":     Burst.where,
	"who":       Burst.who,
	"byChance":  Burst.coincidence,
	"criteria":  newCriteria,
	"rules":     newRules,
	"stretches": stretches,
	"statement": Resolution.statement,
	"runEnded":  runOutcome,
	"ready":     (*ComponentState).ready,
	"versions":  Component.versions,
	"role":      Node.role,
	"state":     Node.state,
	"nodeRan":   Node.versions,
	"latency":   LanePhase.latency,
	"simulated": func() string { return simulatedNotice },

	"word": func(o judge.Outcome) string { return strings.ToLower(string(o)) },
	"bar":  stepBar,
	"sums": hasSums,
	"sign": stepSign,
}

// stepSign stands before the word of a step's outcome.
func stepSign(outcome string) string {
	switch outcome {
	case record.OutcomePassed:
		return Symbol(judge.Pass)
	case record.OutcomeSkipped:
		return Symbol(judge.Reported)
	}
	return Symbol(judge.Fail)
}

// hasSums reports whether any lane was summed up.
func hasSums(lanes []Lane) bool {
	for _, l := range lanes {
		if len(l.Phases) > 0 {
			return true
		}
	}
	return false
}

// tile is one figure of the headline.
type tile struct {
	Name, Value, Note string
	Result            judge.Result
}

// tiles returns the figures that a reader asks for first.
func tiles(v View) []tile {
	var out []tile
	var sent, lost uint64
	var names []string
	var worst *tile
	grown := 0.0
	for _, l := range v.Lanes {
		b, okB := l.Phase(timeline.PhaseBaseline)
		u, okU := l.Phase(timeline.PhaseUpgrade)
		if l.Control || !okU {
			continue
		}
		names = append(names, l.Name)
		sent += u.Sent
		lost += u.Lost
		if okB && b.P99 > 0 && u.Sent > u.Lost && (worst == nil || u.P99/b.P99 > grown) {
			grown = u.P99 / b.P99
			worst = &tile{"p99 latency", change(b.P99, u.P99), fmt.Sprintf("%s → %s on lane %s", b.latency(b.P99), u.latency(u.P99), l.Name), resultOf(v, "p99/"+l.Name)}
		}
	}
	if len(names) > 0 {
		out = append(out, tile{"Requests lost", english.Number(lost), "of " + english.Number(sent) + " during the upgrade, " + andMore("lane", names), worstOf(v, "success/", "errors/")})
		out = append(out, outageTile(v))
	}
	if worst != nil {
		out = append(out, *worst)
	}
	if v.rec.After == nil && v.Run.To != "" {
		return append(out, tile{"Cluster after", none, "no snapshot was taken after the upgrade", judge.Undecided})
	}
	if len(v.Nodes) > 0 && v.Run.To != "" {
		out = append(out, nodesTile(v))
	}
	if len(v.Components) > 0 && v.rec.After != nil {
		healthy := 0
		for _, c := range v.Components {
			if c.Result == judge.Pass {
				healthy++
			}
		}
		out = append(out, tile{"Components healthy", fmt.Sprintf("%d of %d", healthy, len(v.Components)), "of the system, after the upgrade", worstOf(v, componentPrefix)})
	}
	return out
}

// nodesTile counts the nodes that were there after the upgrade: those that others
// have taken the place of are no part of the cluster any more.
func nodesTile(v View) tile {
	there, at, added := 0, 0, 0
	for _, n := range v.Nodes {
		if n.Gone {
			continue
		}
		there++
		if n.KubeletAfter == v.Run.To {
			at++
			if n.New {
				added++
			}
		}
	}
	what := "run " + v.Run.To + " now"
	if added > 0 {
		what += fmt.Sprintf(", %d of them new", added)
	}
	return tile{"Nodes upgraded", fmt.Sprintf("%d of %d", at, there), what, resultOf(v, "versions")}
}

func outageTile(v View) tile {
	t := tile{"Longest outage", "none", "seen on any lane", worstOf(v, "outage/")}
	var longest *Outage
	for i, o := range v.Outages {
		if o.Usable && (longest == nil || o.AtMost > longest.AtMost) {
			longest = &v.Outages[i]
		}
	}
	if longest != nil {
		t.Value, t.Note = span(longest.AtMost), "or "+span(longest.AtLeast)+" at least, on lane "+longest.Lane
	}
	return t
}

func andMore(noun string, names []string) string {
	switch len(names) {
	case 1:
		return noun + " " + names[0]
	case 2, 3:
		return noun + "s " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	}
	return english.Count(len(names), noun)
}

func resultOf(v View, id string) judge.Result {
	for _, c := range v.Criteria {
		if c.ID == id {
			return c.Result
		}
	}
	return judge.Reported
}

// worstOf returns the result that matters most among the criteria whose IDs
// begin with one of the prefixes; the view has them in that order.
func worstOf(v View, prefixes ...string) judge.Result {
	for _, c := range v.Criteria {
		for _, p := range prefixes {
			if strings.HasPrefix(c.ID, p) {
				return c.Result
			}
		}
	}
	return judge.Reported
}

// stepBar draws where in the run a step ran, as a picture that repeats the figures beside it.
func stepBar(v View, s Step) template.HTML {
	var end time.Duration
	for _, x := range v.Steps {
		end = max(end, x.Span.End)
	}
	if end <= 0 {
		return ""
	}
	x := 100 * s.Span.Start.Seconds() / end.Seconds()
	width := max(0.8, 100*s.Duration().Seconds()/end.Seconds())
	return template.HTML(fmt.Sprintf( //nolint:gosec // numbers only
		`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="rail" x="0" y="3" width="100" height="2"/><rect class="took" x="%.2f" y="0" width="%.2f" height="8"/></svg>`,
		min(x, 99.2), width))
}

// rules are the rules of validity, those apart that something is to be said of.
type rules struct{ Notable, Kept []Validity }

func newRules(all []Validity) (r rules) {
	for _, v := range all {
		if v.Result == judge.Pass && len(v.Unusable) == 0 {
			r.Kept = append(r.Kept, v)
		} else {
			r.Notable = append(r.Notable, v)
		}
	}
	return r
}

// Statement counts them.
func (r rules) Statement() string {
	kept, all := len(r.Kept), len(r.Kept)+len(r.Notable)
	for _, v := range r.Notable {
		if v.Result == judge.Pass {
			kept++
		}
	}
	return fmt.Sprintf("%d of %s about the measurement itself were kept.", kept, english.Count(uint64(all), "rule"))
}

// stretches sums up many stretches of a run.
func stretches(spans []Span) string {
	var sum time.Duration
	for _, s := range spans {
		sum += max(0, s.End-s.Start)
	}
	return english.Number(uint64(len(spans))) + " stretches, " + span(sum) + " together"
}

// maxProbes is how many criteria of single probes, none of them judged, stand in
// the table: of DNS there is one for each node.
const maxProbes = 4

// criteria are the criteria of the table, and those that are folded below it.
type criteria struct{ Shown, Folded []Criterion }

func newCriteria(all []Criterion) (c criteria) {
	for _, x := range all {
		if x.Result == judge.Reported && strings.HasPrefix(x.ID, "probe/") {
			c.Folded = append(c.Folded, x)
		} else {
			c.Shown = append(c.Shown, x)
		}
	}
	if len(c.Folded) <= maxProbes {
		return criteria{Shown: all}
	}
	return c
}
