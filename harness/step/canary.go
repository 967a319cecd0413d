package step

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// Canary deploys the web service that receives the traffic, puts a balancer
// before it, and starts its twin outside the cluster behind another.
type Canary struct {
	Replicas                     int
	MaxUnavailable, MinAvailable *int // of the budget; both nil for none
	BodyBytes                    int
	Latency                      time.Duration
	ShutdownDelay, GracePeriod   time.Duration
	Timeout                      time.Duration
}

// Describe implements Step.
func (s Canary) Describe() string {
	budget := "no budget"
	switch {
	case s.MaxUnavailable != nil:
		budget = "budget maxUnavailable " + strconv.Itoa(*s.MaxUnavailable)
	case s.MinAvailable != nil:
		budget = "budget minAvailable " + strconv.Itoa(*s.MinAvailable)
	}
	return fmt.Sprintf("Deploy the canary (%s, %s) behind a balancer, and its twin outside the cluster", english.Count(s.Replicas, "replica"), budget)
}

// exposedWithin bounds each of what the driver does for the canary: its image on
// every node, the balancer before it, which a cloud takes minutes for, its twin.
const exposedWithin = 30 * time.Minute

// Run implements Step.
func (s Canary) Run(ctx context.Context, env *Env) error {
	imager, err := capability[cluster.CanaryImager](env)
	if err != nil {
		return err
	}
	err = bounded(ctx, exposedWithin, func(ctx context.Context) (err error) {
		env.CanaryImage, err = imager.CanaryImage(ctx, env.Cluster)
		return err
	})
	if err != nil {
		return fmt.Errorf("the canary's image: %w", err)
	}
	cfg := deploy.Config{
		Image: env.CanaryImage, Replicas: s.Replicas, BodyBytes: s.BodyBytes, Latency: s.Latency,
		ShutdownDelay: s.ShutdownDelay, GracePeriod: s.GracePeriod,
		Namespace: deploy.DefaultNamespace, Name: deploy.DefaultName, NodePort: deploy.DefaultNodePort,
	}
	if s.MaxUnavailable != nil || s.MinAvailable != nil {
		cfg.Budget = &deploy.Budget{MaxUnavailable: s.MaxUnavailable, MinAvailable: s.MinAvailable}
	}
	if err := retryAPI(ctx, env, "deploy the canary", func() error { return deploy.Deploy(ctx, env.client(), cfg) }); err != nil {
		return fmt.Errorf("deploy the canary: %w", err)
	}
	if err := deploy.WaitReady(ctx, env.client(), cfg, s.Timeout); err != nil {
		return err
	}
	if err := s.expose(ctx, env, cfg); err != nil {
		return err
	}
	return s.twin(ctx, env, cfg)
}

func (s Canary) expose(ctx context.Context, env *Env, cfg deploy.Config) error {
	x, err := capability[cluster.Exposer](env)
	if err != nil {
		return err
	}
	err = bounded(ctx, exposedWithin, func(ctx context.Context) (err error) {
		env.Canary, err = x.Expose(ctx, env.Cluster, cluster.Service{
			Namespace: cfg.Namespace, Name: cfg.Name, NodePort: cfg.NodePort, HealthPath: canary.PathReady,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("the balancer before the canary: %w", err)
	}
	return nil
}

func (s Canary) twin(ctx context.Context, env *Env, cfg deploy.Config) error {
	h, err := capability[cluster.TwinHost](env)
	if err != nil {
		return err
	}
	err = bounded(ctx, exposedWithin, func(ctx context.Context) (err error) {
		env.Twin, err = h.StartTwin(ctx, env.Cluster, cluster.Workload{
			Image: cfg.Image, Port: canary.DefaultPort, Replicas: cfg.Replicas, Args: []string{
				"-body-bytes=" + strconv.Itoa(cfg.BodyBytes), "-latency=" + cfg.Latency.String(),
			},
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("the twin outside the cluster: %w", err)
	}
	return nil
}
