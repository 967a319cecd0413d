package sim

import (
	"log/slog"
)

// Options tune the simulation. The zero value is a clean cluster, ten times as
// fast as a real one.
type Options struct {
	// Seed of every draw. The same seed gives the same names and delays; the
	// order in which goroutines meet is still the machine's.
	Seed uint64
	// Scale is how many times faster than a real cluster things happen inside
	// the cluster: start of pods, probes, grace periods, kubeadm, leases, health
	// checks. It defaults to DefaultScale. What the client observes (latency of
	// answers, length of outages) is never scaled back.
	Scale float64
	// Faults to plant; see Faults.
	Faults Faults
	// Log receives what the cluster does; nil means slog.Default().
	Log *slog.Logger
}

// DefaultScale is the scale of the zero Options: a kubeadm apply of three
// minutes takes 18 s.
const DefaultScale = 10
