package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// The JUnit elements and attributes that Jenkins, GitLab and GitHub's common
// reporters all read; there is no official schema. The reference is
// https://github.com/testmoapp/junitxml and Jenkins' xunit-plugin junit-10.xsd.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string           `xml:"name,attr"`
		Tests      int              `xml:"tests,attr"`
		Failures   int              `xml:"failures,attr"`
		Errors     int              `xml:"errors,attr"`
		Skipped    int              `xml:"skipped,attr"`
		Time       string           `xml:"time,attr"`
		Timestamp  string           `xml:"timestamp,attr"`
		Properties *junitProperties `xml:"properties"`
		Cases      []junitCase      `xml:"testcase"`
	}
	junitProperties struct {
		Properties []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Classname string       `xml:"classname,attr"`
		Name      string       `xml:"name,attr"`
		Time      string       `xml:"time,attr"`
		Skipped   *junitReason `xml:"skipped"`
		Error     *junitReason `xml:"error"`
		Failure   *junitReason `xml:"failure"`
		Out       string       `xml:"system-out,omitempty"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as JUnit XML with the suites verdict, criteria,
// components, validity, steps and, where the gate was proven, proof.
//
// What was judged and found bad is a failure. What could not be decided is an
// error, because a CI server must not show it as passed and it is not the
// upgrade's failure either; so are, where the verdict is INCONCLUSIVE, the
// validity rules that were not kept. A step that failed is a failure where it
// belongs to the upgrade, and an error elsewhere. What was measured and not
// judged is skipped, with its finding as the message.
func JUnit(w io.Writer, v View) error {
	b := junitBuilder{view: v}
	b.verdict()
	b.criteria()
	b.components()
	b.validity()
	b.steps()
	b.proof()
	doc := junitSuites{Name: "rehearse " + v.Run.Name, Time: seconds(v.Run.Duration), Suites: b.suites}
	for _, s := range b.suites {
		doc.Tests += s.Tests
		doc.Failures += s.Failures
		doc.Errors += s.Errors
	}
	return doc.write(w)
}

func (doc junitSuites) write(w io.Writer) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("writing JUnit: %w", err)
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("writing JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type junitBuilder struct {
	view   View
	suites []junitSuite
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// class is the class name of a suite's tests. Jenkins takes what stands before
// the last dot for the package.
func (b *junitBuilder) class(suite string) string { return "rehearse." + b.view.Run.Name + "." + suite }

// add appends a suite that took d, unless it has no tests.
func (b *junitBuilder) add(name string, d time.Duration, cases []junitCase, properties ...junitProperty) {
	if len(cases) == 0 {
		return
	}
	s := junitSuite{
		Name: name, Tests: len(cases), Time: seconds(d), Timestamp: b.view.Run.Started.Format("2006-01-02T15:04:05"),
		Cases: cases,
	}
	if len(properties) > 0 {
		s.Properties = &junitProperties{properties}
	}
	for i := range cases {
		c := &cases[i]
		if c.Classname = b.class(name); c.Time == "" {
			c.Time = seconds(0)
		}
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	b.suites = append(b.suites, s)
}

func (b *junitBuilder) verdict() {
	v := b.view
	c := junitCase{Name: "Verdict", Time: seconds(v.Run.Duration)}
	text := v.Summary
	if what := upgrade(v.Run); what != "" {
		text += "\n" + what
	}
	if v.Simulated {
		text += "\nSIMULATED. " + simulatedNotice
	}
	if v.Fidelity != nil {
		text += "\n" + v.Fidelity.Statement()
	}
	if !v.Run.Complete() {
		text += "\nThe run " + runOutcome(v.Run.Outcome) + ". " + v.Run.Failure
	}
	message := string(v.Outcome) + ": " + v.Summary
	switch v.Outcome {
	case judge.Go:
		c.Out = string(v.Outcome) + ": " + text
	case judge.NoGo:
		c.Failure = &junitReason{message, string(v.Outcome), text}
	default:
		c.Error = &junitReason{message, string(v.Outcome), text}
	}
	var properties []junitProperty
	for _, f := range v.Facts() {
		properties = append(properties, junitProperty(f))
	}
	if f := v.Fidelity; f != nil {
		properties = append(properties, junitProperty{"fidelity", strconv.FormatFloat(f.Score, 'f', -1, 64)})
		for _, u := range f.Uncovered {
			properties = append(properties, junitProperty{"uncovered", u})
		}
	}
	b.add("verdict", v.Run.Duration, []junitCase{c}, properties...)
}

// judged sets the outcome of a case from a result.
func (c *junitCase) judged(r judge.Result, explain, evidence string) {
	switch r {
	case judge.Pass:
		c.Out = strings.TrimSpace(explain + "\n" + evidence)
	case judge.Reported:
		c.Skipped = &junitReason{Message: "reported, not judged: " + explain}
	case judge.Fail:
		c.Failure = &junitReason{explain, string(r), strings.TrimSpace(explain + "\n" + evidence)}
	default: // inconclusive, and any word this version does not know
		c.Error = &junitReason{explain, string(r), strings.TrimSpace(explain + "\n" + evidence)}
	}
}

func (b *junitBuilder) criteria() {
	var cases []junitCase
	for _, c := range b.view.Criteria {
		if c.Component != "" {
			continue
		}
		t := junitCase{Name: caseName(c)}
		t.judged(c.Result, c.Explain, strings.TrimSpace(c.evidence()+b.blame(c)))
		cases = append(cases, t)
	}
	b.add("criteria", 0, cases)
}

// blame returns the ledger's entries of a lane's criterion that did not pass, at
// most three, each on a line of its own.
func (b *junitBuilder) blame(c Criterion) string {
	if c.Lane == "" || c.Result == judge.Pass || c.Result == judge.Reported {
		return ""
	}
	var own Ledger
	for _, x := range b.view.Ledger.Bursts {
		if x.Lane == c.Lane {
			own.Bursts = append(own.Bursts, x)
		}
	}
	out := ""
	worst, others := own.worst(3, 0)
	for _, x := range worst {
		out += "\n" + strings.TrimSpace(x.statement()+"; cause: "+x.Cause+" "+x.remedy())
	}
	if len(others) > 0 {
		out += "\n" + folded(others)
	}
	return out
}

// caseName starts with the criterion's name, for a reader, and holds its ID,
// which stays the same from run to run.
func caseName(c Criterion) string {
	if c.Name == "" {
		return c.ID
	}
	return c.Name + " (" + c.ID + ")"
}

func (b *junitBuilder) components() {
	var cases []junitCase
	for _, c := range b.view.Components {
		t := junitCase{Name: c.Name}
		evidence := fmt.Sprintf("ready before %s, after %s; %s; version %s", c.Before.ready(), c.After.ready(), english.Count(uint64(c.Restarts), "restart"), c.versions())
		if c.After != nil && c.After.Problem != "" {
			evidence += "\n" + c.After.Problem
		}
		t.judged(c.Result, c.Explain, evidence)
		cases = append(cases, t)
	}
	b.add("components", 0, cases)
}

func (b *junitBuilder) validity() {
	var cases []junitCase
	for _, x := range b.view.Validity {
		t := junitCase{Name: strings.TrimSpace(x.Rule + " " + x.Lane)}
		evidence := fmt.Sprintf("found %s, limit %s", measure(x.Value, x.Unit), measure(x.Limit, x.Unit))
		switch {
		case x.Result == judge.Pass || x.Result == judge.Reported:
			t.judged(x.Result, x.Explain, evidence)
		case b.view.Outcome == judge.Inconclusive:
			t.judged(judge.Undecided, x.Explain, evidence)
		default:
			t.Skipped = &junitReason{Message: "not kept, and the verdict stands without what it left out: " + x.Explain}
		}
		cases = append(cases, t)
	}
	b.add("validity", 0, cases)
}

func (b *junitBuilder) steps() {
	var cases []junitCase
	var all time.Duration
	for _, s := range b.view.Steps {
		t := junitCase{Name: fmt.Sprintf("%02d %s", s.Number, s.Description), Time: seconds(s.Duration())}
		all += s.Duration()
		switch s.Outcome {
		case record.OutcomePassed:
		case record.OutcomeSkipped:
			t.Skipped = &junitReason{Message: "skipped"}
		default:
			message := "the step " + runOutcome(s.Outcome)
			if s.Error != "" {
				message += ": " + s.Error
			}
			reason := &junitReason{Message: message, Type: s.Outcome, Text: message}
			if s.Log != "" {
				reason.Text += "\nlog: " + s.Log
			}
			if s.Section == "upgrade" {
				t.Failure = reason
			} else {
				t.Error = reason
			}
		}
		cases = append(cases, t)
	}
	b.add("steps", all, cases)
}

// proof has a case for each planted fault. What was missed is not this run's
// failure: it is told, and does not turn the document red.
func (b *junitBuilder) proof() {
	p := b.view.Proof
	if p == nil {
		return
	}
	var cases []junitCase
	for _, r := range p.Rows {
		t := junitCase{Name: r.Fault + ": " + r.What, Out: fmt.Sprintf("%s; expected %s; verdict %s; detected after %s", r.Result(), r.Expected, r.verdict(), r.DetectedAfter())}
		if r.AttributedTo != "" {
			t.Out += "\n" + r.AttributedTo
		}
		if !r.Found {
			t.Skipped, t.Out = &junitReason{Message: strings.Join(append([]string{r.Result()}, r.WhyNot...), " ")}, ""
		}
		cases = append(cases, t)
	}
	b.add("proof", p.Took, cases)
}
