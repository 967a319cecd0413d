// Package prove tests the gate before it is trusted: it plants known faults,
// one to a rehearsal, and requires that the verdict of each finds the fault,
// names it and bounds it. A gate that has never failed proves nothing, and one
// that refuses a clean upgrade is not used for long: so clean runs, which must
// be GO, are among the rows.
//
// The package knows no driver. A Bed plants the faults of one kind of cluster
// and rehearses; Evaluate compares a record and its verdict with what was
// planted when; Run does both for a whole table.
package prove

import (
	"context"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Fault is one row of the table: something to plant, and what must be found.
type Fault struct {
	Name   string // kebab-case, unique in its bed
	What   string // one line for a person
	Expect Expect
	// Clean marks a run without a fault.
	Clean bool
	// Alone asks for the machine: nothing else is rehearsed meanwhile.
	Alone bool
	// Takes is how long its rehearsal takes, roughly; the longest begin first.
	Takes time.Duration
}

// Expect is what the verdict must say of a fault. Everything that is given must
// hold; what is left zero is not looked at.
type Expect struct {
	// Outcomes are the verdicts that are right; any other is not.
	Outcomes []judge.Outcome
	// Failed are ids of criteria, or patterns as of path.Match ("outage/*"). For
	// each, a criterion must have failed.
	Failed []string
	// Warned are patterns of criteria one of whose warnings must give the names.
	Warned []string
	// Spared are patterns of criteria that must not have failed.
	Spared []string
	// Rules are validity rules that must have failed, one each.
	Rules []string
	// Names must each stand in one text of what was found: the cause of an
	// outage, or the explanation of a criterion or rule. "{object}" stands for
	// what the bed says it hit.
	Names []string
	// Outage, Probe and Growth bound the truth.
	Outage *Outage
	Probe  *Probe
	Growth *Growth
}

// Outage expects an outage on lanes, bounded by when the fault was there: its
// lower bound must not exceed the truth and its upper bound not fall below it,
// and it must lie where the fault was. The tolerance is 2/rate, how long requests
// were on their way there, and what the mechanism adds.
type Outage struct {
	Lanes []string
	// Adds is how much longer than the fault the mechanism may keep the service
	// away at its end: reconnecting, health checks.
	Adds time.Duration
	// Hides is how much of the fault the requests may miss at each edge: where
	// only some requests suffer, or a health check comes first.
	Hides time.Duration
}

// Probe expects that one of the probes saw the fault as one downtime, bounded
// like an outage; the tolerance is two intervals of the probe.
type Probe struct {
	Names []string
	Adds  time.Duration
}

// Growth expects that the bounds of the failed latency criteria hold the truth,
// give or take Within.
type Growth struct{ Truth, Within float64 }

// Planted is what a bed did, and when it was really there.
type Planted struct {
	// From and To are wall-clock times. Zero From is from the run's start, zero
	// To until its end.
	From, To time.Time
	// Object is what was hit, where only the bed knows: "node/NAME".
	Object string
}

// Trial is one rehearsal with a fault in it.
type Trial struct {
	Record  *record.Record
	Verdict judge.Verdict
	Planted Planted
}

// Bed plants the faults of one kind of cluster.
type Bed interface {
	// Driver is the name of the driver that rehearses.
	Driver() string
	// Faults is the whole table, clean runs included, in the order to show it.
	Faults() []Fault
	// Width is how many rehearsals may go on at once without disturbing each
	// other's measurement; 1 on a real cluster.
	Width() int
	// Rehearse carries out one whole rehearsal with the fault of that name
	// planted and removes everything but the record, a new directory in out.
	// The error is for a rehearsal that could not be carried out; a failed
	// upgrade is no error. It may be called from several goroutines.
	Rehearse(ctx context.Context, fault, out string) (Trial, string, error)
}
