// Package probes holds the observations that are not load: a probe makes one
// observation, the scheduler owns time, and a watch writes what the cluster
// says about itself into the timeline.
package probes

import (
	"context"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Probe makes one observation.
type Probe interface {
	// Name is the probe's name in the record: probes/<name>.ndjson.
	Name() string
	// Check observes once and returns nil when the thing observed was fine. It
	// returns when ctx ends. An error that is, or wraps, a Failure says its own
	// class; any other error is classed by Classify.
	Check(ctx context.Context) error
}

// Timed is a probe that says when its observation began, where that is later than
// its Check, as when it waits for something first. The zero time is the Check's.
type Timed interface {
	Probe
	// CheckFrom is Check, and says from when on it observed.
	CheckFrom(ctx context.Context) (from time.Time, err error)
}

// Sink takes the observations of a running scheduler. Samples of one probe come
// one at a time and in order; samples of different probes come concurrently.
type Sink interface {
	ProbeSample(probe string, s record.ProbeSample) error
}

// SinkFunc is a function as a Sink.
type SinkFunc func(probe string, s record.ProbeSample) error

// ProbeSample calls f.
func (f SinkFunc) ProbeSample(probe string, s record.ProbeSample) error { return f(probe, s) }

// Func returns a probe called name whose observation is check.
func Func(name string, check func(ctx context.Context) error) Probe {
	return funcProbe{name: name, check: check}
}

type funcProbe struct {
	name  string
	check func(ctx context.Context) error
}

func (p funcProbe) Name() string                    { return p.name }
func (p funcProbe) Check(ctx context.Context) error { return p.check(ctx) }
