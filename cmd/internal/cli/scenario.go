package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/drivers"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// scenarioFlags choose a scenario; plan and run share them.
type scenarioFlags struct {
	file, name, driver string
}

func (f *scenarioFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "file", "f", "scenarios.yaml", "scenario file")
	cmd.Flags().StringVar(&f.name, "scenario", "", "name of the scenario (default: the file's first)")
	cmd.Flags().StringVar(&f.driver, "driver", "", "driver to use instead of the scenario's")
}

// plan reads the scenario and makes its plan; every error is one of usage.
func (f *scenarioFlags) plan(ctx context.Context) (*harness.RunPlan, cluster.Driver, error) {
	s, err := f.pick()
	if err != nil {
		return nil, nil, err
	}
	return f.planOf(ctx, s)
}

// pick reads the scenario that the flags choose.
func (f *scenarioFlags) pick() (*scenarios.Scenario, error) {
	file, err := scenarios.LoadFile(f.file)
	if err != nil {
		return nil, usage(err)
	}
	s, err := file.Pick(f.name)
	if err != nil {
		return nil, usage(err)
	}
	if f.driver != "" {
		s.SetDriver(f.driver)
	}
	return s, nil
}

// planOf makes the plan of a scenario that is valid.
func (f *scenarioFlags) planOf(ctx context.Context, s *scenarios.Scenario) (*harness.RunPlan, cluster.Driver, error) {
	d, err := drivers.Of(ctx, s)
	switch {
	case err != nil && f.driver != "":
		return nil, nil, usage(fmt.Errorf("--driver: %w", err))
	case err != nil:
		return nil, nil, usage(fmt.Errorf("%s: scenario %s: %w", f.file, s.Name, err))
	}
	p, err := harness.Plan(s, d)
	if err != nil {
		return nil, nil, usage(fmt.Errorf("%s: scenario %s: %w", f.file, s.Name, err))
	}
	return p, d, nil
}
