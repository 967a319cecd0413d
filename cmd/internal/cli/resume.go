package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness"
)

// resumeRun goes on with the interrupted run of a run directory.
func resumeRun(ctx context.Context, s Streams, dir string, o harness.Options, output string) error {
	i, err := harness.Reopen(dir)
	if err != nil {
		return usage(fmt.Errorf("--resume: %w", err))
	}
	if o.Driver, err = newDriver(i.Scenario.Cluster.Driver); err != nil {
		return usage(errors.Join(fmt.Errorf("--resume: %w", err), i.Close()))
	}
	plan, err := harness.Plan(i.Scenario, o.Driver)
	if err != nil {
		return usage(errors.Join(fmt.Errorf("--resume: %w", err), i.Close()))
	}
	tellBegun(s, interruptsOf(ctx), dir)
	defer raisePriority()()
	res, err := harness.Resume(ctx, i, plan, o)
	if res == nil {
		return failed(err)
	}
	return tellRun(s, res, err, output)
}

func resumeCommand(dir string) string { return "rehearse run --resume " + dir }

// tellBegun says where the record is, while there is still somebody to say it.
func tellBegun(s Streams, in *interrupts, dir string) {
	in.begun(dir)
	fmt.Fprintf(s.Err, "Record: %s (if this process is killed, go on with: %s)\n", dir, resumeCommand(dir))
}
