// Package record is the run directory: what a rehearsal wrote down, and the
// only thing that later stages read. It defines the data, writes it so that a
// crash loses at most the last torn entry, and reads it back with an error
// that names file and offset where something is wrong.
//
// run.json and cluster/*.json are documents of JSON: Run and Snapshot.
// timeline.ndjson, probes/*.ndjson and load/*.slow.ndjson hold one JSON value a
// line: timeline.Event, ProbeSample and Request. load/*.frames is binary, one
// Window a frame, each with checksums (CRC-32C); its layout stands at the head of
// frame.go, and the geometry of its histograms is HdrHistogram's
// (http://hdrhistogram.org). SHA256SUMS is what sha256sum writes.
//
// The package holds data, not opinions: what the data mean is the business of
// package judge.
package record

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// FormatVersion is the version of the record's layout. A reader refuses any
// other version instead of guessing.
const FormatVersion = 1

// Outcomes of a run and of its steps.
const (
	OutcomeRunning     = "running" // also what a killed process leaves behind
	OutcomePassed      = "passed"
	OutcomeFailed      = "failed"
	OutcomeSkipped     = "skipped"
	OutcomeInterrupted = "interrupted"
)

// Run is run.json: who ran what, where, and how far it came.
type Run struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`   // unique; the label on everything the run created
	Name    string `json:"name"` // scenario name
	Tool    string `json:"tool"` // version of rehearse that wrote the record
	Command string `json:"command"`

	// Scenario is the resolved scenario as JSON, and ScenarioSHA256 the
	// hexadecimal digest of exactly those bytes in compact form.
	Scenario       json.RawMessage `json:"scenario"`
	ScenarioSHA256 string          `json:"scenarioSHA256"`

	Driver    string    `json:"driver"`
	Simulated bool      `json:"simulated"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
	Versions  Versions  `json:"versions"`
	Host      Host      `json:"host"`
	Lanes     []Lane    `json:"lanes"`
	// Agents are what sent the load, in order of their index; none where the
	// runner's own process did. Where the run was interrupted, those of the process
	// that went on come after those that were there before.
	Agents  []Agent `json:"agents,omitempty"`
	Probes  []Probe `json:"probes"`
	Steps   []Step  `json:"steps"`
	Outcome string  `json:"outcome"`
	// Failure says why Outcome is failed or interrupted, in one sentence.
	Failure string `json:"failure,omitempty"`
	// Findings are the results of preflight and checks, in the order found.
	Findings []Finding `json:"findings,omitempty"`
	// Proof is set where the gate was proven before this run.
	Proof *Proof `json:"proof,omitempty"`
	// Interruptions lists where the run was interrupted and gone on with, in order.
	Interruptions []Interruption `json:"interruptions,omitempty"`
}

// NewID returns an id for a run: six hexadecimal digits, short enough to be part
// of every name that the run creates.
func NewID() (string, error) {
	id := make([]byte, 3)
	if _, err := rand.Read(id); err != nil {
		return "", fmt.Errorf("run id: %w", err)
	}
	return hex.EncodeToString(id), nil
}

// Versions are the Kubernetes versions asked for and those the API server
// reported before and after the upgrade.
type Versions struct {
	From string `json:"from,omitempty"`
	// Via are the versions between From and To that the upgrade passed through.
	Via    []string `json:"via,omitempty"`
	To     string   `json:"to,omitempty"`
	Before string   `json:"before,omitempty"`
	After  string   `json:"after,omitempty"`
}

// Host describes the machine that sent the load.
type Host struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Kernel      string `json:"kernel,omitempty"`
	CPUs        int    `json:"cpus"`
	MemoryBytes int64  `json:"memoryBytes,omitempty"`
	// Pressure is the share of time, 0 to 1, in which some task waited for a
	// CPU during the measured phases (PSI "some"), or nil where the kernel
	// does not tell.
	Pressure *float64 `json:"pressure,omitempty"`
}

// Lane describes one client class of load.
type Lane struct {
	Name   string `json:"name"`
	Target string `json:"target"`
	// Rate is the number of requests due in a second.
	Rate      float64 `json:"rate"`
	TimeoutNS int64   `json:"timeoutNS"`
	// Control marks the twin outside the cluster: it is never judged, it tells
	// the runner's own trouble from the cluster's.
	Control bool `json:"control,omitempty"`
}

// Agent is one of several engines that sent every lane together: of N, the one with
// index k had the slots k, k+N, k+2N and so on.
type Agent struct {
	Name string `json:"name"` // its pod's
	Node string `json:"node,omitempty"`
}

// Probe describes one repeated observation.
type Probe struct {
	Name       string `json:"name"`
	IntervalNS int64  `json:"intervalNS"`
	TimeoutNS  int64  `json:"timeoutNS"`
}

// Step is one executed step of the plan.
type Step struct {
	Number int `json:"number"`
	// Section of the plan: prepare, measure, upgrade or judge. What fails in
	// the upgrade is the upgrade's failure and part of the verdict.
	Section     string `json:"section"`
	Description string `json:"description"` // as the plan prints it
	StartNS     int64  `json:"startNS"`     // ns since the run's start
	EndNS       int64  `json:"endNS"`       // the same
	Outcome     string `json:"outcome"`     // one of the Outcome constants
	Error       string `json:"error,omitempty"`
	Log         string `json:"log,omitempty"` // path inside the run directory
	// Reason says why the step was skipped, where it is not what failed before it.
	Reason string `json:"reason,omitempty"`
	// Again is set where an interrupted process had begun the step already; the
	// times are those of the process that ended it.
	Again bool `json:"again,omitempty"`
}

// Severities of findings.
const (
	SeverityBlock = "block" // the upgrade would fail or must not start
	SeverityWarn  = "warn"
	SeverityInfo  = "info"
)

// FindingAgentsInTarget is the ID of the finding that the load was sent from the
// cluster under test.
const FindingAgentsInTarget = "agents-in-target"

// Finding is the result of a preflight or a check.
type Finding struct {
	ID       string `json:"id"` // stable and kebab-case, e.g. "component-missing"
	Severity string `json:"severity"`
	Object   string `json:"object"`
	Cause    string `json:"cause"`
	Remedy   string `json:"remedy"`
}
