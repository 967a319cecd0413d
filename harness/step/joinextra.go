package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// JoinExtra joins workers for the time of the roll. They are at the target
// version, and so may come only when the control planes are there.
type JoinExtra struct {
	Count   int
	To      cluster.Version
	Timeout time.Duration // of each worker's join and becoming Ready
}

// Describe implements Step.
func (s JoinExtra) Describe() string {
	it := "it is"
	if s.Count > 1 {
		it = "they are"
	}
	return fmt.Sprintf("Join %s at %s for the time of the roll, and wait until %s Ready", english.Count(s.Count, "extra worker"), s.To, it)
}

// Run implements Step.
func (s JoinExtra) Run(ctx context.Context, env *Env) error {
	roll, err := env.roll(ctx, s.To)
	if err != nil {
		return err
	}
	for i := range s.Count {
		was := ""
		if i < len(roll.Extra) {
			was = roll.Extra[i]
		}
		name, err := joinWorker(ctx, env, roll, was, s.Timeout)
		if err != nil {
			return err
		}
		switch {
		case name == was:
			continue
		case was != "":
			roll.Extra[i] = name
		default:
			roll.Extra = append(roll.Extra, name)
		}
		env.rolled()
	}
	for _, name := range roll.Extra {
		if err := waitNode(ctx, env, name, s.To.String(), s.Timeout); err != nil {
			return fmt.Errorf("the extra worker: %w", err)
		}
	}
	return nil
}
