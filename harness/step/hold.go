package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Hold lets a phase of the load pass.
type Hold struct {
	Phase string
	What  string
	For   time.Duration
}

// Describe implements Step.
func (s Hold) Describe() string { return fmt.Sprintf("%s for %s", s.What, s.For) }

// Run implements Step.
func (s Hold) Run(ctx context.Context, env *Env) error {
	if err := env.phase(s.Phase); err != nil {
		return err
	}
	return pause.For(ctx, s.For)
}
