package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func newRun(s Streams) *cobra.Command {
	var scenario scenarioFlags
	var rehearsal rehearsalFlags
	var output, resume string
	var tell notifyFlags
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
a planted fault is missed, nothing is rehearsed and the exit code is 3.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, formats...); err != nil {
				return err
			}
			webhook, err := tell.open()
			if err != nil {
				return err
			}
			if output == formatJSONL {
				rehearsal.lines = newJSONL(s.Out, time.Now)
			}
			if resume != "" {
				m, end := resumeRun(cmd.Context(), s, resume, &rehearsal, output)
				tell.tell(cmd.Context(), webhook, m, end)
				return end
			}
			sc, err := scenario.pick()
			if err != nil {
				return err
			}
			p, driver, err := scenario.planOf(cmd.Context(), sc)
			if err != nil {
				return err
			}
			if p.NothingToDo {
				fmt.Fprintf(s.Out, "Scenario %s: from and to are both %s: nothing to do.\n", p.Scenario.Name, p.Scenario.Versions.To)
				return nil
			}
			if sc.Upgrade.AutoInterval() {
				return searchRun(cmd.Context(), s, &scenario, &rehearsal, sc, output)
			}
			res, end := rehearsal.carryOut(cmd.Context(), s, p, driver)
			if res != nil {
				end = tellRun(s, res, end, output, rehearsal.lines)
			}
			tell.tell(cmd.Context(), webhook, messageOfRun(p.Scenario, res), end)
			return end
		},
	}
	scenario.bind(cmd)
	rehearsal.bind(cmd)
	cmd.Flags().StringVar(&resume, "resume", "", "go on with the interrupted run of this run directory, by the scenario it was begun with")
	for _, other := range []string{"scenario", "file", "driver", "out", "prove"} {
		cmd.MarkFlagsMutuallyExclusive("resume", other)
	}
	tell.bind(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what standard output gets: "+strings.Join(formats, ", ")+" (one JSON object a line, as things happen)")
	return cmd
}

// tellRun prints the outcome of a run and returns what gives its exit code.
func tellRun(s Streams, res *harness.Result, runErr error, output string, lines *jsonl) error {
	tellKept(s, res)
	if runErr != nil {
		return failed(runErr)
	}
	if lines != nil {
		if err := lines.end(res); err != nil {
			return failed(err)
		}
	} else if err := render(s, res.Dir, output, res.Record, res.Verdict); err != nil {
		return err
	}
	if err := notCarriedOut(res); err != nil {
		return err
	}
	if sc, err := scenarios.FromResolved(res.Record.Run.Scenario); err == nil && output == "text" {
		tellForecast(s.Out, res.Record, sc.Upgrade.ForecastNodes, sc.Upgrade.NodeInterval.Duration)
	}
	return verdictExit(res.Verdict)
}

// notCarriedOut returns what ends a run that has no verdict on the upgrade.
func notCarriedOut(res *harness.Result) error {
	switch {
	case res.Record.Run.Outcome == record.OutcomeInterrupted && len(res.Kept) > 0:
		return &exitError{ExitInterrupted, fmt.Errorf("interrupted; the cluster was kept, the record so far is in %s. Go on with: %s", res.Dir, resumeCommand(res.Dir))}
	case res.Record.Run.Outcome == record.OutcomeInterrupted:
		return &exitError{ExitInterrupted, errors.New("interrupted; what was created has been removed, the record so far is in " + res.Dir)}
	case res.Err != nil:
		return failed(fmt.Errorf("the rehearsal could not be carried out: %w\nThe record is in %s", res.Err, res.Dir))
	}
	return nil
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
