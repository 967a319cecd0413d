package findings

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func report() *Report {
	r := New("cluster k", "v1.34.4", "v1.35.4", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), []Check{
		{Name: "nodes are fit", Findings: []record.Finding{
			{ID: "node-cordoned", Severity: record.SeverityWarn, Object: "node/w1", Cause: "Node w1 is cordoned.", Remedy: "Uncordon it."},
			{ID: "node-not-ready", Severity: record.SeverityBlock, Object: "node/w2", Cause: "Node w2 is not\x1b[31m Ready.", Remedy: "Repair <it>."}}},
		{Name: "budgets", NotChecked: `forbidden: it takes the verb "list" on poddisruptionbudgets.policy`},
		{Name: "quorum", Findings: []record.Finding{{ID: "single-control-plane", Severity: record.SeverityInfo, Object: "cluster", Cause: "One.", Remedy: "Three."}}},
		{Name: "webhooks"}, {Name: "APIs"},
	})
	r.Forecast = &Forecast{Lines: []string{"w1: drains"}, Data: map[string]int{"nodes": 1}}
	return r
}

func render(t *testing.T, format string, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, format, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	const want = `Preflight of cluster k: v1.34.4 → v1.35.4

BLOCKING (1)
  node/w2  node-not-ready
      Node w2 is not [31m Ready.
      To do: Repair <it>.

WARNINGS (1)
  node/w1  node-cordoned
      Node w1 is cordoned.
      To do: Uncordon it.

TO KNOW (1)
  cluster  single-control-plane
      One.
      To do: Three.

NOT CHECKED (1)
  budgets: forbidden: it takes the verb "list" on poddisruptionbudgets.policy

FORECAST
  w1: drains

Passed: webhooks; APIs.

1 blocking, 1 warning, 1 to know; 2 of 5 checks passed, 1 not made.
`
	if diff := cmp.Diff(want, render(t, "text", report())); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if got, want := render(t, "text", New("snapshot s", "", "v1.35.4", time.Time{}, []Check{{Name: "a"}})), "Preflight of snapshot s, to v1.35.4\n\nPassed: a.\n\n0 blocking, 0 warnings, 0 to know; 1 of 1 check passed.\n"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
}

func TestJUnit(t *testing.T) {
	out := render(t, "junit", report())
	var s suite
	if err := xml.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if s.Tests != 5 || s.Failures != 1 || s.Skipped != 1 || len(s.Cases) != 5 {
		t.Fatalf("suite %+v", s)
	}
	if f := s.Cases[0].Failure; f == nil || f.Text != "node-not-ready node/w2: Node w2 is not [31m Ready. To do: Repair <it>." {
		t.Errorf("failure %+v", f)
	}
	if got, want := s.Cases[0].Out, "warn node-cordoned node/w1: Node w1 is cordoned. To do: Uncordon it."; got != want {
		t.Errorf("system-out %q, want %q", got, want)
	}
	if s.Cases[1].Skipped == nil || s.Cases[2].Failure != nil {
		t.Errorf("cases %+v", s.Cases)
	}
}

func TestRenderRefuses(t *testing.T) {
	err := Render(&bytes.Buffer{}, "yaml", report())
	if want := `format "yaml" is unknown; accepted: text, json, junit`; err == nil || err.Error() != want {
		t.Errorf("Render = %v, want %s", err, want)
	}
	if out := render(t, "json", report()); !strings.Contains(out, `"blocked": true`) || !strings.Contains(out, `"roll": {`) {
		t.Errorf("json:\n%s", out)
	}
}
