package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/existing"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/nodeimage"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// driverOf returns the scenario's driver.
func driverOf(ctx context.Context, s *scenarios.Scenario) (cluster.Driver, error) {
	if s.Cluster.Driver != scenarios.DriverExisting {
		if slices.Contains(scenarios.Drivers, s.Cluster.Driver) && s.Upgrade.Strategy == scenarios.StrategyCommand {
			return nil, fmt.Errorf("%q cannot carry out the strategy %s of scenario %s, which is for the driver %s: leave the driver as the scenario has it, or give a scenario of another strategy", s.Cluster.Driver, scenarios.StrategyCommand, s.Name, scenarios.DriverExisting)
		}
		switch s.Cluster.Driver {
		case scenarios.DriverKops:
			return newKops(s)
		case scenarios.DriverEKS:
			return newEKS(ctx, s)
		}
		return newDriver(s.Cluster.Driver)
	}
	return existing.New(existing.Options{
		Kubeconfig: s.Cluster.Kubeconfig, Context: s.Cluster.Context, Namespace: deploy.DefaultNamespace,
		Image: s.Canary.Image, URL: s.Canary.URL, Annotations: s.Canary.ServiceAnnotations,
	})
}

// newDriver returns the driver called name, which needs no scenario.
func newDriver(name string) (cluster.Driver, error) {
	switch name {
	case scenarios.DriverSim:
		return sim.New(sim.Options{Seed: 1, Log: slog.New(slog.DiscardHandler)}), nil
	case scenarios.DriverKind:
		return newKind()
	}
	return nil, fmt.Errorf("%q is unknown; accepted: %s", name, strings.Join(scenarios.Drivers, ", "))
}

func newKind() (*kind.Driver, error) {
	b, err := nodeimage.New(nodeimage.Options{})
	if err != nil {
		return nil, err
	}
	return kind.New(kind.Options{Images: b}), nil
}
