package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/notify"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// runFlags are those of run.
type runFlags struct {
	scenario       scenarioFlags
	rehearsal      rehearsalFlags
	notify         notifyFlags
	output, resume string
}

func newRun(s Streams) *cobra.Command {
	var f runFlags
	formats := append(slices.Clone(reports.Formats), formatJSONL)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Rehearse the upgrade and return the verdict",
		Long: `run carries out the plan of one scenario: it creates the cluster, deploys the
canary, records the baseline, upgrades under load, checks, judges, writes the
report into a new directory under --out, and removes what it created.

An interrupt (Ctrl-C, SIGTERM) at any moment cleans up and ends with 130; a
second one stops at once and prints what is left and how to delete it.

A run whose process was killed, or that was interrupted with --keep-cluster, is
gone on with by --resume RUNDIR: what was carried out is not repeated.

With --prove the gate is proven before it is trusted: see rehearse prove. Where
a planted fault is missed, nothing is rehearsed and the exit code is 3.

For machines -o jsonl tells what happens as it happens, and --metrics-addr
serves Prometheus.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", f.output, formats...); err != nil {
				return err
			}
			if f.resume != "" {
				if err := alone(cmd, "resume", "scenario", "file", "driver", "out", "prove"); err != nil {
					return err
				}
			}
			webhook, err := f.notify.open()
			if err != nil {
				return err
			}
			m, end := f.run(cmd.Context(), s)
			if m != nil {
				f.notify.tell(cmd.Context(), webhook, *m, end)
			}
			f.rehearsal.spectators.close(cmd.Context(), s)
			return end
		},
	}
	f.scenario.bind(cmd)
	f.rehearsal.bind(cmd)
	cmd.Flags().StringVar(&f.resume, "resume", "", "go on with the interrupted run of this run directory, by the scenario it was begun with")
	f.notify.bind(cmd)
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "what standard output gets: "+strings.Join(formats, ", ")+" (one JSON object a line, as things happen)")
	return cmd
}

// run carries the command out. Without a message nothing was rehearsed that
// anybody waits to hear of.
func (f *runFlags) run(ctx context.Context, s Streams) (*notify.Message, error) {
	if f.resume != "" {
		return f.resumed(ctx, s)
	}
	sc, err := f.scenario.pick()
	if err != nil {
		return nil, err
	}
	p, driver, err := f.scenario.planOf(ctx, sc)
	if err != nil {
		return nil, err
	}
	if sc.Upgrade.AutoInterval() && f.output == formatJSONL {
		return nil, usage(fmt.Errorf("-o %s follows one rehearsal, and interval: %s carries out several; choose another format", formatJSONL, scenarios.AutoInterval))
	}
	err = f.rehearsal.open(ctx, s, f.output)
	lines := f.rehearsal.spectators.lines
	if err != nil {
		return nil, lines.end(nil, messageOfRun(p.Scenario, nil), err)
	}
	if p.NothingToDo {
		why := fmt.Sprintf("Scenario %s: from and to are both %s: nothing to do.", p.Scenario.Name, p.Scenario.Versions.To)
		if lines == nil {
			fmt.Fprintln(s.Out, why)
		}
		m := messageOfRun(p.Scenario, nil)
		m.Outcome, m.Summary = nothingToDo, why
		return nil, lines.end(nil, m, nil)
	}
	if sc.Upgrade.AutoInterval() {
		return nil, searchRun(ctx, s, &f.scenario, &f.rehearsal, sc, f.output)
	}
	res, end := f.rehearsal.carryOut(ctx, s, p, driver)
	if res != nil {
		end = tellRun(s, res, end, f.output)
	}
	m := messageOfRun(p.Scenario, res)
	return &m, lines.end(res, m, end)
}

// nothingToDo is the outcome of a message where there is no upgrade to rehearse.
const nothingToDo = "NOTHING-TO-DO"

// tellRun prints the outcome of a run and returns what gives its exit code.
func tellRun(s Streams, res *harness.Result, runErr error, output string) error {
	tellKept(s, res)
	if runErr != nil {
		return failed(runErr)
	}
	if output != formatJSONL {
		if err := render(s, res.Dir, output, res.Record, res.Verdict); err != nil {
			return failed(fmt.Errorf("%w; the same report is in %s", err, res.Dir))
		}
	}
	if err := notCarriedOut(res); err != nil {
		return err
	}
	if output == "text" {
		tellForecast(s.Out, res.Record)
	}
	return verdictExit(res.Verdict)
}

// notCarriedOut returns what ends a run that has no verdict on the upgrade.
func notCarriedOut(res *harness.Result) error {
	switch {
	case res.Record.Run.Outcome == record.OutcomeInterrupted && len(res.Kept) > 0:
		return &exitError{ExitInterrupted, fmt.Errorf("interrupted; the cluster was kept, the record so far is in %s. %s", res.Dir, english.Capital(comeBack(res.Dir, res.Record.Run.Driver)))}
	case res.Record.Run.Outcome == record.OutcomeInterrupted && len(res.Left) > 0:
		return &exitError{ExitInterrupted, fmt.Errorf("interrupted; %s could not be removed: delete it with the command above. The record so far is in %s", leftNames(res.Left), res.Dir)}
	case res.Record.Run.Outcome == record.OutcomeInterrupted:
		return &exitError{ExitInterrupted, errors.New("interrupted; what was created has been removed, the record so far is in " + res.Dir)}
	case res.Err != nil:
		return failed(fmt.Errorf("the rehearsal could not be carried out: %w\nThe record is in %s", res.Err, res.Dir))
	}
	return nil
}

func leftNames(left []cleanup.Entry) string {
	var names []string
	for _, l := range left {
		names = append(names, l.What)
	}
	return strings.Join(names, ", ")
}

func verdictExit(v judge.Verdict) error {
	switch v.Outcome {
	case judge.Go:
		return nil
	case judge.NoGo:
		return &exitError{code: ExitNoGo}
	default:
		return &exitError{code: ExitInconclusive}
	}
}
