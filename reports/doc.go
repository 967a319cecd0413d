// Package reports shows a verdict and its evidence to people and to machines:
// text on a terminal, the verdict document as JSON, JUnit for CI servers,
// Markdown for a pull request and one self-contained HTML page.
//
// All of them are renderings of one View, which is made from a record and its
// verdict alone: no cluster, no clock, no network. The same record therefore
// gives the same bytes.
//
// Whatever stands in a View besides View.Verdict has been neutralised: a pod's
// error message cannot move the cursor of a terminal, end a table row or start
// a script.
package reports
