// Package probes holds the observations that are not load: a probe makes one
// observation, the scheduler owns time, and a watch writes what the cluster
// says about itself into the timeline.
package probes

import "context"

// Probe makes one observation.
type Probe interface {
	// Name is the probe's name in the record: probes/<name>.ndjson.
	Name() string
	// Check observes once and returns nil when the thing observed was fine. It
	// returns when ctx ends.
	Check(ctx context.Context) error
}
