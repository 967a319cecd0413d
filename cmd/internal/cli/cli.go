// Package cli holds rehearse's commands: flags, one call down, and how the
// outcome becomes output and an exit code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. Pipelines rely on them.
const (
	ExitGo           = 0
	ExitNoGo         = 1
	ExitInconclusive = 2
	ExitFailed       = 3 // the rehearsal could not be carried out
	ExitUsage        = 64
	ExitInterrupted  = 130
)

// Streams are what a command reads and writes: the result goes to Out,
// progress, logs and errors to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// exitError ends the process with a code; a nil err has been told already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error { return &exitError{ExitUsage, err} }

func failed(err error) error { return &exitError{ExitFailed, err} }

// Main runs the command line args and returns the process's exit code.
func Main(args []string, s Streams) int {
	out := &result{w: s.Out}
	s.Out = out
	ctx, stop := watchSignals(context.Background(), s)
	defer stop()
	root := newRoot(s)
	root.SetArgs(args)
	done := make(chan error, 1)
	go func() {
		cmd, err := root.ExecuteContextC(ctx)
		err = out.end(err)
		// What no command of ours has said is what cobra refuses: an unknown flag,
		// a wrong value or argument.
		if e := (*exitError)(nil); err != nil && !errors.As(err, &e) {
			err = wrongUse(cmd, err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return exitCode(err, s)
	case <-interruptsOf(ctx).second:
		return ExitInterrupted
	}
}

func exitCode(err error, s Streams) int {
	if err == nil {
		return ExitGo
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{ExitUsage, err}
	}
	if e.err != nil {
		fmt.Fprintf(s.Err, "rehearse: %v\n", e.err)
	}
	return e.code
}

func newRoot(s Streams) *cobra.Command {
	var verbose bool
	root := &cobra.Command{
		Use:   "rehearse",
		Short: "Rehearse a Kubernetes upgrade under load, and get one explained verdict",
		Long: `rehearse builds a cluster that mirrors production, sends steady traffic to a
canary, drives the real rolling upgrade under that traffic, compares it with a
baseline of the same run and checks the system components. It ends with one
verdict: GO, NO-GO or INCONCLUSIVE.

Exit codes: 0 GO or nothing to do, 1 NO-GO, 2 INCONCLUSIVE, 3 the rehearsal
could not be carried out, 64 wrong use or an invalid scenario, 130 interrupted.`,
		SilenceErrors: true, SilenceUsage: true,
		Args:             noArgs,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(*cobra.Command, []string) { slog.SetDefault(newLogger(s.Err, verbose)) },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	// The long texts are written for 80 columns; those of flags are broken there.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped 80 "))
	root.PersistentFlags().BoolVarP(&verbose, "verbose", "v", false, "log what each step does in detail")
	root.AddCommand(newPlan(s), newRun(s), newReport(s), newRecord(s), newCompare(s), newCalibrate(s), newProve(s), newGate(s), newServe(s), newMonthly(s), newPreflight(s), newImages(s), newMirror(s), newDoctor(s), newVersion(s))
	refuseUnknown(root)
	return root
}

func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		// A person reads these lines beside the progress, which has its own times.
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05"))
		}
		return a
	}}))
}
