package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/notify"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// formatJSONL is run's output for machines: one JSON object a line, as things
// happen.
const formatJSONL = "jsonl"

// jsonlSchema is the version of the lines' schema: a reader may rely on the fields
// of one version, and ignore those that it does not know.
const jsonlSchema = 1

// jsonlEvent is one line; docs/guides/watching.md describes the fields. What does
// not belong to an event is absent.
type jsonlEvent struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`            // see jsonlEvents
	Schema int       `json:"schema,omitempty"` // of the first line

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
	Phase           string   `json:"phase,omitempty"`
	ID              string   `json:"id,omitempty"`
	Severity        string   `json:"severity,omitempty"`
	Object          string   `json:"object,omitempty"`
	Cause           string   `json:"cause,omitempty"`
	Remedy          string   `json:"remedy,omitempty"`
	// Outcome of a step: passed, failed, skipped; of the verdict its word, or
	// NOTHING-TO-DO, INTERRUPTED, FAILED.
	Outcome   string   `json:"outcome,omitempty"`
	Error     string   `json:"error,omitempty"`
	Exit      *int     `json:"exit,omitempty"`
	Summary   string   `json:"summary,omitempty"`
	Simulated bool     `json:"simulated,omitempty"`
	Failed    []string `json:"failed,omitempty"` // ids of criteria
	Dir       string   `json:"dir,omitempty"`
}

// What a line may tell. The last line is always lineVerdict, and nothing else is.
const (
	lineRunStart  = "run-start"
	lineStepDone  = "step-done" // before an interruption
	lineStepStart = "step-start"
	lineStepEnd   = "step-end"
	linePhase     = "phase"
	lineFinding   = "finding"
	lineVerdict   = "verdict"
)

// jsonl writes the lines; it is safe for concurrent use. A reader that has gone
// away does not end the run: the first error is kept, and no more is written.
type jsonl struct {
	mu    sync.Mutex
	w     io.Writer
	now   func() time.Time
	begun bool
	err   error
}

func newJSONL(w io.Writer, now func() time.Time) *jsonl { return &jsonl{w: w, now: now} }

// write writes a line with one call, so that a reader never sees half of one.
func (j *jsonl) write(e jsonlEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return
	}
	e.Time = j.now().UTC()
	if !j.begun {
		j.begun, e.Schema = true, jsonlSchema
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e)
	if err == nil {
		_, err = j.w.Write(line.Bytes())
	}
	if err != nil {
		j.err = fmt.Errorf("write the events: %w", err)
	}
}

// begin writes what is to be done.
func (j *jsonl) begin(p *harness.RunPlan, dir string) {
	s := p.Scenario
	j.write(jsonlEvent{Event: lineRunStart, Scenario: s.Name, Driver: s.Cluster.Driver, From: s.Versions.From, To: s.Versions.To,
		Steps: len(p.Entries), ForecastSeconds: p.Expected().Seconds(), Dir: dir})
}

// Before implements harness.ResumedProgress.
func (j *jsonl) Before(e harness.Entry, _ int) {
	j.write(jsonlEvent{Event: lineStepDone, Number: e.Number, Section: e.Section, Description: e.Description})
}

// Start implements harness.Progress.
func (j *jsonl) Start(e harness.Entry, _ int) {
	j.write(jsonlEvent{Event: lineStepStart, Number: e.Number, Section: e.Section, Description: e.Description, ExpectedSeconds: e.Expected.Seconds()})
}

// End implements harness.Progress.
func (j *jsonl) End(e harness.Entry, took time.Duration, err error, skipped bool) {
	seconds := took.Seconds()
	out := jsonlEvent{Event: lineStepEnd, Number: e.Number, Section: e.Section, Description: e.Description, Seconds: &seconds, Outcome: "passed"}
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
		j.write(jsonlEvent{Event: linePhase, Phase: strings.TrimPrefix(e.Subject, "phase/")})
	}
}

// end writes findings and, as the last line, how the command ends. It returns end,
// or what went wrong with any line where that would not be told otherwise; a nil j
// writes nothing.
func (j *jsonl) end(res *harness.Result, m notify.Message, end error) error {
	if j == nil {
		return end
	}
	v := jsonlEvent{Event: lineVerdict, Simulated: m.Simulated, Dir: m.Dir}
	var exit int
	exit, v.Outcome, v.Summary = outcomeOf(end, m)
	if exit == ExitUsage {
		return end
	}
	v.Exit = &exit
	if res != nil && res.Record != nil {
		for _, f := range res.Record.Run.Findings {
			j.write(jsonlEvent{Event: lineFinding, ID: f.ID, Severity: f.Severity, Object: f.Object, Cause: f.Cause, Remedy: f.Remedy})
		}
		for _, c := range res.Verdict.Criteria {
			if c.Result == judge.Fail {
				v.Failed = append(v.Failed, c.ID)
			}
		}
	}
	j.write(v)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil && exit != ExitFailed && exit != ExitInterrupted {
		return failed(j.err)
	}
	return end
}
