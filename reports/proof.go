package reports

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Proof is what planted faults showed of the gate.
type Proof struct {
	Driver, Tool string
	Took         time.Duration
	Partial      bool
	Rows         []ProofRow
}

// ProofRow is one planted fault, or one clean run.
type ProofRow struct {
	Fault, What, Expected, Verdict, AttributedTo string
	Clean, Found                                 bool
	Detected                                     *time.Duration // since the fault was there
	WhyNot, First                                []string
	Attempts                                     int
	Record                                       string
}

// NewProof returns the view of a proof, its texts neutralised.
func NewProof(p *record.Proof) *Proof {
	if p == nil {
		return nil
	}
	out := &Proof{Driver: clean(p.Driver), Tool: clean(p.Tool), Took: time.Duration(p.TookNS), Partial: p.Partial}
	for _, r := range p.Rows {
		row := ProofRow{
			Fault: clean(r.Fault), What: clean(r.What), Expected: clean(r.Expected), Verdict: clean(r.Verdict), AttributedTo: clean(r.AttributedTo),
			Clean: r.Clean, Found: r.Found, WhyNot: cleanAll(r.WhyNot), First: cleanAll(r.First), Attempts: r.Attempts, Record: clean(r.Record),
		}
		if r.DetectedAfterNS != nil {
			d := time.Duration(*r.DetectedAfterNS)
			row.Detected = &d
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

// tally says how much was found.
func (p *Proof) tally() string {
	var faults, found, runs, passed uint64
	for _, r := range p.Rows {
		switch {
		case r.Clean:
			runs++
			if r.Found {
				passed++
			}
		default:
			faults++
			if r.Found {
				found++
			}
		}
	}
	var parts []string
	if faults > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s found", found, english.Count(faults, "planted fault")))
	}
	if runs > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s passed", passed, english.Count(runs, "clean run")))
	}
	return strings.Join(parts, ", ")
}

// Statement says in one or two sentences what the proof showed.
func (p *Proof) Statement() string {
	s := p.tally() + ", on " + p.Driver + ", in " + span(p.Took) + "."
	if p.Partial {
		s += " Only some of the faults were planted."
	}
	return s
}

// Result is the row's result in words.
func (r ProofRow) Result() string {
	switch {
	case r.Clean && r.Found:
		return "✓ passed"
	case r.Clean:
		return "✗ refused"
	case r.Found:
		return "✓ found"
	}
	return "✗ MISSED"
}

// DetectedAfter is the time from the fault to its first trace.
func (r ProofRow) DetectedAfter() string {
	if r.Detected == nil {
		return none
	}
	switch d := *r.Detected; {
	case d < 10*time.Millisecond:
		return "at once"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return significant(d.Seconds()) + " s"
	}
}

func (r ProofRow) verdict() string {
	if r.Verdict == "" {
		return none
	}
	return r.Verdict
}

// blames is the line below a row.
func (r ProofRow) blames() string {
	if r.AttributedTo == "" {
		return ""
	}
	return "attributed to: " + r.AttributedTo
}

// notes are what has to be told of a row below the table.
func (r ProofRow) notes() []string {
	var out []string
	out = append(out, r.WhyNot...)
	if r.Attempts > 1 {
		out = append(out, fmt.Sprintf("Rehearsed %d times, at last alone. At first: %s", r.Attempts, strings.Join(r.First, " ")))
	}
	if r.Record != "" && !r.Found {
		out = append(out, "Its record: "+r.Record)
	}
	return out
}

// ProofText writes the table of a proof for a terminal.
func ProofText(w io.Writer, p *Proof, o TextOptions) error {
	if o.Width == 0 {
		o.Width = 80
	}
	t := &text{w: bufio.NewWriter(w), width: max(72, o.Width), color: o.Color}
	t.proof(p)
	t.line("")
	t.wrap("", "", p.Statement())
	return t.w.Flush()
}

// proven is the section of a run's report: the statement and the faults. The
// whole table is in the page and in run.json.
func (t *text) proven(p *Proof) {
	if p == nil {
		return
	}
	t.section("Proof of the gate, before this run")
	t.wrap("  ", "  ", p.Statement())
	for _, list := range []struct {
		lead  string
		found bool
	}{{"found: ", true}, {"missed: ", false}} {
		var names []string
		for _, r := range p.Rows {
			if r.Found == list.found {
				names = append(names, r.Fault)
			}
		}
		if len(names) > 0 {
			t.wrap("  "+list.lead, "    ", strings.Join(names, ", "))
		}
	}
}

func (t *text) proof(p *Proof) {
	var rows [][]cell
	for _, r := range p.Rows {
		style := green
		if !r.Found {
			style = red
		}
		rows = append(rows, []cell{{s: r.Result(), style: style}, {s: r.Fault}, {s: r.Expected}, {s: r.verdict()}, {s: r.DetectedAfter()}, {s: r.blames()}})
	}
	t.table("llllrb", []string{"result", "fault", "expected criterion", "verdict", "detected after", "attributed to"}, rows)
	for _, r := range p.Rows {
		notes := r.notes()
		if len(notes) == 0 {
			continue
		}
		t.line("")
		t.wrap("  ", "  ", r.Fault+": "+r.What+". Expected: "+r.Expected+".")
		for _, n := range notes {
			t.wrap("    ", "    ", n)
		}
	}
}
