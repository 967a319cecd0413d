package reports

import (
	"io"
	"time"
)

// Check is one test of a document that Checks writes: passed, unless one of the
// others is set.
type Check struct {
	Name string
	// Text is what was found; for a person.
	Text string
	// Failed: it was looked at and is bad. Undecided: it could not be decided.
	// Skipped: it was not asked for.
	Failed, Undecided, Skipped bool
}

// Checks writes checks that are no verdict's, such as a gate's, as JUnit: one
// suite of one test a check. class is the class name of the tests, and what
// stands before its last dot their package.
func Checks(w io.Writer, suite, class string, at time.Time, checks []Check) error {
	s := junitSuite{Name: clean(suite), Tests: len(checks), Time: seconds(0), Timestamp: at.UTC().Format("2006-01-02T15:04:05")}
	for _, c := range checks {
		t := junitCase{Classname: clean(class), Name: clean(c.Name), Time: seconds(0)}
		text := clean(c.Text)
		switch {
		case c.Failed:
			t.Failure, s.Failures = &junitReason{text, "failed", text}, s.Failures+1
		case c.Undecided:
			t.Error, s.Errors = &junitReason{text, "inconclusive", text}, s.Errors+1
		case c.Skipped:
			t.Skipped, s.Skipped = &junitReason{Message: text}, s.Skipped+1
		default:
			t.Out = text
		}
		s.Cases = append(s.Cases, t)
	}
	doc := junitSuites{Name: s.Name, Tests: s.Tests, Failures: s.Failures, Errors: s.Errors, Time: seconds(0), Suites: []junitSuite{s}}
	return doc.write(w)
}

// Line makes a text of a record safe to show on one line of a terminal, a log or
// a document, as every report does.
func Line(s string) string { return clean(s) }
