package serve

import (
	"net/http"
	"slices"

	"github.com/kube-rehearse/rehearse/reports"
)

// historyData is what the runs of one scenario found, over time.
type historyData struct {
	Scenario  string
	Scenarios []string
	Filters   []filter // driver and simulated
	Runs      []*run   // oldest first, those with a start
	Lanes     []string
	Tally     string
	Chart     chart
	Shapes    int // how many different things the runs did
}

// chart is the data of the charts, embedded as JSON. Times are seconds since
// 1970, latencies and outages milliseconds, durations seconds; null is unknown.
type chart struct {
	Lanes []string     `json:"lanes"`
	Runs  []chartedRun `json:"runs"`
}

type chartedRun struct {
	T        int64       `json:"t"`
	Name     string      `json:"name"`
	URL      string      `json:"url"`
	Verdict  string      `json:"verdict"`
	What     string      `json:"what"` // versions and driver
	Changed  bool        `json:"changed,omitempty"`
	Baseline []*float64  `json:"baseline"` // p99 by lane
	Upgrade  []*float64  `json:"upgrade"`
	Outage   *[2]float64 `json:"outage"`
	Lost     *uint64     `json:"lost"`
	Took     *float64    `json:"took"`
	Rolled   *float64    `json:"rolled"` // of the upgrade alone
}

func (s *Server) historyPage(w http.ResponseWriter, req *http.Request) {
	l, ok := s.look(w, maxRuns)
	if !ok {
		return
	}
	q := req.URL.Query()
	d := historyData{Scenario: reports.Line(q.Get("scenario"))}
	for _, r := range l.Runs { // newest first
		if r.Scenario != "" && !slices.Contains(d.Scenarios, r.Scenario) {
			d.Scenarios = append(d.Scenarios, r.Scenario)
		}
	}
	if d.Scenario == "" && len(d.Scenarios) > 0 {
		d.Scenario = d.Scenarios[0]
	}
	if d.Scenario != "" && !slices.Contains(d.Scenarios, d.Scenario) {
		d.Scenarios = append(d.Scenarios, d.Scenario)
	}
	slices.Sort(d.Scenarios)
	var of []*run
	for _, r := range l.Runs {
		if r.Scenario == d.Scenario && r.Scenario != "" {
			of = append(of, r)
		}
	}
	for _, f := range newFilters(q, of) {
		if f.Name == "driver" || f.Name == "simulated" {
			d.Filters = append(d.Filters, f)
		}
	}
	d.Runs = chosen(d.Filters, of)
	slices.Reverse(d.Runs)
	d.Tally = tally(d.Runs)
	shapes := map[string]bool{}
	for _, r := range d.Runs {
		shapes[r.Shape] = true
		for _, lane := range r.Lanes {
			if !slices.Contains(d.Lanes, lane.Name) {
				d.Lanes = append(d.Lanes, lane.Name)
			}
		}
	}
	d.Shapes = len(shapes)
	d.Chart = newChart(d.Runs, d.Lanes)
	title := "History"
	if d.Scenario != "" {
		title += " of " + d.Scenario
	}
	s.show(w, http.StatusOK, "history", title, "history.js", d)
}

func newChart(runs []*run, lanes []string) chart {
	c := chart{Lanes: append([]string{}, lanes...), Runs: []chartedRun{}}
	for i, r := range runs {
		x := chartedRun{
			T: r.Started.Unix(), Name: reports.Line(r.Dir), URL: runURL(r.Dir), Verdict: string(r.Verdict), What: r.From + " → " + r.To + " on " + r.Driver,
			Changed: i > 0 && runs[i-1].Shape != r.Shape, Baseline: make([]*float64, len(lanes)), Upgrade: make([]*float64, len(lanes)),
		}
		for k, lane := range lanes {
			for _, f := range r.Lanes {
				if f.Name == lane {
					x.Baseline[k], x.Upgrade[k] = positive(f.Baseline), positive(f.Upgrade)
				}
			}
		}
		if r.Measured() {
			x.Outage, x.Lost = &[2]float64{}, &r.Lost
			if r.Outage != nil {
				x.Outage = &[2]float64{float64(r.Outage.AtLeast) / 1e6, float64(r.Outage.AtMost) / 1e6}
			}
		}
		x.Took, x.Rolled = positive(r.Took.Seconds()), positive(r.Upgrade.Seconds())
		c.Runs = append(c.Runs, x)
	}
	return c
}

// positive returns nil for what is not known, which is 0.
func positive(x float64) *float64 {
	if x <= 0 {
		return nil
	}
	return &x
}
