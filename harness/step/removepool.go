package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// RemovePool removes the old workers, which were drained, one after another.
type RemovePool struct {
	Of      int // old workers
	To      cluster.Version
	Timeout time.Duration // of each
}

// Describe implements Step.
func (s RemovePool) Describe() string {
	return fmt.Sprintf("Remove the old pool of %s", english.Count(s.Of, "worker"))
}

// Run implements Step.
func (s RemovePool) Run(ctx context.Context, env *Env) error {
	_, old, err := env.oldPool(ctx, s.To, s.Of)
	if err != nil {
		return err
	}
	return removeAll(ctx, env, old, s.Timeout)
}
