package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	sc := &scenarios.Scenario{Name: "kind", Cluster: scenarios.Cluster{Driver: "kind"}, Versions: scenarios.Versions{From: "v1.34.4", To: "v1.35.4"}}
	j.begin(&harness.RunPlan{Entries: []harness.Entry{e}, Scenario: sc}, "runs/x")
	j.Before(e, 1)
	j.Start(e, 1)
	j.End(e, 1500*time.Millisecond, nil, false)
	j.End(e, 0, errors.New("no"), false)
	j.End(e, 0, nil, true)
	j.event(timeline.Event{Kind: timeline.KindPhase, Subject: "phase/baseline"})
	j.event(timeline.Event{Kind: timeline.KindCordon, Subject: "node/w1"})
	res := &harness.Result{Dir: "runs/x",
		Record:  &record.Record{Run: record.Run{Simulated: true, Findings: []record.Finding{{ID: "bare-pod", Severity: "warn", Object: "pod/a", Cause: "c", Remedy: "r"}}}},
		Verdict: judge.Verdict{Outcome: judge.NoGo, Summary: "Bad.", Criteria: []judge.Criterion{{ID: "outage/new", Result: judge.Fail}, {ID: "versions", Result: judge.Pass}}},
	}
	end := verdictExit(res.Verdict)
	if err := j.end(res, messageOfRun(sc, res), end); !errors.Is(err, end) {
		t.Fatal(err)
	}
	const at = `{"time":"2026-11-02T03:00:00Z","event":`
	want := at + `"run-start","schema":1,"scenario":"kind","driver":"kind","from":"v1.34.4","to":"v1.35.4","steps":1,"forecastSeconds":20,"dir":"runs/x"}
` + at + `"step-done","number":1,"section":"prepare","description":"Create <the cluster>"}
` + at + `"step-start","number":1,"section":"prepare","description":"Create <the cluster>","expectedSeconds":20}
` + at + `"step-end","number":1,"section":"prepare","description":"Create <the cluster>","seconds":1.5,"outcome":"passed"}
` + at + `"step-end","number":1,"section":"prepare","description":"Create <the cluster>","seconds":0,"outcome":"failed","error":"no"}
` + at + `"step-end","number":1,"section":"prepare","description":"Create <the cluster>","outcome":"skipped"}
` + at + `"phase","phase":"baseline"}
` + at + `"finding","id":"bare-pod","severity":"warn","object":"pod/a","cause":"c","remedy":"r"}
` + at + `"verdict","outcome":"NO-GO","exit":1,"summary":"Bad.","simulated":true,"failed":["outage/new"],"dir":"runs/x"}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	checkGuide(t, b.Bytes())
}

// checkGuide holds the guide's table against the lines: the fields of each event,
// in their order.
func checkGuide(t *testing.T, lines []byte) {
	t.Helper()
	guide, err := os.ReadFile("../../../docs/guides/watching.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(guide), "| event | fields |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	listed := map[string][]string{}
	quoted := regexp.MustCompile("`([A-Za-z-]+)`")
	for row := range strings.Lines(table) {
		names := quoted.FindAllStringSubmatch(row, -1)
		if len(names) == 0 {
			t.Fatalf("a row without an event: %q", row)
		}
		for _, n := range names[1:] {
			listed[names[0][1]] = append(listed[names[0][1]], n[1])
		}
	}
	seen := map[string]map[string]bool{}
	for line := range bytes.Lines(lines) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		event, _ := fields["event"].(string)
		if seen[event] == nil {
			seen[event] = map[string]bool{}
		}
		for name := range fields {
			if name != "time" && name != "event" && name != "schema" {
				seen[event][name] = true
			}
		}
	}
	for event, fields := range listed {
		slices.Sort(fields)
		if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(seen[event]))); diff != "" {
			t.Errorf("event %s (-guide +lines):\n%s", event, diff)
		}
	}
	if len(seen) != len(listed) {
		t.Errorf("%d events are in the guide, %d among the lines", len(listed), len(seen))
	}
}

// TestLastLineTellsHowItEnded also where there is no verdict, and never twice.
func TestLastLineTellsHowItEnded(t *testing.T) {
	sc := &scenarios.Scenario{Name: "kind"}
	for _, c := range []struct {
		end  error
		want string
	}{
		{nil, `"outcome":"GO","exit":0}`},
		{failed(errors.New("no Docker")), `"outcome":"FAILED","exit":3,"summary":"no Docker"}`},
		{&exitError{ExitInterrupted, errors.New("interrupted")}, `"outcome":"INTERRUPTED","exit":130,"summary":"interrupted"}`},
	} {
		var b bytes.Buffer
		j := newJSONL(&b, func() time.Time { return time.Unix(0, 0) })
		m := messageOfRun(sc, nil)
		if c.end == nil {
			m.Outcome = "GO"
		}
		if err := j.end(nil, m, c.end); !errors.Is(err, c.end) {
			t.Errorf("%v became %v", c.end, err)
		}
		if want := `{"time":"1970-01-01T00:00:00Z","event":"verdict","schema":1,` + c.want + "\n"; b.String() != want {
			t.Errorf("got  %swant %s", b.String(), want)
		}
	}
	var none *jsonl
	if end := errors.New("x"); !errors.Is(none.end(nil, messageOfRun(sc, nil), end), end) {
		t.Error("without lines the end of the command changes")
	}
}

type gone struct{ asked int }

func (g *gone) Write([]byte) (int, error) { g.asked++; return 0, errors.New("broken pipe") }

// A reader that has gone away does not end the run; it is told at its end, and
// what comes back later gets no half of the lines.
func TestJSONLWithoutReader(t *testing.T) {
	g := &gone{}
	j := newJSONL(g, time.Now)
	j.Start(harness.Entry{Number: 1}, 1)
	j.Start(harness.Entry{Number: 2}, 1)
	m := messageOfRun(&scenarios.Scenario{}, nil)
	err := j.end(&harness.Result{}, m, nil)
	if err == nil || err.Error() != "write the events: broken pipe" || exitCode(err, Streams{Err: io.Discard}) != ExitFailed || g.asked != 1 {
		t.Errorf("got %v after %d writes", err, g.asked)
	}
	// What ended the run counts more than who heard of it.
	for _, end := range []error{failed(errors.New("no Docker")), &exitError{ExitInterrupted, errors.New("interrupted")}} {
		if got := j.end(nil, m, end); !errors.Is(got, end) {
			t.Errorf("%v became %v", end, got)
		}
	}
}

// TestReaderGoesAway runs a whole rehearsal whose readers, of standard output and
// of standard error, leave after the first line: nothing may be left behind, and
// the record is whole.
func TestReaderGoesAway(t *testing.T) {
	dir := t.TempDir()
	const stuck = `
apiVersion: rehearse/v1alpha1
scenarios:
- name: stuck
  cluster: {driver: sim, controlPlanes: 1, workers: 1}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {replicas: 1}
  load: {rate: 20, lanes: [new], warmup: 1s, baseline: 5s, settle: 1s}
  upgrade: {controlPlaneTimeout: 1s, controlPlaneInterval: 0s, nodeInterval: 0s, postDrainDelay: 0s, validationInterval: 100ms}
`
	if err := os.WriteFile(filepath.Join(dir, "stuck.yaml"), []byte(stuck), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{"rehearse", "run", "-f", "stuck.yaml", "-o", formatJSONL}
	cmd.Dir = dir
	var pipes [2]*os.File
	for i, w := range []*io.Writer{&cmd.Stdout, &cmd.Stderr} {
		r, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		pipes[i], *w = r, write
		defer func() { _ = write.Close() }()
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i, w := range []io.Writer{cmd.Stdout, cmd.Stderr} {
		_ = w.(*os.File).Close()
		if _, err := pipes[i].Read(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		_ = pipes[i].Close()
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != ExitFailed {
		t.Errorf("it ended with %d (%s), want %d", code, cmd.ProcessState, ExitFailed)
	}
	found, err := filepath.Glob(filepath.Join(dir, "runs", "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("run directories %q, %v", found, err)
	}
	r, err := record.Load(found[0])
	if err != nil {
		t.Fatal(err)
	}
	last := r.Run.Steps[len(r.Run.Steps)-1]
	if !r.Complete || last.Description != "Tear down what was created" || last.Outcome != record.OutcomePassed {
		t.Errorf("complete %v; the last step is %q, %s", r.Complete, last.Description, last.Outcome)
	}
}
