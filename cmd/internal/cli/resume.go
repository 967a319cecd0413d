package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/notify"
)

// resumeRun goes on with the interrupted run of a run directory.
func resumeRun(ctx context.Context, s Streams, dir string, f *rehearsalFlags, output string) (notify.Message, error) {
	m := notify.Message{Event: "run", Dir: dir}
	i, err := harness.Reopen(dir)
	if err != nil {
		return m, usage(fmt.Errorf("--resume: %w", err))
	}
	m = messageOfRun(i.Scenario, nil)
	m.Dir = dir
	o := f.options(ctx, s)
	if o.Driver, err = driverOf(ctx, i.Scenario); err != nil {
		return m, usage(errors.Join(fmt.Errorf("--resume: %w", err), i.Close()))
	}
	plan, err := harness.Plan(i.Scenario, o.Driver)
	if err != nil {
		return m, usage(errors.Join(fmt.Errorf("--resume: %w", err), i.Close()))
	}
	tellBegun(s, interruptsOf(ctx), dir)
	f.lines.begin(plan)
	defer raisePriority()()
	res, err := harness.Resume(ctx, i, plan, o)
	if res == nil {
		return m, failed(err)
	}
	return messageOfRun(i.Scenario, res), tellRun(s, res, err, output, f.lines)
}

func resumeCommand(dir string) string { return "rehearse run --resume " + dir }

// tellBegun says where the record is, while there is still somebody to say it.
func tellBegun(s Streams, in *interrupts, dir string) {
	in.begun(dir)
	fmt.Fprintf(s.Err, "Record: %s (if this process is killed, go on with: %s)\n", dir, resumeCommand(dir))
}
