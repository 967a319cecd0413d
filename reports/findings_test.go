package reports

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Twelve nodes of which the same was found are one finding in what a person
// reads, which names the first few; the page can show all.
func TestTheSameOfManyNodesIsSaidOnce(t *testing.T) {
	f := fixtures()[0]
	rec := f.record
	rec.Run.Findings = nil
	for i := range 12 {
		node := fmt.Sprintf("w%02d", i+1)
		rec.Run.Findings = append(rec.Run.Findings, record.Finding{
			ID: "cgroup-v1", Severity: record.SeverityWarn, Object: "node/" + node, Cause: "Node " + node + " uses cgroup v1.", Remedy: "Move it.",
		})
	}
	const few = "node/w02, node/w03, node/w04, node/w05, node/w06, node/w07, node/w08, node/w09 and 3 more"
	view := NewView(rec, judge.Verdict{})
	for format, want := range map[string][]string{
		"text":     {"Findings: 1\n", "node/w01\n    Node w01 uses cgroup v1.\n    The same of", "and 3 more.\n    remedy: Move it."},
		"markdown": {"Node w01 uses cgroup v1. The same of " + few + "."},
		"html":     {"<summary>The same of 11 more</summary><p>node/w02, node/w03,", "node/w12</p>"},
	} {
		var b bytes.Buffer
		if err := Render(&b, format, view, TextOptions{Width: 80}); err != nil {
			t.Fatal(format, err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s lacks %q:\n%s", format, w, part(b.String(), "cgroup-v1"))
			}
		}
		if n := strings.Count(b.String(), "uses cgroup v1"); n != 1 {
			t.Errorf("%s says it %d times", format, n)
		}
	}
}

// part returns some of s from the text on.
func part(s, text string) string {
	_, after, _ := strings.Cut(s, text)
	return after[:min(len(after), 600)]
}
