// Package search finds the smallest interval between nodes, and the smallest
// surge, with which a roll goes unnoticed, by whole rehearsals, and forecasts how
// long production's roll will take from how long each node took in one.
//
// What a trial is, and where its record is kept, is the caller's business: the
// package only decides which trial comes next.
package search

import (
	"context"
	"fmt"
	"time"
)

// Setting is what a trial tries.
type Setting struct {
	Interval time.Duration `json:"intervalNS"` // between two nodes
	Surge    int           `json:"surge"`      // workers that join before others go
}

// String writes "15s" or "15s, surge 1".
func (s Setting) String() string {
	if s.Surge == 0 {
		return s.Interval.String()
	}
	return fmt.Sprintf("%s, surge %d", s.Interval, s.Surge)
}

// Outcome of one trial.
type Outcome string

// Outcomes of trials: whether the thresholds were met, or could not be judged.
const (
	Met       Outcome = "met"
	NotMet    Outcome = "not-met"
	Undecided Outcome = "undecided"
)

// Trial is one rehearsal that was carried out.
type Trial struct {
	Setting
	Outcome Outcome `json:"outcome"`
	// Dir is the trial's run directory, and Why its verdict's summary.
	Dir string `json:"dir"`
	Why string `json:"why"`
}

// Try carries out one rehearsal. An error ends the search: the rehearsal could
// not be carried out.
type Try func(ctx context.Context, s Setting) (Trial, error)

// Space is what is searched.
type Space struct {
	// Ladder are the intervals to choose from, ascending, at least one.
	Ladder []time.Duration
	// MaxSurge is the largest surge to try; 0 leaves the surge alone.
	MaxSurge int
}

// Ladder returns the intervals that are tried between 0 and longest: 0, then
// doubling from first on, and longest itself. First and longest are above 0.
func Ladder(first, longest time.Duration) []time.Duration {
	out := []time.Duration{0}
	for d := first; d < longest; d *= 2 {
		out = append(out, d)
	}
	return append(out, longest)
}

// Result of a search.
type Result struct {
	// Best is the smallest setting that met the thresholds, nil where none did.
	Best   *Setting `json:"best"`
	Trials []Trial  `json:"trials"` // in the order in which they were carried out
}

// Find returns the smallest interval of the ladder that meets the thresholds,
// with the smallest surge that meets them with any interval. For each surge from
// 0 up the longest interval is tried first: where it is not enough, no shorter
// one is, and the next surge's turn has come. Otherwise the ladder is bisected,
// on the assumption that a longer interval does no harm: the number of trials is
// at most 2 (1 + ⌈log₂ n⌉) for each surge tried, of n intervals.
//
// A trial that cannot be judged is repeated once, and counts as not met when it
// cannot be judged again. On error the trials until then are returned.
func Find(ctx context.Context, space Space, try Try) (Result, error) {
	var r Result
	if len(space.Ladder) == 0 {
		return r, fmt.Errorf("search: no interval to try")
	}
	met := func(s Setting) (bool, error) {
		for range 2 {
			t, err := try(ctx, s)
			if err != nil {
				return false, fmt.Errorf("search: trial of interval %s: %w", s, err)
			}
			t.Setting = s
			r.Trials = append(r.Trials, t)
			if t.Outcome != Undecided {
				return t.Outcome == Met, nil
			}
		}
		return false, nil
	}
	for surge := range space.MaxSurge + 1 {
		best := Setting{Interval: space.Ladder[len(space.Ladder)-1], Surge: surge}
		ok, err := met(best)
		if err != nil {
			return r, err
		}
		if !ok {
			continue
		}
		for low, high := 0, len(space.Ladder)-1; low < high; {
			mid := (low + high) / 2
			s := Setting{Interval: space.Ladder[mid], Surge: surge}
			if ok, err = met(s); err != nil {
				return r, err
			}
			if ok {
				best, high = s, mid
			} else {
				low = mid + 1
			}
		}
		r.Best = &best
		return r, nil
	}
	return r, nil
}
