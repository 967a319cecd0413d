package serve

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/history"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// comparison is two runs side by side: A is the one that B is held against.
type comparison struct {
	A, B       *run
	ViewA      reports.View
	ViewB      reports.View
	Alike      string // how far the two did the same
	Parts      []part
	Refused    string // why the lanes cannot be held against one another
	Changed    []criterionPair
	Same       []criterionPair
	Lanes      []lanePair
	Steps      []stepPair
	Components []componentPair
	Kubelets   [2]string
}

// part is one stretch of both runs, held against one another.
type part struct {
	Title    string
	Criteria []reports.Criterion
	Worse    int // how many of them are certainly worse
}

type criterionPair struct {
	ID, Name string
	A, B     *reports.Criterion
}

type lanePair struct {
	Lane, Phase string
	Control     bool
	A, B        *reports.LanePhase
}

// head is one of the two runs, for the top of the page.
type head struct {
	Which string
	Run   *run
	View  *reports.View
}

// Heads returns both runs.
func (c *comparison) Heads() []head {
	return []head{{"First", c.A, &c.ViewA}, {"Second", c.B, &c.ViewB}}
}

// quantile is one latency of a lane in both runs.
type quantile struct{ Text, Change string }

// Quantiles returns the latencies of a lane that both runs have.
func (p lanePair) Quantiles() []quantile {
	var out []quantile
	for _, x := range [][2]float64{{p.A.P50, p.B.P50}, {p.A.P90, p.B.P90}, {p.A.P99, p.B.P99}, {p.A.P999, p.B.P999}, {p.A.Max, p.B.Max}} {
		q := quantile{Text: p.A.Latency(x[0]) + " → " + p.B.Latency(x[1])}
		if grown := x[1]/x[0] - 1; x[0] > 0 && x[1] > 0 && math.Abs(grown) >= 0.005 {
			q.Change = fmt.Sprintf("%+.0f%%", grown*100)
		}
		out = append(out, q)
	}
	return out
}

// Differs reports whether a component ended in another state or version.
func (p componentPair) Differs() bool {
	if p.A == nil || p.B == nil || p.A.Result != p.B.Result || (p.A.After == nil) != (p.B.After == nil) {
		return true
	}
	return p.A.After != nil && (p.A.After.Ready != p.B.After.Ready || !slices.Equal(p.A.After.Versions, p.B.After.Versions))
}

type stepPair struct {
	Description string
	A, B        *reports.Step
}

type componentPair struct {
	Name string
	A, B *reports.Component
}

func compareRuns(a, b *run, ja, jb *judged) *comparison {
	c := &comparison{A: a, B: b, ViewA: ja.view, ViewB: jb.view, Alike: alike(&ja.record.Run, &jb.record.Run)}
	t := scenarios.Default().Thresholds
	var lanes []string
	for _, l := range jb.record.Run.Lanes {
		if !l.Control {
			lanes = append(lanes, l.Name)
		}
	}
	for _, x := range []struct{ part, title string }{
		{judge.PartUpgrade, "The upgrade of both, until the end of the settle phase"},
		{judge.PartBaseline, "The baseline of both, before anything was upgraded"},
	} {
		criteria, err := judge.Between(ja.record, jb.record, x.part, t.LaneCriteria(lanes))
		if err != nil {
			c.Refused = reports.Line(err.Error())
			break
		}
		p := part{Title: x.title, Criteria: reports.NewCriteria(criteria)}
		for _, k := range criteria {
			if k.Result == judge.Fail {
				p.Worse++
			}
		}
		c.Parts = append(c.Parts, p)
	}
	c.criteria()
	c.lanes()
	c.steps()
	c.components()
	c.Kubelets = [2]string{kubelets(ja.view), kubelets(jb.view)}
	return c
}

// alike says how far two runs did the same thing.
func alike(a, b *record.Run) string {
	shapeA, errA := history.Shape(a)
	shapeB, errB := history.Shape(b)
	switch {
	case a.ScenarioSHA256 == b.ScenarioSHA256 && a.ScenarioSHA256 != "" && a.Simulated == b.Simulated:
		return "Both ran the same scenario, field by field."
	case a.Simulated != b.Simulated:
		return "One of them was simulated and the other was not: their figures say nothing of one another."
	case errA != nil || errB != nil:
		return "Whether both ran the same scenario cannot be told."
	case shapeA == shapeB:
		return "Both ran the same scenario but for its versions, thresholds or mirror."
	case a.Driver != b.Driver:
		return "They ran on different drivers: differences may come from that."
	}
	return "Their scenarios differ in more than versions and thresholds: differences may come from that."
}

func (c *comparison) criteria() {
	var ids []string
	at := map[string]*criterionPair{}
	pair := func(v *reports.View, x *reports.Criterion) *criterionPair {
		key := x.ID
		if v.Run.ID != "" {
			key = strings.ReplaceAll(key, v.Run.ID, "") // nodes are called after their run
		}
		p, ok := at[key]
		if !ok {
			p = &criterionPair{ID: x.ID, Name: x.Name}
			at[key] = p
			ids = append(ids, key)
		}
		return p
	}
	for i := range c.ViewB.Criteria {
		x := &c.ViewB.Criteria[i]
		pair(&c.ViewB, x).B = x
	}
	for i := range c.ViewA.Criteria {
		x := &c.ViewA.Criteria[i]
		pair(&c.ViewA, x).A = x
	}
	for _, id := range ids {
		if p := at[id]; p.A != nil && p.B != nil && p.A.Result == p.B.Result {
			c.Same = append(c.Same, *p)
		} else {
			c.Changed = append(c.Changed, *p)
		}
	}
}

func (c *comparison) lanes() {
	find := func(v *reports.View, lane, phase string) *reports.LanePhase {
		for i := range v.Lanes {
			for k := range v.Lanes[i].Phases {
				if v.Lanes[i].Name == lane && v.Lanes[i].Phases[k].Name == phase {
					return &v.Lanes[i].Phases[k]
				}
			}
		}
		return nil
	}
	seen := map[string]bool{}
	for _, v := range []*reports.View{&c.ViewB, &c.ViewA} {
		for _, l := range v.Lanes {
			for _, p := range l.Phases {
				key := l.Name + "\x00" + p.Name
				if seen[key] || p.Name == "warmup" {
					continue
				}
				seen[key] = true
				c.Lanes = append(c.Lanes, lanePair{l.Name, p.Name, l.Control, find(&c.ViewA, l.Name, p.Name), find(&c.ViewB, l.Name, p.Name)})
			}
		}
	}
	slices.SortStableFunc(c.Lanes, func(a, b lanePair) int {
		if a.Control != b.Control {
			if a.Control {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Lane, b.Lane)
	})
}

// maxSteps bounds the table that steps are aligned by.
const maxSteps = 1500

// steps puts steps beside one another that do the same, in the order of both: a
// longest common subsequence of what they say, versions and run ids left aside.
func (c *comparison) steps() {
	a, b := c.ViewA.Steps[:min(maxSteps, len(c.ViewA.Steps))], c.ViewB.Steps[:min(maxSteps, len(c.ViewB.Steps))]
	keysA, keysB := stepKeys(a, c.ViewA.Run), stepKeys(b, c.ViewB.Run)
	common := make([][]uint16, len(a)+1)
	for i := range common {
		common[i] = make([]uint16, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for k := len(b) - 1; k >= 0; k-- {
			if keysA[i] == keysB[k] {
				common[i][k] = common[i+1][k+1] + 1
			} else {
				common[i][k] = max(common[i+1][k], common[i][k+1])
			}
		}
	}
	for i, k := 0, 0; i < len(a) || k < len(b); {
		switch {
		case i < len(a) && k < len(b) && keysA[i] == keysB[k]:
			c.Steps = append(c.Steps, stepPair{b[k].Description, &a[i], &b[k]})
			i, k = i+1, k+1
		case k == len(b) || i < len(a) && common[i+1][k] >= common[i][k+1]:
			c.Steps = append(c.Steps, stepPair{a[i].Description, &a[i], nil})
			i++
		default:
			c.Steps = append(c.Steps, stepPair{b[k].Description, nil, &b[k]})
			k++
		}
	}
}

func stepKeys(steps []reports.Step, r reports.Run) []string {
	var old []string
	for _, x := range []struct{ text, stands string }{{r.To, "TO"}, {r.From, "FROM"}, {r.ID, "ID"}} {
		if x.text != "" {
			old = append(old, x.text, x.stands)
		}
	}
	neutral := strings.NewReplacer(old...)
	keys := make([]string, len(steps))
	for i, s := range steps {
		keys[i] = s.Section + "\x00" + neutral.Replace(s.Description)
	}
	return keys
}

func (c *comparison) components() {
	var names []string
	at := map[string]*componentPair{}
	pair := func(name string) *componentPair {
		if at[name] == nil {
			at[name] = &componentPair{Name: name}
			names = append(names, name)
		}
		return at[name]
	}
	for i := range c.ViewB.Components {
		pair(c.ViewB.Components[i].Name).B = &c.ViewB.Components[i]
	}
	for i := range c.ViewA.Components {
		pair(c.ViewA.Components[i].Name).A = &c.ViewA.Components[i]
	}
	for _, name := range names {
		c.Components = append(c.Components, *at[name])
	}
}

// kubelets says which versions the nodes ran afterwards, and how many each.
func kubelets(v reports.View) string {
	count := map[string]int{}
	for _, n := range v.Nodes {
		if n.Observed && n.KubeletAfter != "" {
			count[n.KubeletAfter]++
		}
	}
	var out []string
	for version, n := range count {
		out = append(out, fmt.Sprintf("%s on %d", version, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// took returns how long a step took; nil for none.
func took(s *reports.Step) *time.Duration {
	if s == nil || s.Outcome == record.OutcomeSkipped {
		return nil
	}
	d := s.Duration()
	return &d
}
