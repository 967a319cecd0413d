package serve

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/reports"
)

func TestCompare(t *testing.T) {
	dir := runs(t)
	s := serverOf(t, dir)
	page := says(t, s, "/compare?a=good&b=bad", http.StatusOK,
		"First ✓ GO monthly good All 20 criteria that were judged passed.",
		"Second ✗ NO-GO monthly bad outage/new failed:",
		"Both ran the same scenario, field by field.",
		"The upgrade of both, until the end of the settle phase",
		"The baseline of both, before anything was upgraded",
		"✗ fail Increase of the error rate errors/new +10% ≤ +0.1% The error rate went from 0% to 10%: by at least 9.32 points at 95%",
		"✓ pass Growth of p50 latency p50/new",
		"Longest outage outage/new ✓ pass 0 ms (≤ 1 s)",
		"✗ fail 4.99 s (≤ 1 s)",
		"new upgrade 4,500 → 4,500 0 → 500",
		"kube-proxy v1.34.4 → v1.35.4",
		"kubelets, afterwards v1.35.4 on 4 v1.35.4 on 4",
		"Swap them",
	)
	if !strings.Contains(page, `<option value="bad" selected>`) {
		t.Error("the choice is forgotten")
	}
	if n := s.judgements.Load(); n != 2 {
		t.Errorf("%d records were judged", n)
	}
	says(t, s, "/compare?a=good&b=bad", http.StatusOK)
	if n := s.judgements.Load(); n != 2 {
		t.Errorf("%d records were judged for a page that was made already", n)
	}
	says(t, s, "/compare?a=good&b=search/sim", http.StatusOK, "One of them was simulated and the other was not: their figures say nothing of one another.")
	other := rehearsal("999999", "monthly", 9)
	other.Run.Lanes[0].Rate, other.Lanes[0].Lane.Rate = 50, 50
	write(t, filepath.Join(dir, "slower"), other)
	says(t, s, "/compare?a=good&b=slower", http.StatusOK, "They cannot be held against one another: lane new: 100 requests a second in the first run and 50 in the second run: record both at the same rate.")

	for query, want := range map[string]string{
		"":                                 "Choose two runs.",
		"?b=good":                          "Choose the other run too.",
		"?a=good&b=good":                   "Choose two different runs.",
		"?a=good&b=../x":                   "There is no run ../x; it may have been moved or deleted.",
		"?run=good&run=bad&run=search/sim": "3 runs were ticked; two can be compared. Choose them here.",
	} {
		says(t, s, "/compare"+query, http.StatusOK, want)
	}
	r := get(s, "/compare?run=bad&run=good") // newest first, as the list has them
	if got := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || got != "/compare?a=good&b=bad" {
		t.Errorf("%d to %q", r.StatusCode, got)
	}
	if err := os.Truncate(filepath.Join(dir, "bad", "load", "new.frames"), 1000); err != nil {
		t.Fatal(err)
	}
	says(t, s, "/compare?a=good&b=bad", http.StatusUnprocessableEntity, "No report of bad")
}

func TestStepsAreAlignedByWhatTheyDo(t *testing.T) {
	view := func(id, to string, steps ...string) reports.View {
		v := reports.View{Run: reports.Run{ID: id, From: "v1.34.4", To: to}}
		for i, s := range steps {
			v.Steps = append(v.Steps, reports.Step{Number: i, Description: s, Span: reports.Span{End: time.Duration(i+1) * time.Minute}})
		}
		return v
	}
	c := comparison{
		ViewA: view("aaa", "v1.35.3", "Create", "Upgrade x-aaa to v1.35.3", "Wait", "Upgrade y-aaa to v1.35.3", "Tear down"),
		ViewB: view("bbb", "v1.35.4", "Create", "Probe", "Upgrade x-bbb to v1.35.4", "Upgrade y-bbb to v1.35.4", "Tear down"),
	}
	c.steps()
	var got []string
	for _, p := range c.Steps {
		got = append(got, fmt.Sprintf("%s %t %t %s", p.Description, p.A != nil, p.B != nil, longer(took(p.A), took(p.B))))
	}
	want := []string{
		"Create true true =", "Probe false true ", "Upgrade x-bbb to v1.35.4 true true +1m0s", "Wait true false ",
		"Upgrade y-bbb to v1.35.4 true true =", "Tear down true true =",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
