package step

import (
	"context"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// CordonPool cordons all old workers, so that what is evicted from one goes to
// the new pool.
type CordonPool struct {
	Of int // old workers
	To cluster.Version
}

// Describe implements Step.
func (s CordonPool) Describe() string {
	return fmt.Sprintf("Cordon the old pool of %s", english.Count(s.Of, "worker"))
}

// Run implements Step.
func (s CordonPool) Run(ctx context.Context, env *Env) error {
	_, old, err := env.oldPool(ctx, s.To, s.Of)
	if err != nil {
		return err
	}
	_, err = cordonAll(ctx, env, old)
	return err
}
