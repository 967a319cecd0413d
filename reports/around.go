package reports

import (
	"html/template"
	"io/fs"
	"maps"

	"github.com/kube-rehearse/rehearse/harness/judge"
)

// Around is what a server shows around a report: a file has none of it. The
// texts are escaped and not neutralised: pass those of a record through Line.
type Around struct {
	Links   []Link   // where the reader can go from here
	Notices []Notice // what is to be known of the run beside its record
}

// Link leads from the report to another page.
type Link struct{ Text, URL string }

// Notice is one sentence; an alarm is one that questions the record.
type Notice struct {
	Text  string
	Alarm bool
}

// Policy returns the content security policy that stands in every page, for the
// header of a server.
func Policy() (string, error) {
	_, _, policy, err := embedded()
	return policy, err
}

// Assets holds the page's styles and scripts, for pages that stand beside it:
// report.css, basics.js and the directory uplot.
func Assets() (fs.FS, error) { return fs.Sub(assets, "assets") }

// PageFuncs returns what the page's template calls to write figures, so that
// pages beside it write them alike.
func PageFuncs() template.FuncMap { return maps.Clone(pageFuncs) }

// NewCriteria returns criteria as a report shows them, in their order.
func NewCriteria(judged []judge.Criterion) []Criterion {
	out := make([]Criterion, 0, len(judged))
	for _, c := range judged {
		out = append(out, newCriterion(c))
	}
	return out
}

// Latency writes one of the phase's latencies, given in milliseconds, if anything
// was answered at all.
func (p LanePhase) Latency(ms float64) string { return p.latency(ms) }
