package cli

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func TestJSONL(t *testing.T) {
	var b bytes.Buffer
	j := newJSONL(&b, func() time.Time { return time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC) })
	e := harness.Entry{Number: 1, Section: "prepare", Description: "Create <the cluster>", Expected: 20 * time.Second}
	j.begin(&harness.RunPlan{Entries: []harness.Entry{e}, Scenario: &scenarios.Scenario{
		Name: "kind", Cluster: scenarios.Cluster{Driver: "kind"}, Versions: scenarios.Versions{From: "v1.34.4", To: "v1.35.4"},
	}})
	j.Start(e, 1)
	j.End(e, 1500*time.Millisecond, nil, false)
	j.End(e, 0, errors.New("no"), false)
	j.End(e, 0, nil, true)
	j.event(timeline.Event{Kind: timeline.KindPhase, Subject: "phase/baseline"})
	j.event(timeline.Event{Kind: timeline.KindCordon, Subject: "node/w1"})
	err := j.end(&harness.Result{Dir: "runs/x",
		Record:  &record.Record{Run: record.Run{Findings: []record.Finding{{ID: "bare-pod", Severity: "warn", Object: "pod/a", Cause: "c", Remedy: "r"}}}},
		Verdict: judge.Verdict{Outcome: judge.NoGo, Summary: "Bad.", Criteria: []judge.Criterion{{ID: "outage/new", Result: judge.Fail}, {ID: "versions", Result: judge.Pass}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const at = `{"time":"2026-11-02T03:00:00Z","event":`
	want := at + `"run-start","scenario":"kind","driver":"kind","from":"v1.34.4","to":"v1.35.4","steps":1,"forecastSeconds":20}
` + at + `"step-start","number":1,"section":"prepare","description":"Create <the cluster>","expectedSeconds":20}
` + at + `"step-end","number":1,"section":"prepare","description":"Create <the cluster>","seconds":1.5,"outcome":"passed"}
` + at + `"step-end","number":1,"section":"prepare","description":"Create <the cluster>","seconds":0,"outcome":"failed","error":"no"}
` + at + `"step-end","number":1,"section":"prepare","description":"Create <the cluster>","outcome":"skipped"}
` + at + `"phase","phase":"baseline"}
` + at + `"finding","id":"bare-pod","severity":"warn","object":"pod/a","cause":"c","remedy":"r"}
` + at + `"verdict","outcome":"NO-GO","summary":"Bad.","failed":["outage/new"],"dir":"runs/x"}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// A reader that has gone away does not end the run; it is told at its end.
func TestJSONLWithoutReader(t *testing.T) {
	j := newJSONL(gone{}, time.Now)
	j.Start(harness.Entry{Number: 1}, 1)
	if err := j.end(&harness.Result{}); err == nil || err.Error() != "write the events: broken pipe" {
		t.Errorf("got %v", err)
	}
}
