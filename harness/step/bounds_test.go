package step

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// hanging is a driver that never comes to an end by itself.
type hanging struct{ driver }

func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (hanging) Preflight(ctx context.Context, _ cluster.Spec, _ cluster.Version) ([]record.Finding, error) {
	return nil, hang(ctx)
}

func (hanging) Prepare(ctx context.Context, _ cluster.Spec, _ cluster.Version) error {
	return hang(ctx)
}

func (hanging) Stage(ctx context.Context, _ *cluster.Cluster, _ cluster.Version) error {
	return hang(ctx)
}

func (hanging) CanaryImage(ctx context.Context, _ *cluster.Cluster) (string, error) {
	return "", hang(ctx)
}

func (hanging) Leftovers(ctx context.Context) ([]cluster.Leftover, error) { return nil, hang(ctx) }

// A driver that hangs ends its step, whatever the scenario says.
func TestNothingHangsForEver(t *testing.T) {
	for _, tc := range []struct {
		step Step
		want string
	}{
		{Preflight{}, "not done after 15m0s: check this machine: context deadline exceeded"},
		{Prepare{To: []cluster.Version{"v1.35.4"}}, "not done after 6h0m0s: context deadline exceeded"},
		{Stage{To: "v1.35.4"}, "not done after 2h0m0s: context deadline exceeded"},
		{Canary{}, "the canary's image: not done after 30m0s: context deadline exceeded"},
	} {
		synctest.Test(t, func(t *testing.T) {
			env, _ := newEnv(hanging{})
			if err := tc.step.Run(t.Context(), env); err == nil || err.Error() != tc.want {
				t.Errorf("%T: %v, want %s", tc.step, err, tc.want)
			}
		})
	}
}
