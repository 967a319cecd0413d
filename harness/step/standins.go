package step

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// StandIns deploys stand-ins for production's workloads beside the canary, so
// that drains meet production's replicas and budgets.
type StandIns struct {
	List    []deploy.StandIn
	Timeout time.Duration
}

// Describe implements Step.
func (s StandIns) Describe() string {
	pods, budgets := 0, 0
	for _, w := range s.List {
		pods += w.Replicas
		if w.Budget != nil {
			budgets++
		}
	}
	return fmt.Sprintf("Deploy stand-ins for %s (%s, %s)", english.Count(len(s.List), "workload"), english.Count(pods, "pod"), english.Count(budgets, "budget"))
}

// Run implements Step.
func (s StandIns) Run(ctx context.Context, env *Env) error {
	err := retryAPI(ctx, env, "deploy the stand-ins", func() error {
		return deploy.ApplyStandIns(ctx, env.client(), env.CanaryImage, s.List)
	})
	if err != nil {
		return err
	}
	return deploy.WaitStandIns(ctx, env.client(), s.List, s.Timeout)
}
