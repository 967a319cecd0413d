package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func newReport(s Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "report RUNDIR",
		Short: "Recompute the verdict of a record and render it again",
		Long: `report reads a run directory, judges it anew and prints the report; it needs no
cluster. The verdict is the same, byte for byte, as the one the run wrote.
It exits as run did: 0 GO, 1 NO-GO, 2 INCONCLUSIVE.`,
		Args: oneRunDir,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("-o", output, reports.Formats...); err != nil {
				return err
			}
			rec, verdict, err := judgeDir(args[0])
			if err != nil {
				return err
			}
			if err := render(s, args[0], output, rec, verdict); err != nil {
				return err
			}
			return verdictExit(verdict)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", strings.Join(reports.Formats, ", "))
	return cmd
}

// judgeDir loads a record and judges it by its own scenario.
func judgeDir(path string) (*record.Record, judge.Verdict, error) {
	rec, err := record.Load(path)
	if err != nil {
		return nil, judge.Verdict{}, usage(err)
	}
	sc, err := scenarios.FromResolved(rec.Run.Scenario)
	if err != nil {
		return nil, judge.Verdict{}, usage(fmt.Errorf("%s: %w", path, err))
	}
	return rec, judge.Judge(rec, sc.Criteria()), nil
}

func render(s Streams, dir, format string, rec *record.Record, v judge.Verdict) error {
	opts := reports.TextOptions{Color: reports.ColorAllowed(s.Out, os.Getenv), Width: reports.TerminalWidth(s.Out), Report: filepath.Join(dir, "report.html")}
	if err := reports.Render(s.Out, format, reports.NewView(rec, v), opts); err != nil {
		return failed(fmt.Errorf("write the report: %w", err))
	}
	return nil
}
