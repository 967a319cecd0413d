package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/drivers"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/prove/onkind"
	"github.com/kube-rehearse/rehearse/harness/prove/onsim"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// childOf is the variable that tells a process that it is the part of a proof
// whose own process suffers the fault.
const childOf = "REHEARSE_PROVE_CHILD"

// beds are the drivers whose faults can be planted.
var beds = []string{scenarios.DriverSim, scenarios.DriverKind}

func newProve(s Streams) *cobra.Command {
	var driver, output, out string
	var only []string
	var list bool
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Plant known faults and show that the gate finds each of them",
		Long: `prove rehearses once for each fault of a table, with the fault planted, and
requires that the verdict finds, names and bounds it; clean runs must be GO. A
gate that has never failed proves nothing.

Exit codes: 0 everything was found and the clean runs are GO, 1 something was
missed or a clean run was refused, 3 the proof could not be carried out, 64
wrong use, 130 interrupted.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			bed, err := newBed(cmd.Context(), s, driver)
			if err != nil {
				return err
			}
			if _, err := prove.Pick(bed.Faults(), only); err != nil {
				return usage(fmt.Errorf("--only: %w", err))
			}
			if os.Getenv(childOf) != "" {
				return proveChild(cmd.Context(), s, bed, only, out)
			}
			if list {
				return listFaults(s.Out, output, bed)
			}
			p, err := runProof(cmd.Context(), s, bed, prove.Options{Only: only, Out: out})
			if err != nil {
				return err
			}
			if err := writeProof(s, output, p); err != nil {
				return err
			}
			if len(p.Missed()) > 0 {
				return &exitError{code: ExitNoGo}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&driver, "driver", scenarios.DriverSim, "where to plant: "+strings.Join(beds, ", "))
	cmd.Flags().StringSliceVar(&only, "only", nil, "names of the faults to plant (default: all; see --list)")
	cmd.Flags().BoolVar(&list, "list", false, "print the table of faults and plant none")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&out, "out", "", "keep every record in this directory (default: only those of missed faults, in a temporary one)")
	return cmd
}

// newBed returns the bed of a driver.
func newBed(ctx context.Context, s Streams, driver string) (prove.Bed, error) {
	if err := oneOf("--driver", driver, beds...); err != nil {
		return nil, err
	}
	if driver == scenarios.DriverSim {
		return onsim.New(onsim.Options{Tool: toolVersion(), Command: commandLine(), Host: harness.ThisHost(), Report: reports.Write, Self: selfCommand}), nil
	}
	d, err := drivers.Kind()
	if err != nil {
		return nil, failed(err)
	}
	return onkind.New(onkind.Options{
		Driver: d, Tool: toolVersion(), Command: commandLine(), Host: harness.ThisHost(), Report: reports.Write,
		Cleanup: &interruptsOf(ctx).cleanup, Log: slog.Default(), Progress: newProgress(s.Err),
	}), nil
}

// selfCommand is this program again, as the process that suffers a fault.
func selfCommand(ctx context.Context, fault, out string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = []string{os.Args[0], "prove", "--only", fault, "--out", out}
	cmd.Env = append(os.Environ(), childOf+"=1")
	return cmd
}

func proveChild(ctx context.Context, s Streams, bed prove.Bed, only []string, out string) error {
	b, ok := bed.(interface {
		Child(ctx context.Context, fault, out string, w io.Writer) error
	})
	if !ok || len(only) != 1 {
		return usage(errors.New(childOf + " is for rehearse itself"))
	}
	defer raisePriority()()
	if err := b.Child(ctx, only[0], out, s.Out); err != nil {
		return failed(err)
	}
	return nil
}

// runProof carries a proof out and tells its progress.
func runProof(ctx context.Context, s Streams, bed prove.Bed, o prove.Options) (*record.Proof, error) {
	defer raisePriority()()
	t := &proofProgress{w: s.Err, oneByOne: bed.Width() == 1, of: len(bed.Faults())}
	if len(o.Only) > 0 {
		t.of = len(o.Only)
	}
	o.Tool, o.Begin, o.End = toolVersion(), t.begin, t.end
	p, err := prove.Run(ctx, bed, o)
	var left error
	if c, ok := bed.(interface{ Close(context.Context) error }); ok {
		left = c.Close(ctx)
	}
	switch {
	case left != nil && errors.Is(err, errInterrupted):
		return nil, &exitError{ExitInterrupted, fmt.Errorf("interrupted; %w", left)}
	case left != nil:
		return nil, failed(errors.Join(err, left))
	case errors.Is(err, errInterrupted):
		return nil, &exitError{ExitInterrupted, errors.New("interrupted; what was created has been removed")}
	case err != nil:
		return nil, failed(err)
	}
	return p, nil
}

// proveBefore proves the gate before a run: with the driver of the scenario
// where faults can be planted in its clusters, and otherwise with the embedded
// one, whose faults test the same judge.
func proveBefore(ctx context.Context, s Streams, driver string) (*record.Proof, error) {
	on := driver
	if !slices.Contains(beds, driver) {
		on = scenarios.DriverSim
		fmt.Fprintf(s.Err, "No faults can be planted with the driver %s: they are planted in the embedded cluster, where the same judge has to find them.\n", driver)
	}
	bed, err := newBed(ctx, s, on)
	if err != nil {
		return nil, err
	}
	return proveOn(ctx, s, bed)
}

// proveOn returns a proof in which nothing was missed, or an error that ends a
// run before it begins.
func proveOn(ctx context.Context, s Streams, bed prove.Bed) (*record.Proof, error) {
	fmt.Fprintf(s.Err, "Proving first that the gate works: %d rehearsals on %s, of planted faults and of clean upgrades.\n", len(bed.Faults()), bed.Driver())
	p, err := runProof(ctx, s, bed, prove.Options{})
	if err != nil {
		return nil, err
	}
	missed := p.Missed()
	if len(missed) == 0 {
		fmt.Fprintf(s.Err, "The gate is proven: %s\n", reports.NewProof(p).Statement())
		return p, nil
	}
	if err := reports.ProofText(s.Err, reports.NewProof(p), reports.TextOptions{Width: reports.TerminalWidth(s.Err)}); err != nil {
		return nil, failed(fmt.Errorf("write the table: %w", err))
	}
	return nil, failed(fmt.Errorf("nothing was rehearsed, because the gate is not proven on this machine: it missed %s; the table above says why", strings.Join(missed, ", ")))
}

// proofProgress prints a line when a rehearsal begins to be repeated and when
// one ends: several go on at once.
type proofProgress struct {
	w        io.Writer
	oneByOne bool
	of       int
	ended    int
}

func (t *proofProgress) begin(f prove.Fault, attempt int) {
	switch {
	case attempt > 1:
		fmt.Fprintf(t.w, "%s   again, alone: %s\n", time.Now().Format("15:04:05"), f.Name)
	case t.oneByOne:
		fmt.Fprintf(t.w, "%s   %d/%d %s: %s\n", time.Now().Format("15:04:05"), t.ended+1, t.of, f.Name, f.What)
	}
}

func (t *proofProgress) end(f prove.Fault, row record.ProofOfOne, took time.Duration) {
	if row.Attempts == 1 {
		t.ended++
	}
	mark, tail := "✓", row.Verdict
	if !row.Found {
		mark, tail = "✗", row.WhyNot[0]
	}
	fmt.Fprintf(t.w, "%s %s %2d/%d %s, %s: %s\n", time.Now().Format("15:04:05"), mark, t.ended, t.of, f.Name, roughly(took.Seconds()), tail)
}

func writeProof(s Streams, output string, p *record.Proof) error {
	if output == "json" {
		return writeJSON(s.Out, p)
	}
	opts := reports.TextOptions{Color: reports.ColorAllowed(s.Out, os.Getenv), Width: reports.TerminalWidth(s.Out)}
	if err := reports.ProofText(s.Out, reports.NewProof(p), opts); err != nil {
		return failed(fmt.Errorf("write the result: %w", err))
	}
	return nil
}

// listed is a fault as --list prints it.
type listed struct {
	Fault    string `json:"fault"`
	What     string `json:"what"`
	Clean    bool   `json:"clean,omitempty"`
	Expected string `json:"expected"`
	Verdict  string `json:"verdict"`
}

func listFaults(w io.Writer, output string, bed prove.Bed) error {
	var all []listed
	width := 0
	for _, f := range bed.Faults() {
		all = append(all, listed{f.Name, f.What, f.Clean, f.Expect.String(), prove.Outcomes(f.Expect.Outcomes)})
		width = max(width, len(f.Name))
	}
	if output == "json" {
		return writeJSON(w, map[string]any{"driver": bed.Driver(), "faults": all})
	}
	for _, f := range all {
		fmt.Fprintf(w, "%-*s  %s\n%*s  must be %s", width, f.Fault, f.What, width, "", f.Verdict)
		if f.Expected != f.Verdict {
			fmt.Fprintf(w, ": %s", f.Expected)
		}
		fmt.Fprintln(w)
	}
	return nil
}
