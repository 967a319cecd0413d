package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
)

func newRun(s Streams) *cobra.Command {
	var scenario scenarioFlags
	var out, output string
	var keep, proveFirst bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Rehearse the upgrade and return the verdict",
		Long: `run carries out the plan of one scenario: it creates the cluster, deploys the
canary, records the baseline, upgrades under load, checks, judges, writes the
report into a new directory under --out, and removes what it created.

An interrupt (Ctrl-C, SIGTERM) at any moment cleans up and ends with 130; a
second one stops at once and prints what is left and how to delete it.

With --prove the gate is proven before it is trusted: see rehearse prove. Where
a planted fault is missed, nothing is rehearsed and the exit code is 3.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, reports.Formats...); err != nil {
				return err
			}
			p, driver, err := scenario.plan()
			if err != nil {
				return err
			}
			if p.NothingToDo {
				fmt.Fprintf(s.Out, "Scenario %s: from and to are both %s: nothing to do.\n", p.Scenario.Name, p.Scenario.Versions.To)
				return nil
			}
			var proof *record.Proof
			if proveFirst {
				if proof, err = proveBefore(cmd.Context(), s, p.Scenario.Cluster.Driver); err != nil {
					return err
				}
			}
			defer raisePriority()()
			res, err := harness.Run(cmd.Context(), p, harness.Options{
				Out: out, Tool: toolVersion(), Command: commandLine(), Driver: driver, KeepCluster: keep,
				Host: hostFacts(), Log: slog.Default(), Progress: newProgress(s.Err), Cleanup: &interruptsOf(cmd.Context()).cleanup,
				Proof: proof, Report: reports.Write,
			})
			if res == nil {
				return failed(err)
			}
			return tellRun(s, res, err, output)
		},
	}
	scenario.bind(cmd)
	cmd.Flags().StringVar(&out, "out", "runs", "directory in which the run directory is made")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what standard output gets: "+strings.Join(reports.Formats, ", "))
	cmd.Flags().BoolVar(&proveFirst, "prove", false, "prove first that the gate finds planted faults (see rehearse prove); the record keeps the result")
	cmd.Flags().BoolVar(&keep, "keep-cluster", false, "leave the cluster when done, and say how to delete it")
	return cmd
}

func commandLine() string {
	args := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	return strings.Join(args, " ")
}

// tellRun prints the outcome of a run and returns what gives its exit code.
func tellRun(s Streams, res *harness.Result, runErr error, output string) error {
	for _, k := range res.Kept {
		fmt.Fprintf(s.Err, "Kept: %s. Delete it with: %s\n", k.What, k.How)
	}
	if runErr != nil {
		return failed(runErr)
	}
	if err := render(s, res.Dir, output, res.Record, res.Verdict); err != nil {
		return err
	}
	switch {
	case res.Record.Run.Outcome == record.OutcomeInterrupted:
		return &exitError{ExitInterrupted, errors.New("interrupted; what was created has been removed, the record so far is in " + res.Dir)}
	case res.Err != nil:
		return failed(fmt.Errorf("the rehearsal could not be carried out: %w\nThe record is in %s", res.Err, res.Dir))
	}
	return verdictExit(res.Verdict)
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
