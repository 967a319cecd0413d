package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func newCompare(s Streams) *cobra.Command {
	var baseline, upgrade, thresholds, output string
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Judge a record made across an upgrade against a baseline record",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("-o", output, reports.Formats...); err != nil {
				return err
			}
			if err := required(requiredFlag{"--baseline", baseline == ""}, requiredFlag{"--upgrade", upgrade == ""}); err != nil {
				return err
			}
			for _, dir := range []string{baseline, upgrade} {
				if err := notRunDirs(dir); err != nil {
					return usage(err)
				}
			}
			base, err := record.Load(baseline)
			if err != nil {
				return usage(err)
			}
			up, err := record.Load(upgrade)
			if err != nil {
				return usage(err)
			}
			criteria, err := compareCriteria(up, thresholds)
			if err != nil {
				return err
			}
			v, err := judge.Compare(base, up, criteria)
			if err != nil {
				return usage(err)
			}
			if err := render(s, upgrade, output, up, v); err != nil {
				return err
			}
			return verdictExit(v)
		},
	}
	cmd.Flags().StringVar(&baseline, "baseline", "", "run directory of the baseline (required)")
	cmd.Flags().StringVar(&upgrade, "upgrade", "", "run directory recorded across the upgrade (required)")
	cmd.Flags().StringVarP(&thresholds, "file", "f", "", "file with a mapping 'thresholds', over the defaults")
	cmd.Flags().StringVarP(&output, "output", "o", "text", strings.Join(reports.Formats, ", "))
	return cmd
}

// compareCriteria are those of the lanes: two records of a target know nothing
// else of the cluster.
func compareCriteria(r *record.Record, file string) ([]scenarios.Criterion, error) {
	t := scenarios.Default().Thresholds
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, usage(fmt.Errorf("-f: %w", err))
		}
		if t, err = scenarios.ParseThresholds(file, b, t); err != nil {
			return nil, usage(err)
		}
	}
	var lanes []string
	for _, l := range r.Run.Lanes {
		if !l.Control {
			lanes = append(lanes, l.Name)
		}
	}
	return t.LaneCriteria(lanes), nil
}
