package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/history"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// gateFlags are what a release asks of a record.
type gateFlags struct {
	want                          gate.Require
	thresholds, scenario, history string
	fidelity                      string
}

func newGate(s Streams) *cobra.Command {
	var f gateFlags
	var tell notifyFlags
	var output string
	cmd := &cobra.Command{
		Use:   "gate RUNDIR",
		Short: "Let a release pass, or not, by the record of its rehearsal",
		Long: `gate is for release pipelines. It reads a run directory, judges it anew, and
opens only for a GO whose record is whole and untouched, of a real cluster, of
the scenario and the versions asked for and recent enough; every reason against
it is printed.

With --history it also holds the run against earlier ones of the same scenario:
from 59 of them on, no figure may be certainly worse than the worst of theirs.

Exit codes: 0 open, 1 closed, 2 closed because the verdict is INCONCLUSIVE,
64 wrong use.`,
		Args: oneRunDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("-o", output, "text", "json", "junit"); err != nil {
				return err
			}
			if err := f.resolve(); err != nil {
				return err
			}
			webhook, err := tell.open()
			if err != nil {
				return err
			}
			d, end := f.decide(cmd.Context(), args[0])
			if end == nil {
				end = showGate(s.Out, output, d)
			}
			tell.tell(cmd.Context(), webhook, messageOfGate(args[0], d), end)
			return end
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.want.From, "from", "", "version that the rehearsal must have started at")
	flags.StringVar(&f.want.To, "to", "", "version that the rehearsal must have upgraded to")
	flags.StringVar(&f.scenario, "scenario", "", "scenario that must have been rehearsed, as FILE or FILE:NAME")
	flags.StringVar(&f.want.ScenarioSHA256, "scenario-sha256", "", "the same, as the SHA-256 that run.json gives")
	flags.DurationVar(&f.want.MaxAge, "max-age", 0, "how long ago the rehearsal may have ended, such as 168h (default: any time)")
	flags.StringVarP(&f.thresholds, "file", "f", "", "file with a mapping 'thresholds' to judge by, over the scenario's own")
	f.bind(cmd)
	tell.bind(cmd)
	flags.StringVarP(&output, "output", "o", "text", "text, json or junit")
	return cmd
}

// showGate prints the decision and returns what gives its exit code.
func showGate(w io.Writer, output string, d *gate.Decision) error {
	var err error
	switch output {
	case "json":
		err = writeJSON(w, d)
	case "junit":
		err = writeGateJUnit(w, d)
	default:
		err = writeGate(w, d)
	}
	if err != nil {
		return err
	}
	return gateExit(d)
}

// bind adds the flags that monthly has as well.
func (f *gateFlags) bind(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.want.AllowSimulated, "allow-simulated", false, "accept a rehearsal on the embedded cluster, to try a pipeline out")
	cmd.Flags().BoolVar(&f.want.Proof, "require-proof", false, "accept only a run that was made with --prove and missed nothing")
	cmd.Flags().StringVar(&f.fidelity, "min-fidelity", "", "least fidelity of the mirror to production, such as 60% (default: not asked)")
	cmd.Flags().StringVar(&f.history, "history", "", "directory with earlier run directories to hold the run against")
}

// resolve checks the flags and finds the digest of the scenario asked for.
func (f *gateFlags) resolve() error {
	if f.scenario != "" && f.want.ScenarioSHA256 != "" {
		return usage(errors.New("give --scenario or --scenario-sha256, not both"))
	}
	if sum := f.want.ScenarioSHA256; sum != "" {
		f.want.ScenarioSHA256 = strings.ToLower(sum)
		if len(sum) != 64 || strings.Trim(f.want.ScenarioSHA256, "0123456789abcdef") != "" {
			return usage(fmt.Errorf("--scenario-sha256 %q: want 64 hexadecimal digits, as run.json gives them", sum))
		}
	}
	if f.fidelity != "" {
		share, err := strconv.ParseFloat(strings.TrimSuffix(f.fidelity, "%"), 64)
		if err != nil || !strings.HasSuffix(f.fidelity, "%") || !(share > 0 && share <= 100) {
			return usage(fmt.Errorf("--min-fidelity %q: want a percentage above 0%%, up to 100%%", f.fidelity))
		}
		f.want.MinFidelity = share / 100
	}
	if f.scenario == "" {
		return nil
	}
	path, name := splitScenario(f.scenario)
	file, err := scenarios.LoadFile(path)
	if err != nil {
		return usage(fmt.Errorf("--scenario: %w", err))
	}
	sc, err := file.Pick(name)
	if err != nil {
		return usage(err)
	}
	js, err := sc.Resolved()
	if err != nil {
		return failed(err)
	}
	if f.want.ScenarioSHA256, err = record.ScenarioDigest(js); err != nil {
		return failed(err)
	}
	return nil
}

// splitScenario splits FILE:NAME; a file whose own name has a colon is a file.
func splitScenario(s string) (path, name string) {
	if _, err := os.Stat(s); err == nil {
		return s, ""
	}
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

// decide judges the record. One that was tampered with is a decision too.
func (f *gateFlags) decide(ctx context.Context, dir string) (*gate.Decision, error) {
	rec, verdict, sc, err := judgeBy(dir, f.thresholds)
	var corrupt *record.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return gate.Untrusted(dir, corrupt), nil
	case err != nil:
		return nil, err
	}
	want := f.want
	var past *history.Past
	if f.history != "" {
		if past, err = history.Read(ctx, f.history, rec); err != nil {
			return nil, usage(fmt.Errorf("--history: %w", err))
		}
		want.History = past.Compare(history.Figures(rec, verdict, sc.Thresholds.LatencyFloor.Duration))
	}
	d := gate.Decide(dir, rec, verdict, want, time.Now())
	d.Thresholds = f.thresholds
	if past != nil {
		d.History = &gate.History{Dir: past.Dir, Runs: len(past.Runs), LeftOut: past.LeftOut, Comparisons: want.History}
	}
	return d, nil
}

// judgeBy loads a record and judges it by its own scenario, with the thresholds
// of a file over its own where there is one.
func judgeBy(dir, thresholds string) (*record.Record, judge.Verdict, *scenarios.Scenario, error) {
	fail := func(err error) (*record.Record, judge.Verdict, *scenarios.Scenario, error) {
		return nil, judge.Verdict{}, nil, usage(err)
	}
	rec, err := record.Load(dir)
	if err != nil {
		return fail(err)
	}
	sc, err := scenarios.FromResolved(rec.Run.Scenario)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", dir, err))
	}
	if thresholds != "" {
		b, err := os.ReadFile(thresholds)
		if err != nil {
			return fail(fmt.Errorf("-f: %w", err))
		}
		if sc.Thresholds, err = scenarios.ParseThresholds(thresholds, b, sc.Thresholds); err != nil {
			return fail(err)
		}
	}
	return rec, judge.Judge(rec, sc.Criteria()), sc, nil
}

func writeGate(w io.Writer, d *gate.Decision) error {
	var b strings.Builder
	b.WriteString("OPEN")
	if !d.Open {
		b.Reset()
		b.WriteString("CLOSED")
	}
	if d.Scenario != "" {
		when := "rehearsed " + d.Ended.Format("2006-01-02 15:04 MST")
		if d.Ended.IsZero() {
			when = "not rehearsed to its end"
		}
		fmt.Fprintf(&b, "  %s  %s → %s, %s: %s", reports.Line(d.Scenario), reports.Line(d.From), reports.Line(d.To), when, d.Verdict)
	}
	b.WriteByte('\n')
	if d.Thresholds != "" {
		fmt.Fprintf(&b, "  Judged by the thresholds in %s.\n", d.Thresholds)
	}
	for _, r := range d.Refusals {
		fmt.Fprintf(&b, "  ✗ %s: %s To do: %s.\n", r.Rule, reports.Line(r.Why), r.Remedy)
	}
	if d.History != nil {
		b.WriteString(historyText(d.History))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return failed(fmt.Errorf("write the result: %w", err))
	}
	return nil
}

// historyText says which bounds were used, and how many runs are missing.
func historyText(h *gate.History) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  History: %d earlier GO runs of this scenario in %s count", h.Runs, h.Dir)
	for i, l := range h.LeftOut {
		sep := "; left out: "
		if i > 0 {
			sep = ", "
		}
		fmt.Fprintf(&b, "%s%d (%s)", sep, l.Runs, l.Why)
	}
	b.WriteString(".\n")
	for _, c := range h.Comparisons {
		mark := "-"
		switch {
		case c.Exceeds:
			mark = "✗"
		case c.Against == history.AgainstHistory:
			mark = "✓"
		}
		fmt.Fprintf(&b, "  %s %s\n", mark, reports.Line(c.Explain))
	}
	return b.String()
}

// writeGateJUnit has a test for each rule, and one for each figure that was held
// against earlier runs.
func writeGateJUnit(w io.Writer, d *gate.Decision) error {
	var checks []reports.Check
	for _, rule := range gate.Rules {
		if rule == gate.RuleHistory && d.History != nil {
			continue // figure by figure, below
		}
		c := reports.Check{Name: rule, Skipped: !slices.Contains(d.Checked, rule), Text: "asked for, and kept"}
		if c.Skipped {
			c.Text = "not asked for"
		}
		var why []string
		for _, r := range d.Refusals {
			if r.Rule == rule {
				why = append(why, r.Why+" To do: "+r.Remedy+".")
			}
		}
		if len(why) > 0 {
			c.Text, c.Skipped = strings.Join(why, " "), false
			c.Undecided = rule == gate.RuleVerdict && d.Verdict == judge.Inconclusive
			c.Failed = !c.Undecided
		}
		checks = append(checks, c)
	}
	if d.History != nil {
		for _, x := range d.History.Comparisons {
			checks = append(checks, reports.Check{
				Name: "history " + x.ID, Text: x.Explain, Failed: x.Exceeds, Skipped: x.Against != history.AgainstHistory,
			})
		}
	}
	class := "rehearse.gate"
	if d.Scenario != "" {
		class = "rehearse." + d.Scenario + ".gate"
	}
	if err := reports.Checks(w, "gate", class, time.Now(), checks); err != nil {
		return failed(err)
	}
	return nil
}

func gateExit(d *gate.Decision) error {
	switch {
	case d.Open:
		return nil
	case d.Verdict == judge.Inconclusive:
		return &exitError{code: ExitInconclusive}
	}
	return &exitError{code: ExitNoGo}
}
