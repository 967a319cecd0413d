package reports

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

//go:embed assets
var assets embed.FS

// HTML writes the report as one page that needs nothing else: styles, scripts
// and data are inside, a content security policy forbids every request, and
// only the scripts that are embedded here may run.
func HTML(w io.Writer, v View) error { return HTMLWithin(w, v, Around{}) }

// HTMLWithin is HTML with what a server shows around the report.
func HTMLWithin(w io.Writer, v View, around Around) error {
	p, err := newPage(v)
	if err != nil {
		return fmt.Errorf("rendering the HTML report: %w", err)
	}
	p.Around = around
	t, err := template.New("report.html.tmpl").Funcs(pageFuncs).ParseFS(assets, "assets/report.html.tmpl")
	if err != nil {
		return fmt.Errorf("rendering the HTML report: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("rendering the HTML report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// page is what the template shows: the view, and what only the page has.
type page struct {
	View
	Around   Around
	Tiles    []tile
	Roll     []rollRow
	States   []string // the columns of Roll
	Policy   string
	Licence  string
	Styles   []template.CSS
	Scripts  []template.JS
	Data     template.JS
	HasLanes bool
}

func newPage(v View) (*page, error) {
	c := newCharts(v)
	p := &page{View: v, Tiles: tiles(v), Roll: roll(c.Nodes), States: rollStates(c.Nodes), HasLanes: c.Grid.N > 0}
	// Marshal escapes <, > and &, so that no text of the record can end the
	// script element that holds the data.
	data, err := json.Marshal(struct {
		charts
		Rows []string `json:"rows"`
	}{c, rowNames()})
	if err != nil {
		return nil, err
	}
	p.Data = template.JS(data) //nolint:gosec // JSON that Marshal escaped for HTML
	if p.Styles, p.Scripts, p.Policy, err = embedded(); err != nil {
		return nil, err
	}
	licence, err := assets.ReadFile("assets/uplot/LICENSE")
	p.Licence = string(licence)
	return p, err
}

// embedded returns the styles and scripts of the page, and the content security
// policy under which they and nothing else may run.
func embedded() (styles []template.CSS, scripts []template.JS, policy string, err error) {
	var styleHashes, scriptHashes string
	for _, name := range []string{"uplot/uPlot.min.css", "report.css"} {
		b, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return nil, nil, "", err
		}
		styles = append(styles, template.CSS(b)) //nolint:gosec // our own file
		styleHashes += " " + sourceHash(b)
	}
	for _, name := range []string{"uplot/uPlot.iife.min.js", "basics.js", "timeline.js", "report.js"} {
		b, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return nil, nil, "", err
		}
		scripts = append(scripts, template.JS(b)) //nolint:gosec // our own file
		scriptHashes += " " + sourceHash(b)
	}
	return styles, scripts, "default-src 'none'; script-src" + scriptHashes + "; style-src" + styleHashes + "; base-uri 'none'; form-action 'none'", nil
}

// sourceHash names an inline script or style in a content security policy.
func sourceHash(b []byte) string {
	sum := sha256.Sum256(b)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func rowNames() []string {
	var names []string
	for _, r := range eventRows {
		names = append(names, r.name)
	}
	return names
}

// rollRow is one node's way through the upgrade, as a row of a table.
type rollRow struct {
	Node, Label string
	At          string // when it was first touched
	Took        []string
	Marks       string
}

// rollStates returns the columns of the table of the roll: a stalled drain is
// rare, and its column is there only where one was.
func rollStates(lanes []swimlane) []string {
	out := []string{"cordoned", "draining", "upgrading", "not ready"}
	if slices.ContainsFunc(lanes, func(l swimlane) bool {
		return slices.ContainsFunc(l.Spans, func(s nodeSpan) bool { return s.State == stateStalled })
	}) {
		out = slices.Insert(out, 2, stateStalled)
	}
	return out
}

func roll(lanes []swimlane) []rollRow {
	var rows []rollRow
	states := rollStates(lanes)
	for _, l := range lanes {
		row := rollRow{Node: l.Node, Label: l.Label, At: none}
		first := -1.0
		for _, state := range states {
			var sum time.Duration
			open, seen := false, false
			for _, s := range l.Spans {
				if s.State != state {
					continue
				}
				seen = true
				open = open || s.Open
				sum += time.Duration((s.End - s.Start) * 1e9)
				if first < 0 || s.Start < first {
					first = s.Start
				}
			}
			text := none
			switch {
			case open:
				text = "since " + span(sum) + ", not ended"
			case seen:
				text = span(sum)
			}
			row.Took = append(row.Took, text)
		}
		if first >= 0 {
			row.At = offset(time.Duration(first * 1e9))
		}
		for i, m := range l.Marks {
			if i > 0 {
				row.Marks += ", "
			}
			row.Marks += m.What + " " + offset(time.Duration(m.T*1e9))
		}
		rows = append(rows, row)
	}
	return rows
}
