package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Newest is how many earlier runs are used: the newest ones. It is what P99
// takes; older runs would only tell of older software.
const Newest = EnoughP99

// Run is an earlier run that counts.
type Run struct {
	Dir     string
	ID      string
	Ended   time.Time
	Figures []Figure
}

// LeftOut says how many run directories did not count, and why.
type LeftOut struct {
	Why  string `json:"why"`
	Runs int    `json:"runs"`
}

// Past is the earlier runs that count, newest first, and the others.
type Past struct {
	Dir     string
	Runs    []Run
	LeftOut []LeftOut // in order of Why
}

// Why a run directory does not count.
const (
	leftOther      = "another scenario"
	leftShape      = "the scenario differs in more than versions and thresholds"
	leftLater      = "not earlier than this run"
	leftIncomplete = "not complete"
	leftUntrusted  = "the record cannot be read or trusted"
	leftOlder      = "older than the newest 299"
)

// Read finds the run directories directly below dir that count as earlier runs
// of the run of like. Each one that could count is read as a whole and judged
// anew, one at a time, newest first, until Newest are found; ctx ends that. A
// directory without a run.json is no run directory and is passed over; a record
// that is damaged or was tampered with does not count. The error is for dir
// itself.
func Read(ctx context.Context, dir string, like *record.Record) (*Past, error) {
	shape, err := Shape(&like.Run)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("earlier runs: %w; name the directory that holds the run directories", err)
	}
	left := map[string]int{}
	var candidates []Run
	seen := map[string]bool{like.Run.ID: true}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		run, err := peek(path)
		switch {
		case errors.Is(err, os.ErrNotExist), err == nil && run.ID == like.Run.ID:
			continue
		case err != nil:
			left[leftUntrusted]++
		case seen[run.ID]:
			continue // a copy
		default:
			seen[run.ID] = true
			if why := unlike(run, like, shape); why != "" {
				left[why]++
				continue
			}
			candidates = append(candidates, Run{Dir: path, ID: run.ID, Ended: run.Ended})
		}
	}
	slices.SortFunc(candidates, func(a, b Run) int {
		if c := b.Ended.Compare(a.Ended); c != 0 {
			return c
		}
		return strings.Compare(a.Dir, b.Dir)
	})
	p := &Past{Dir: dir}
	for _, c := range candidates {
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("earlier runs: %w", err)
		}
		if len(p.Runs) == Newest {
			left[leftOlder]++
			continue
		}
		why := c.judge()
		if why != "" {
			left[why]++
			continue
		}
		p.Runs = append(p.Runs, c)
	}
	for why, n := range left {
		p.LeftOut = append(p.LeftOut, LeftOut{Why: why, Runs: n})
	}
	slices.SortFunc(p.LeftOut, func(a, b LeftOut) int { return strings.Compare(a.Why, b.Why) })
	return p, nil
}

// peek reads run.json alone, unverified: enough to pass over what cannot count.
func peek(dir string) (*record.Run, error) {
	b, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		// A plain file beside the run directories has no run.json either.
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return nil, os.ErrNotExist
		}
		return nil, err
	}
	var run record.Run
	if err := json.Unmarshal(b, &run); err != nil {
		return nil, err
	}
	return &run, nil
}

// unlike says why an earlier run cannot be compared, or nothing.
func unlike(run *record.Run, like *record.Record, shape string) string {
	if run.Name != like.Run.Name {
		return leftOther
	}
	if got, err := Shape(run); err != nil || got != shape {
		return leftShape
	}
	if run.Ended.IsZero() || run.Outcome == record.OutcomeRunning {
		return leftIncomplete
	}
	if !run.Ended.Before(like.Run.Ended) {
		return leftLater
	}
	return ""
}

// judge fills in the figures, or says why the run does not count.
func (r *Run) judge() string {
	rec, v, s, err := judged(r.Dir)
	switch {
	case err != nil:
		return leftUntrusted
	case !rec.Complete:
		return leftIncomplete
	case v.Outcome != judge.Go:
		return "its verdict is " + string(v.Outcome)
	}
	r.Figures = Figures(rec, v, s.Thresholds.LatencyFloor.Duration)
	return ""
}
