package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// RemoveExtra drains and removes a worker that joined for the time of the roll.
type RemoveExtra struct {
	Index, Of int // 0-based, and how many extra workers there are
	To        cluster.Version
	Drain     DrainOptions
	Timeout   time.Duration // of the removal
}

// Describe implements Step.
func (s RemoveExtra) Describe() string {
	return fmt.Sprintf("Remove extra %s: %s, remove", numbered(s.Index, 1, s.Of), s.Drain)
}

// Run implements Step.
func (s RemoveExtra) Run(ctx context.Context, env *Env) error {
	roll, err := env.roll(ctx, s.To)
	if err != nil {
		return err
	}
	if s.Index >= len(roll.Extra) {
		return fmt.Errorf("%s joined for the time of the roll, the plan counted on at least %d", english.Count(len(roll.Extra), "worker"), s.Index+1)
	}
	name := roll.Extra[s.Index]
	env.event(timeline.KindUpgradeStart, "node/"+name, rolling(roll, timeline.StrategyExtraCapacity, name, nil))
	err = drainAll(ctx, env, []string{name}, s.Drain)
	if err == nil {
		err = removeAll(ctx, env, []string{name}, s.Timeout)
	}
	env.event(timeline.KindUpgradeEnd, "node/"+name, rolling(roll, timeline.StrategyExtraCapacity, name, err))
	return err
}
