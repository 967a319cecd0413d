// Package drivers knows every driver by the name that a scenario gives it. It is
// for whoever carries a scenario out, command or test suite; the harness itself
// is given a driver and knows none.
package drivers

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

// Of returns the scenario's driver. The error says what the scenario lacks for it;
// no cluster, cloud or container engine is asked anything, but credentials are
// looked for where the driver's cloud needs some.
func Of(ctx context.Context, s *scenarios.Scenario) (cluster.Driver, error) {
	name := s.Cluster.Driver
	switch {
	case !slices.Contains(scenarios.Drivers, name):
		return nil, fmt.Errorf("%q is unknown; accepted: %s", name, strings.Join(scenarios.Drivers, ", "))
	case name != scenarios.DriverExisting && s.Upgrade.Strategy == scenarios.StrategyCommand:
		return nil, fmt.Errorf("%q cannot carry out the strategy %s of scenario %s, which is for the driver %s: leave the driver as the scenario has it, or give a scenario of another strategy", name, scenarios.StrategyCommand, s.Name, scenarios.DriverExisting)
	}
	switch name {
	case scenarios.DriverSim:
		return sim.New(sim.Options{Seed: 1, Log: slog.New(slog.DiscardHandler)}), nil
	case scenarios.DriverKind:
		return Kind()
	case scenarios.DriverKops:
		return newKops(ctx, s)
	case scenarios.DriverEKS:
		return newEKS(ctx, s)
	case scenarios.DriverExisting:
		return existing.New(existing.Options{
			Kubeconfig: s.Cluster.Kubeconfig, Context: s.Cluster.Context, Namespace: deploy.DefaultNamespace,
			Image: s.Canary.Image, URL: s.Canary.URL, Annotations: s.Canary.ServiceAnnotations,
		})
	}
	return nil, fmt.Errorf("no driver is made for %q: this is a mistake in rehearse", name)
}

// Kind returns the driver of clusters in containers on this machine, with node
// images that are found, pulled or built.
func Kind() (*kind.Driver, error) {
	b, err := nodeimage.New(nodeimage.Options{})
	if err != nil {
		return nil, err
	}
	return kind.New(kind.Options{Images: b}), nil
}
