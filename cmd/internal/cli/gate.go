package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func newGate(s Streams) *cobra.Command {
	var want gate.Require
	var output string
	cmd := &cobra.Command{
		Use:   "gate RUNDIR",
		Short: "Let a release pass, or not, by the record of its rehearsal",
		Long: `gate is for release pipelines. It reads a run directory, judges it anew, and
opens only for a GO whose record is whole and untouched, of a real cluster, of
the versions asked for and recent enough; every reason against it is printed.

Exit codes: 0 open, 1 closed, 2 closed because the verdict is INCONCLUSIVE,
64 wrong use.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			d, err := decide(args[0], want)
			if err != nil {
				return err
			}
			if output == "json" {
				err = writeJSON(s.Out, d)
			} else {
				err = d.write(s.Out)
			}
			if err != nil {
				return err
			}
			return d.exit()
		},
	}
	cmd.Flags().StringVar(&want.From, "from", "", "version that the rehearsal must have started at")
	cmd.Flags().StringVar(&want.To, "to", "", "version that the rehearsal must have upgraded to")
	cmd.Flags().DurationVar(&want.MaxAge, "max-age", 0, "how long ago the rehearsal may have ended, such as 168h (default: any time)")
	cmd.Flags().BoolVar(&want.AllowSimulated, "allow-simulated", false, "accept a rehearsal on the embedded cluster, to try a pipeline out")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// decision is what gate prints.
type decision struct {
	Open     bool           `json:"open"`
	Dir      string         `json:"dir"`
	Scenario string         `json:"scenario,omitempty"`
	From     string         `json:"from,omitempty"`
	To       string         `json:"to,omitempty"`
	Ended    time.Time      `json:"ended,omitzero"`
	Verdict  judge.Outcome  `json:"verdict,omitempty"`
	Refusals []gate.Refusal `json:"refusals"`
}

// decide judges the record. One that was tampered with is a decision too.
func decide(dir string, want gate.Require) (*decision, error) {
	d := &decision{Dir: dir, Refusals: []gate.Refusal{}}
	rec, verdict, err := judgeDir(dir)
	var corrupt *record.CorruptError
	switch {
	case errors.As(err, &corrupt):
		d.Refusals = append(d.Refusals, gate.Refusal{Rule: gate.RuleRecord, Why: "The record cannot be trusted: " + corrupt.Error() + ".", Remedy: "rehearse again"})
		return d, nil
	case err != nil:
		return nil, err
	}
	run := rec.Run
	d.Scenario, d.From, d.To, d.Ended, d.Verdict = run.Name, run.Versions.From, run.Versions.To, run.Ended, verdict.Outcome
	d.Refusals = append(d.Refusals, gate.Check(rec, verdict, want, time.Now())...)
	d.Open = len(d.Refusals) == 0
	return d, nil
}

func (d *decision) write(w io.Writer) error {
	text := "OPEN"
	if !d.Open {
		text = "CLOSED"
	}
	if d.Scenario != "" {
		text += fmt.Sprintf("  %s  %s → %s, rehearsed %s: %s", d.Scenario, d.From, d.To, d.Ended.Format("2006-01-02 15:04 MST"), d.Verdict)
	}
	text += "\n"
	for _, r := range d.Refusals {
		text += fmt.Sprintf("  ✗ %s: %s To do: %s.\n", r.Rule, r.Why, r.Remedy)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return failed(fmt.Errorf("write the result: %w", err))
	}
	return nil
}

func (d *decision) exit() error {
	switch {
	case d.Open:
		return nil
	case d.Verdict == judge.Inconclusive:
		return &exitError{code: ExitInconclusive}
	}
	return &exitError{code: ExitNoGo}
}
