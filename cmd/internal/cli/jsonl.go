package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// formatJSONL is run's output for machines: one JSON object a line, as things
// happen.
const formatJSONL = "jsonl"

// jsonlEvent is one line; docs/guides/reports.md describes the fields. What does
// not belong to an event is absent.
type jsonlEvent struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"` // run-start, step-start, step-end, phase, finding, verdict

	Scenario        string   `json:"scenario,omitempty"`
	Driver          string   `json:"driver,omitempty"`
	From            string   `json:"from,omitempty"`
	To              string   `json:"to,omitempty"`
	Steps           int      `json:"steps,omitempty"`
	ForecastSeconds float64  `json:"forecastSeconds,omitempty"`
	Number          int      `json:"number,omitempty"`
	Section         string   `json:"section,omitempty"`
	Description     string   `json:"description,omitempty"`
	ExpectedSeconds float64  `json:"expectedSeconds,omitempty"`
	Seconds         *float64 `json:"seconds,omitempty"`
	Outcome         string   `json:"outcome,omitempty"` // of a step: passed, failed, skipped; of the verdict its word
	Error           string   `json:"error,omitempty"`
	Phase           string   `json:"phase,omitempty"`
	ID              string   `json:"id,omitempty"`
	Severity        string   `json:"severity,omitempty"`
	Object          string   `json:"object,omitempty"`
	Cause           string   `json:"cause,omitempty"`
	Remedy          string   `json:"remedy,omitempty"`
	Summary         string   `json:"summary,omitempty"`
	Simulated       bool     `json:"simulated,omitempty"`
	Failed          []string `json:"failed,omitempty"` // ids of criteria
	Dir             string   `json:"dir,omitempty"`
}

// jsonl writes the lines; it is safe for concurrent use. A reader that has gone
// away does not end the run: the first error is kept.
type jsonl struct {
	mu  sync.Mutex
	enc *json.Encoder
	now func() time.Time
	err error
}

func newJSONL(w io.Writer, now func() time.Time) *jsonl {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &jsonl{enc: enc, now: now}
}

func (j *jsonl) write(e jsonlEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Time = j.now().UTC()
	if err := j.enc.Encode(e); err != nil && j.err == nil {
		j.err = fmt.Errorf("write the events: %w", err)
	}
}

// begin writes what is to be done; a nil j writes nothing.
func (j *jsonl) begin(p *harness.RunPlan) {
	if j == nil {
		return
	}
	s := p.Scenario
	j.write(jsonlEvent{Event: "run-start", Scenario: s.Name, Driver: s.Cluster.Driver, From: s.Versions.From, To: s.Versions.To,
		Steps: len(p.Entries), ForecastSeconds: p.Expected().Seconds()})
}

// Start implements harness.Progress.
func (j *jsonl) Start(e harness.Entry, _ int) {
	j.write(jsonlEvent{Event: "step-start", Number: e.Number, Section: e.Section, Description: e.Description, ExpectedSeconds: e.Expected.Seconds()})
}

// End implements harness.Progress.
func (j *jsonl) End(e harness.Entry, took time.Duration, err error, skipped bool) {
	seconds := took.Seconds()
	out := jsonlEvent{Event: "step-end", Number: e.Number, Section: e.Section, Description: e.Description, Seconds: &seconds, Outcome: "passed"}
	switch {
	case skipped:
		out.Outcome, out.Seconds = "skipped", nil
	case err != nil:
		out.Outcome, out.Error = "failed", err.Error()
	}
	j.write(out)
}

// event passes on what of the timeline a machine waits for: the phases.
func (j *jsonl) event(e timeline.Event) {
	if e.Kind == timeline.KindPhase {
		j.write(jsonlEvent{Event: "phase", Phase: strings.TrimPrefix(e.Subject, "phase/")})
	}
}

// end writes findings and verdict, and returns what went wrong with any line.
func (j *jsonl) end(res *harness.Result) error {
	if res.Record != nil {
		for _, f := range res.Record.Run.Findings {
			j.write(jsonlEvent{Event: "finding", ID: f.ID, Severity: f.Severity, Object: f.Object, Cause: f.Cause, Remedy: f.Remedy})
		}
		v := jsonlEvent{Event: "verdict", Outcome: string(res.Verdict.Outcome), Summary: res.Verdict.Summary, Simulated: res.Verdict.Simulated, Dir: res.Dir}
		for _, c := range res.Verdict.Criteria {
			if c.Result == judge.Fail {
				v.Failed = append(v.Failed, c.ID)
			}
		}
		j.write(v)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// both tells two readers of the progress.
type both [2]harness.Progress

// Start implements harness.Progress.
func (b both) Start(e harness.Entry, of int) {
	b[0].Start(e, of)
	b[1].Start(e, of)
}

// End implements harness.Progress.
func (b both) End(e harness.Entry, took time.Duration, err error, skipped bool) {
	b[0].End(e, took, err, skipped)
	b[1].End(e, took, err, skipped)
}
