package reports

import (
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// View is everything that a report shows, in the order in which it shows it.
// Its texts are neutralised (see the package comment), its numbers are not yet
// formatted. Offsets are durations from the start of the run.
type View struct {
	// Verdict is the verdict document as it was judged, for machines.
	Verdict judge.Verdict

	Outcome   judge.Outcome
	Summary   string // why, in one or two sentences
	Simulated bool
	Run       Run

	Resolution []Resolution
	Agents     []Agent // that sent the load; none where the runner's process did
	Lanes      []Lane
	Criteria   []Criterion // failed first, then inconclusive, passed, reported
	Validity   []Validity
	Outages    []Outage
	Ledger     Ledger
	Losses     []Loss // lost requests that the record holds singly, grouped
	MoreLost   uint64 // lost requests that are in no group of Losses
	Components []Component
	Nodes      []Node
	Findings   []Finding // blocking first
	Steps      []Step
	Warnings   []string  // of the judge, and damage of the record
	Fidelity   *Fidelity // nil where the scenario mirrors no production
	Proof      *Proof    // nil where the gate was not proven before the run

	rec *record.Record
}

// Run is who ran what, where, and how far it came.
type Run struct {
	ID, Name, Tool, Command string
	Driver                  string
	From, To                string // versions asked for
	Before, After           string // versions the API server reported; empty where it was not asked
	Started                 time.Time
	Duration                time.Duration // 0 where the run did not end in order
	Outcome                 string
	Failure                 string
	ScenarioSHA256          string
	Scenario                string // resolved, as indented JSON
	Host                    string // operating system, CPUs, memory
	Pressure                *float64
	Network                 string
	Interruptions           []Interruption
}

// Interruption is a stretch in which nobody carried the run out.
type Interruption struct {
	Span
	Anew bool // the upgrade had not begun, and everything was measured again
}

// Complete reports whether the rehearsal ran to its end.
func (r Run) Complete() bool { return r.Outcome == record.OutcomePassed }

// Resolution says what the measurement of one lane could have seen: an outage of
// Outage or more, and an error rate that is a share of one, at 95%.
type Resolution struct {
	Lane      string
	Outage    time.Duration
	ErrorRate float64
	Explain   string
}

// Lane is one lane of load, of Rate requests a second, with its figures by phase.
type Lane struct {
	Name, Target string
	Rate         float64
	Timeout      time.Duration
	Control      bool
	Phases       []LanePhase
}

// LanePhase holds a lane's figures in one phase. Latencies are in milliseconds.
type LanePhase struct {
	Name                    string
	Due, Sent, Lost, Unsent uint64
	P50, P90, P99, P999     float64
	Max                     float64
	Classes                 []Count // of the lost requests, most frequent first
}

// Phase returns the lane's figures of a phase, and whether there are any.
func (l Lane) Phase(name string) (LanePhase, bool) {
	for _, p := range l.Phases {
		if p.Name == name {
			return p, true
		}
	}
	return LanePhase{}, false
}

// Count is how often something occurred.
type Count struct {
	Name  string
	Count uint64
}

// Criterion is one thing judged; judge.Criterion says what its numbers are.
type Criterion struct {
	ID, Name, Lane, Unit string
	Threshold, Estimate  *float64
	Interval             *[2]float64
	PValue               *float64
	Samples              judge.Samples
	Result               judge.Result
	Explain              string
	Warnings             []string
	// Component is the system component that the criterion is about, or empty.
	Component string
}

// Validity is one rule about the measurement itself; judge.Validity says what its
// numbers are.
type Validity struct {
	Rule, Lane, Unit, Explain string
	Value, Limit              float64
	Result                    judge.Result
	Unusable                  []Span
}

// Span is a half-open stretch of the run.
type Span struct{ Start, End time.Duration }

// Outage is a stretch in which a lane could not be served. It lasted at least
// AtLeast and at most AtMost; Failed of Sent requests failed, by class in Classes,
// the most frequent first. Nearby are the events closest to it. One that is not
// Usable counts neither for nor against the upgrade.
type Outage struct {
	Lane, Phase     string
	Span            Span
	AtLeast, AtMost time.Duration
	Failed, Sent    uint64
	Classes         []Count
	Nearby          []string
	Cause           string // what explains it, or that nothing does
	Usable          bool
}

// Component is a system component before and after the upgrade.
type Component struct {
	Name, Kind    string
	Before, After *ComponentState // nil where the run took no snapshot
	Restarts      int             // of its containers, between the two snapshots
	Result        judge.Result    // of the criterion about it; reported where there is none
	Explain       string
}

// ComponentState is a component in one snapshot.
type ComponentState struct {
	Present        bool
	Ready, Desired int
	Versions       []string
	Problem        string
	Members        []string // of etcd, each with its health
}

// Node is a node before and after the upgrade. A version is empty where the
// node was not there or the run took no snapshot.
type Node struct {
	Name             string
	ControlPlane     bool
	KubeletBefore    string
	KubeletAfter     string
	KubeProxyBefore  string
	KubeProxyAfter   string
	ReadyAfter       bool
	Observed         bool // in the snapshot after the upgrade
	Gone             bool // in the snapshot before the upgrade, and not in the one after
	New              bool // the other way round
	RuntimeAfter, OS string
}

// Finding is the result of a preflight or a check.
type Finding struct {
	ID, Severity, Object, Cause, Remedy string
	// Also are further objects of which the same was found.
	Also []string
}

// moreObjects is how many further objects of a finding a text names.
const moreObjects = 8

// also says of which further objects the same was found, the first few by name.
func (f Finding) also() string {
	if len(f.Also) <= moreObjects+1 {
		return strings.Join(f.Also, ", ")
	}
	return fmt.Sprintf("%s and %s more", strings.Join(f.Also[:moreObjects], ", "), english.Number(len(f.Also)-moreObjects))
}

// Step is one executed step of the plan.
type Step struct {
	Number      int
	Section     string // of the plan: prepare, measure, upgrade or judge
	Description string
	Span        Span
	Outcome     string
	Error, Log  string
}

// Duration returns how long the step took.
func (s Step) Duration() time.Duration { return max(0, s.Span.End-s.Span.Start) }
