package history_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/history"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// options of a run that is short, and GO.
func options() synth.Options {
	return synth.Options{Rate: 100, Lanes: []string{"new"}, Baseline: 40 * time.Second, Upgrade: 45 * time.Second, Settle: 5 * time.Second, Warmup: time.Second}
}

// numbered returns the record as the n-th run, which ended on the n-th day.
func numbered(r *record.Record, n int) *record.Record {
	c := *r
	c.Run.ID, c.Run.Ended = fmt.Sprintf("run%03d", n), r.Run.Ended.AddDate(0, 0, n)
	return &c
}

func write(t *testing.T, root string, r *record.Record) string {
	t.Helper()
	dir := filepath.Join(root, r.Run.Name+"-"+r.Run.ID)
	if err := synth.Write(dir, r); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit changes the record's scenario.
func edit(t *testing.T, r *record.Record, change func(map[string]any)) *record.Record {
	t.Helper()
	c := *r
	var s map[string]any
	if err := json.Unmarshal(r.Run.Scenario, &s); err != nil {
		t.Fatal(err)
	}
	change(s)
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	c.Run.Scenario = b
	if c.Run.ScenarioSHA256, err = record.ScenarioDigest(b); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestRead(t *testing.T) {
	root := t.TempDir()
	base := synth.Record(options())
	nogo := options()
	nogo.Faults = []synth.Fault{{Lane: "new", Start: 10 * time.Second, Length: 5 * time.Second}}
	bad := synth.Record(nogo)

	like := numbered(base, 20)
	write(t, root, like) // the run itself
	write(t, root, numbered(base, 1))
	older := edit(t, numbered(base, 2), func(s map[string]any) { // an earlier hop, and other limits
		s["versions"] = map[string]any{"from": "v1.33.4", "to": "v1.34.4"}
		s["thresholds"].(map[string]any)["p99Increase"] = "90%"
	})
	write(t, root, older)
	write(t, root, numbered(base, 21))
	write(t, root, numbered(bad, 3))
	write(t, root, edit(t, numbered(base, 4), func(s map[string]any) { s["canary"].(map[string]any)["replicas"] = 5 }))
	real := numbered(base, 5)
	real.Run.Simulated = false
	write(t, root, real)
	other := numbered(base, 6)
	other.Run.Name = "other"
	write(t, root, other)
	touched := write(t, root, numbered(base, 7))
	if err := os.WriteFile(filepath.Join(touched, "timeline.ndjson"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	unsealed := write(t, root, numbered(base, 8))
	if err := os.Remove(filepath.Join(unsealed, "SHA256SUMS")); err != nil {
		t.Fatal(err)
	}
	garbled := filepath.Join(root, "garbled")
	if err := os.MkdirAll(garbled, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(garbled, "run.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "notes.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}

	p, err := history.Read(t.Context(), root, like)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range p.Runs {
		ids = append(ids, r.ID)
	}
	if diff := cmp.Diff([]string{"run002", "run001"}, ids); diff != "" {
		t.Errorf("runs that count, newest first (-want +got):\n%s", diff)
	}
	want := []history.LeftOut{
		{Why: "another scenario", Runs: 1}, {Why: "its verdict is NO-GO", Runs: 1}, {Why: "not complete", Runs: 1},
		{Why: "not earlier than this run", Runs: 1}, {Why: "the record cannot be read or trusted", Runs: 2},
		{Why: "the scenario differs in more than versions and thresholds", Runs: 2},
	}
	if diff := cmp.Diff(want, p.LeftOut); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	var figures []string
	for _, f := range p.Runs[0].Figures {
		figures = append(figures, f.ID+" "+f.Unit)
	}
	if diff := cmp.Diff("outage/new ms, lost/new ratio, p99/new ratio, duration s", strings.Join(figures, ", ")); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}

func TestReadOfNoDirectory(t *testing.T) {
	like := synth.Record(options())
	_, err := history.Read(t.Context(), filepath.Join(t.TempDir(), "none"), like)
	if !errors.Is(err, os.ErrNotExist) || !strings.HasSuffix(err.Error(), "; name the directory that holds the run directories") {
		t.Errorf("got %v", err)
	}
	root := t.TempDir()
	write(t, root, numbered(like, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := history.Read(ctx, root, numbered(like, 2)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestFiguresOfAnOutage(t *testing.T) {
	o := options()
	o.Faults = []synth.Fault{{Lane: "new", Start: 10 * time.Second, Length: 5 * time.Second}}
	r := synth.Record(o)
	s := o.Scenario()
	for _, f := range history.Figures(r, judge.Judge(r, s.Criteria()), s.Thresholds.LatencyFloor.Duration) {
		switch f.ID {
		case "outage/new":
			if f.Found < 4900 || f.Found > 5100 || f.AtLeast > f.Found {
				t.Errorf("outage %+v, planted were 5 s", f)
			}
		case "lost/new": // 5 of 50 s
			if f.Found < 0.09 || f.Found > 0.11 || f.AtLeast >= f.Found || f.AtLeast < 0.08 {
				t.Errorf("lost %+v, planted was a tenth", f)
			}
		case "duration":
			if f.Found != 45 {
				t.Errorf("duration %+v", f)
			}
		case "p99/new":
			if f.Slack <= 0 {
				t.Errorf("no slack: %+v", f)
			}
		}
	}
}
