package step

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// ReplaceWorkers puts new workers at the target version in the place of a batch
// of old ones: the surge joins first, then the batch is drained together and
// removed, and the rest joins.
type ReplaceWorkers struct {
	First, Count, Of int // 0-based, how many, and of how many old workers
	Surge            int // of Count
	To               cluster.Version
	Drain            DrainOptions
	Timeout          time.Duration // of each worker's join, becoming Ready and removal
}

// Describe implements Step.
func (s ReplaceWorkers) Describe() string {
	by := "a new one"
	number := func(verb string, n int) string {
		if s.Count == 1 {
			return verb
		}
		return fmt.Sprintf("%s %d", verb, n)
	}
	if s.Count > 1 {
		by = "new ones"
	}
	var parts []string
	if s.Surge > 0 {
		parts = append(parts, number("join", s.Surge), "Ready")
	}
	drain := strings.Replace(s.Drain.String(), "drain", number("drain", s.Count), 1)
	parts = append(parts, drain, number("remove", s.Count))
	if rest := s.Count - s.Surge; rest > 0 {
		parts = append(parts, number("join", rest), "Ready")
	}
	return fmt.Sprintf("Replace %s by %s at %s: %s", numbered(s.First, s.Count, s.Of), by, s.To, strings.Join(parts, ", "))
}

// Run implements Step.
func (s ReplaceWorkers) Run(ctx context.Context, env *Env) error {
	roll, err := env.roll(ctx, s.To)
	if err != nil {
		return err
	}
	old, err := roll.old(s.First, s.Count)
	if err != nil {
		return err
	}
	for _, o := range old {
		env.event(timeline.KindUpgradeStart, "node/"+o, rolling(roll, strategyReplace, o, nil))
	}
	err = s.replace(ctx, env, roll, old)
	for _, o := range old {
		env.event(timeline.KindUpgradeEnd, "node/"+o, rolling(roll, strategyReplace, o, err))
	}
	return err
}

func (s ReplaceWorkers) replace(ctx context.Context, env *Env, roll *Roll, old []string) error {
	if err := joinFor(ctx, env, roll, old[:s.Surge], s.Timeout); err != nil {
		return err
	}
	if err := drainAll(ctx, env, old, s.Drain); err != nil {
		return err
	}
	if err := removeAll(ctx, env, old, s.Timeout); err != nil {
		return err
	}
	return joinFor(ctx, env, roll, old[s.Surge:], s.Timeout)
}
