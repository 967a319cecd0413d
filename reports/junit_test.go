package reports

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
)

// junitRules is what Jenkins' junit-10.xsd and GitLab's and GitHub's readers
// agree on: for each element its parents and its attributes. Attributes that end
// in ! must be there.
var junitRules = map[string]struct {
	parents    []string
	attributes []string
}{
	"testsuites": {[]string{""}, []string{"name!", "tests!", "failures!", "errors!", "time!"}},
	"testsuite":  {[]string{"testsuites"}, []string{"name!", "tests!", "failures!", "errors!", "skipped", "time!", "timestamp!"}},
	"properties": {[]string{"testsuite"}, nil},
	"property":   {[]string{"properties"}, []string{"name!", "value!"}},
	"testcase":   {[]string{"testsuite"}, []string{"name!", "classname!", "time!"}},
	"failure":    {[]string{"testcase"}, []string{"message!", "type!"}},
	"error":      {[]string{"testcase"}, []string{"message!", "type!"}},
	"skipped":    {[]string{"testcase"}, []string{"message!"}},
	"system-out": {[]string{"testcase"}, nil},
}

var patterns = map[string]*regexp.Regexp{
	"time":      regexp.MustCompile(`^\d+\.\d{3}$`), // seconds
	"timestamp": regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`),
	"tests":     regexp.MustCompile(`^\d+$`),
	"failures":  regexp.MustCompile(`^\d+$`),
	"errors":    regexp.MustCompile(`^\d+$`),
	"skipped":   regexp.MustCompile(`^\d+$`),
}

// junitCounts are the elements below a suite or the root, and what it claims.
type junitCounts struct{ claimed, found map[string]int }

func checkJUnit(t *testing.T, doc []byte) {
	t.Helper()
	counted := map[string]string{"testcase": "tests", "failure": "failures", "error": "errors", "skipped": "skipped"}
	var path []string
	var open []junitCounts // of testsuites and testsuite
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			name := x.Name.Local
			rule, ok := junitRules[name]
			parent := ""
			if len(path) > 0 {
				parent = path[len(path)-1]
			}
			if !ok || !slices.Contains(rule.parents, parent) {
				t.Errorf("element %s below %q", name, parent)
			}
			given := map[string]string{}
			for _, a := range x.Attr {
				given[a.Name.Local] = a.Value
				if !slices.Contains(rule.attributes, a.Name.Local) && !slices.Contains(rule.attributes, a.Name.Local+"!") {
					t.Errorf("%s has attribute %s", name, a.Name.Local)
				}
				if p := patterns[a.Name.Local]; p != nil && !p.MatchString(a.Value) {
					t.Errorf("%s of %s is %q", a.Name.Local, name, a.Value)
				}
			}
			for _, a := range rule.attributes {
				if a[len(a)-1] == '!' && given[a[:len(a)-1]] == "" {
					t.Errorf("%s lacks attribute %s", name, a[:len(a)-1])
				}
			}
			if name == "testsuite" || name == "testsuites" {
				c := junitCounts{map[string]int{}, map[string]int{}}
				for _, a := range counted {
					c.claimed[a], _ = strconv.Atoi(given[a])
				}
				open = append(open, c)
			}
			if a := counted[name]; a != "" {
				for _, c := range open {
					c.found[a]++
				}
			}
			path = append(path, name)
		case xml.EndElement:
			path = path[:len(path)-1]
			if x.Name.Local == "testsuite" || x.Name.Local == "testsuites" {
				c := open[len(open)-1]
				open = open[:len(open)-1]
				for a, n := range c.claimed {
					if a == "skipped" && x.Name.Local == "testsuites" {
						continue // Jenkins' schema knows no such attribute there
					}
					if c.found[a] != n {
						t.Errorf("a %s claims %d %s and holds %d", x.Name.Local, n, a, c.found[a])
					}
				}
			}
		}
	}
}

func TestJUnitKeepsTheRulesOfItsReaders(t *testing.T) {
	for _, f := range fixtures() {
		t.Run(f.name, func(t *testing.T) { checkJUnit(t, render(t, FormatJUnit, f)) })
	}
}

// TestJUnitIsGreenExactlyForGO holds the colour of a CI server to the verdict.
func TestJUnitIsGreenExactlyForGO(t *testing.T) {
	for _, f := range fixtures() {
		var doc junitSuites
		if err := xml.Unmarshal(render(t, FormatJUnit, f), &doc); err != nil {
			t.Fatal(err)
		}
		if green := doc.Failures+doc.Errors == 0; green != (f.verdict.Outcome == judge.Go) {
			t.Errorf("%s is %s and has %d failures and %d errors", f.name, f.verdict.Outcome, doc.Failures, doc.Errors)
		}
		if f.name == "inconclusive" && (doc.Failures != 0 || doc.Errors == 0) {
			t.Errorf("%s has %d failures and %d errors, want errors alone", f.name, doc.Failures, doc.Errors)
		}
	}
}

func TestJUnitNamesStepsAsThePlanDoes(t *testing.T) {
	var doc junitSuites
	if err := xml.Unmarshal(render(t, FormatJUnit, fixtures()[0]), &doc); err != nil {
		t.Fatal(err)
	}
	steps := doc.Suites[len(doc.Suites)-1]
	if got, want := steps.Cases[5].Name, "06 Upgrade the worker quickstart-worker to v1.35.4"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := steps.Cases[5].Time, "72.000"; got != want {
		t.Errorf("got %q seconds, want %q", got, want)
	}
}
