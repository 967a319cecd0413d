package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/drivers"
	"github.com/kube-rehearse/rehearse/harness/notify"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// resumed goes on with the interrupted run of a run directory.
func (f *runFlags) resumed(ctx context.Context, s Streams) (*notify.Message, error) {
	m := notify.Message{Event: "run", Dir: f.resume}
	i, err := harness.Reopen(f.resume)
	if err != nil {
		return &m, usage(fmt.Errorf("--resume: %w", err))
	}
	m = messageOfRun(i.Scenario, nil)
	m.Dir = f.resume
	o := f.rehearsal.options(ctx, s, i.Scenario.Cluster.Driver)
	if o.Driver, err = drivers.Of(ctx, i.Scenario); err != nil {
		return &m, usage(errors.Join(fmt.Errorf("--resume: %w", err), i.Close()))
	}
	plan, err := harness.Plan(i.Scenario, o.Driver)
	if err != nil {
		return &m, usage(errors.Join(fmt.Errorf("--resume: %w", err), i.Close()))
	}
	if err := f.rehearsal.open(ctx, s, f.output); err != nil {
		return &m, f.rehearsal.spectators.lines.end(nil, m, errors.Join(err, i.Close()))
	}
	f.rehearsal.spectators.join(s, &o, plan)
	o.Begun(f.resume)
	defer raisePriority()()
	res, err := harness.Resume(ctx, i, plan, o)
	end := failed(err)
	if res != nil {
		m, end = messageOfRun(i.Scenario, res), tellRun(s, res, err, f.output)
	}
	return &m, f.rehearsal.spectators.lines.end(res, m, end)
}

func resumeCommand(dir string) string { return "rehearse run --resume " + dir }

// tellBegun says where the record is, while there is still somebody to say it.
func tellBegun(s Streams, in *interrupts, dir, driver string) {
	if resumable(driver) {
		in.begun(dir)
	}
	fmt.Fprintf(s.Err, "Record: %s (if this process is killed, %s)\n", dir, comeBack(dir, driver))
}

// resumable reports whether a run with the driver is gone on with by another process.
func resumable(driver string) bool {
	return driver != scenarios.DriverSim && driver != scenarios.DriverExisting
}

// comeBack says what there is to do about a run that has not come to its end.
func comeBack(dir, driver string) string {
	switch {
	case resumable(driver):
		return "go on with: " + resumeCommand(dir)
	case driver == scenarios.DriverSim:
		return "its embedded cluster ends with it: rehearse anew"
	default:
		return "its command is not run a second time; what it made is removed as this says: " + resumeCommand(dir)
	}
}
