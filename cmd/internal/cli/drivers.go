package cli

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/nodeimage"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// newDriver returns the driver called name.
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
