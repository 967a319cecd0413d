package step

import (
	"context"
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// DrainWorker drains one worker of the old pool.
type DrainWorker struct {
	Index, Of int // 0-based, and how many old workers there are
	To        cluster.Version
	Drain     DrainOptions
}

// Describe implements Step.
func (s DrainWorker) Describe() string {
	return fmt.Sprintf("Drain %s of the old pool%s", numbered(s.Index, 1, s.Of), strings.TrimPrefix(s.Drain.String(), "drain"))
}

// Run implements Step.
func (s DrainWorker) Run(ctx context.Context, env *Env) error {
	roll, err := env.roll(ctx, s.To)
	if err != nil {
		return err
	}
	old, err := roll.old(s.Index, 1)
	if err != nil {
		return err
	}
	subject := "node/" + old[0]
	env.event(timeline.KindUpgradeStart, subject, rolling(roll, strategyPoolMigration, old[0], nil))
	err = drainAll(ctx, env, old, s.Drain)
	env.event(timeline.KindUpgradeEnd, subject, rolling(roll, strategyPoolMigration, old[0], err))
	return err
}
