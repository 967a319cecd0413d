// Package findings renders what a preflight found: as text for a person, as
// JSON, and as JUnit for a pipeline.
package findings

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Formats are the names of what Render writes.
var Formats = []string{"text", "json", "junit"}

// Check is what one check came to.
type Check struct {
	Name     string           `json:"name"`
	Findings []record.Finding `json:"findings,omitempty"`
	// NotChecked says why the check could not be made, or is "".
	NotChecked string `json:"notChecked,omitempty"`
}

// Report is what one preflight came to.
type Report struct {
	// Of says what was looked at.
	Of string `json:"of"`
	// From is the version that the API server runs, To the one to go to.
	From  string    `json:"from,omitempty"`
	To    string    `json:"to,omitempty"`
	Taken time.Time `json:"taken,omitzero"`
	// Blocked is set where any finding blocks.
	Blocked bool    `json:"blocked"`
	Checks  []Check `json:"checks"`
	// Forecast is the forecast of the drains, where there is one: its lines for
	// a person, and its data.
	Forecast *Forecast `json:"forecast,omitempty"`
}

// Forecast is what was foretold of the drains.
type Forecast struct {
	Lines []string `json:"-"`
	Data  any      `json:"roll,omitempty"`
}

// New returns the report of checks.
func New(of, from, to string, taken time.Time, checks []Check) *Report {
	r := &Report{Of: of, From: from, To: to, Taken: taken, Checks: checks}
	for _, c := range checks {
		r.Blocked = r.Blocked || slices.ContainsFunc(c.Findings, func(f record.Finding) bool { return f.Severity == record.SeverityBlock })
	}
	return r
}

// Render writes the report in one of Formats.
func Render(w io.Writer, format string, r *Report) error {
	switch format {
	case "text":
		_, err := io.WriteString(w, r.text())
		return err
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case "junit":
		return r.junit(w)
	}
	return fmt.Errorf("format %q is unknown; accepted: %s", format, strings.Join(Formats, ", "))
}

var groups = []struct{ severity, heading string }{
	{record.SeverityBlock, "BLOCKING"},
	{record.SeverityWarn, "WARNINGS"},
	{record.SeverityInfo, "TO KNOW"},
}

func (r *Report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Preflight of %s", r.Of)
	switch {
	case r.From != "" && r.To != "":
		fmt.Fprintf(&b, ": %s → %s", r.From, r.To)
	case r.To != "":
		fmt.Fprintf(&b, ", to %s", r.To)
	}
	b.WriteString("\n")
	counts := map[string]int{}
	for _, g := range groups {
		var found []record.Finding
		for _, c := range r.Checks {
			for _, f := range c.Findings {
				if f.Severity == g.severity {
					found = append(found, f)
				}
			}
		}
		counts[g.severity] = len(found)
		if len(found) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s (%d)\n", g.heading, len(found))
		for _, f := range record.Together(found) {
			fmt.Fprintf(&b, "  %s  %s\n      %s\n", clean(f.Object), f.ID, clean(f.Cause))
			if len(f.Also) > 0 {
				fmt.Fprintf(&b, "      The same of %s.\n", clean(strings.Join(f.Also, ", ")))
			}
			fmt.Fprintf(&b, "      To do: %s\n", clean(f.Remedy))
		}
	}
	var passed, not []string
	for _, c := range r.Checks {
		switch {
		case c.NotChecked != "":
			not = append(not, fmt.Sprintf("  %s: %s\n", c.Name, clean(c.NotChecked)))
		case len(c.Findings) == 0:
			passed = append(passed, c.Name)
		}
	}
	if len(not) > 0 {
		fmt.Fprintf(&b, "\nNOT CHECKED (%d)\n%s", len(not), strings.Join(not, ""))
	}
	if r.Forecast != nil && len(r.Forecast.Lines) > 0 {
		b.WriteString("\nFORECAST\n")
		for _, l := range r.Forecast.Lines {
			fmt.Fprintf(&b, "  %s\n", clean(l))
		}
	}
	if len(passed) > 0 {
		fmt.Fprintf(&b, "\nPassed: %s.\n", strings.Join(passed, "; "))
	}
	fmt.Fprintf(&b, "\n%d blocking, %s, %d to know; %d of %s passed", counts[record.SeverityBlock],
		english.Count(counts[record.SeverityWarn], "warning"), counts[record.SeverityInfo], len(passed), english.Count(len(r.Checks), "check"))
	if len(not) > 0 {
		fmt.Fprintf(&b, ", %d not made", len(not))
	}
	b.WriteString(".\n")
	return b.String()
}

type suite struct {
	XMLName  xml.Name `xml:"testsuite"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Cases    []test   `xml:"testcase"`
}

type test struct {
	Name    string   `xml:"name,attr"`
	Class   string   `xml:"classname,attr"`
	Failure *message `xml:"failure"`
	Skipped *message `xml:"skipped"`
	Out     string   `xml:"system-out,omitempty"`
}

type message struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit makes each check one test. One that found what blocks has failed, one
// that could not be made was skipped; lesser findings are its output.
func (r *Report) junit(w io.Writer) error {
	s := suite{Name: "rehearse preflight", Tests: len(r.Checks)}
	for _, c := range r.Checks {
		t := test{Name: c.Name, Class: "preflight"}
		var blocking, other []string
		for _, f := range c.Findings {
			line := fmt.Sprintf("%s %s: %s To do: %s", f.ID, clean(f.Object), clean(f.Cause), clean(f.Remedy))
			if f.Severity == record.SeverityBlock {
				blocking = append(blocking, line)
			} else {
				other = append(other, f.Severity+" "+line)
			}
		}
		if len(blocking) > 0 {
			s.Failures++
			t.Failure = &message{Message: english.Count(len(blocking), "blocking finding"), Text: strings.Join(blocking, "\n")}
		}
		if c.NotChecked != "" {
			s.Skipped++
			t.Skipped = &message{Message: clean(c.NotChecked)}
		}
		t.Out = strings.Join(other, "\n")
		s.Cases = append(s.Cases, t)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// clean takes out what a terminal or a parser would obey: names and messages
// come from a cluster, where others write.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
}
