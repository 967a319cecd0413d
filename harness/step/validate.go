package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// Validate waits until the cluster was seen healthy several times in a row, and
// then for the interval: the pause between nodes.
type Validate struct {
	What           string
	Consecutive    int
	Every, Timeout time.Duration
	Interval       time.Duration
}

// Describe implements Step.
func (s Validate) Describe() string {
	d := fmt.Sprintf("%s: validate the cluster %d times in a row, %s apart", s.What, s.Consecutive, s.Every)
	if s.Interval > 0 {
		d += fmt.Sprintf(", then wait %s", s.Interval)
	}
	return d
}

// Run implements Step.
func (s Validate) Run(ctx context.Context, env *Env) error {
	err := system.WaitHealthy(ctx, env.client(), system.HealthOptions{
		Consecutive: s.Consecutive, Interval: s.Every, Timeout: s.Timeout,
		CanaryNamespace: deploy.DefaultNamespace, CanaryName: deploy.DefaultName, Events: env.Timeline,
		Blocked: func(by string) { env.Log.Warn("the cluster is not healthy yet: " + by) },
	})
	if err != nil {
		return err
	}
	return pause.For(ctx, s.Interval)
}
