package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// JoinPool joins as many new workers at the target version as there are old ones.
type JoinPool struct {
	Of      int // old workers
	To      cluster.Version
	Timeout time.Duration // of each worker's join and becoming Ready
}

// Describe implements Step.
func (s JoinPool) Describe() string {
	return fmt.Sprintf("Join a new pool of %s at %s beside the old one, and wait until it is Ready", english.Count(s.Of, "worker"), s.To)
}

// Run implements Step.
func (s JoinPool) Run(ctx context.Context, env *Env) error {
	roll, old, err := env.oldPool(ctx, s.To, s.Of)
	if err != nil {
		return err
	}
	return joinFor(ctx, env, roll, old, s.Timeout)
}
