package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func newCalibrate(s Streams) *cobra.Command {
	f := recordFlags{lanes: []string{scenarios.LaneNew, scenarios.LaneReused}, warmup: 10 * time.Second, timeout: load.DefaultTimeout}
	var output string
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "Measure this runner's noise: which thresholds can it support?",
		Long: `calibrate sends load to a service that nothing happens to, compares halves of
what it measured with each other as a verdict would, and says which thresholds
would have let an unchanged service pass. Without --target the service is a twin
of the canary inside this process; give the URL of a real twin to include the
network and the balancer.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			c, err := calibrate(cmd.Context(), &f)
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(s.Out, c)
			}
			tellCalibration(s.Out, c)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.target, "target", "", "URL of a service that stays unchanged (default: a canary inside this process)")
	fl.StringVar(&f.out, "out", "", "keep the record in this directory, which is made")
	fl.Float64Var(&f.rate, "rate", load.DefaultRate, "requests a second on each lane")
	fl.DurationVar(&f.duration, "duration", 2*time.Minute, "how long to measure; twice the baseline that a scenario has")
	fl.StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func calibrate(ctx context.Context, f *recordFlags) (judge.Calibration, error) {
	var none judge.Calibration
	if f.target == "" {
		url, stop, err := localCanary(ctx)
		if err != nil {
			return none, failed(err)
		}
		defer stop()
		f.target, f.canary = url, true
	}
	if f.out == "" {
		dir, err := os.MkdirTemp("", "rehearse-calibrate-")
		if err != nil {
			return none, failed(err)
		}
		defer os.RemoveAll(dir)
		f.out = filepath.Join(dir, "calibrate")
	}
	o, err := f.options()
	if err != nil {
		return none, err
	}
	defer raisePriority()()
	if err := harness.Measure(ctx, o); err != nil {
		return none, failed(err)
	}
	if ctx.Err() != nil {
		return none, &exitError{ExitInterrupted, errors.New("interrupted before enough was measured")}
	}
	rec, err := record.Load(f.out)
	if err != nil {
		return none, failed(err)
	}
	c, err := judge.Calibrate(rec)
	if err != nil {
		return none, &exitError{ExitInconclusive, err}
	}
	return c, nil
}

// localCanary serves a canary on loopback until stop is called.
func localCanary(ctx context.Context) (url string, stop func(), err error) {
	c, err := canary.New(canary.Config{Pod: "twin", Node: "here", BodyBytes: scenarios.Default().Canary.BodyBytes})
	if err != nil {
		return "", nil, err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	done := make(chan error, 1)
	go func() { done <- c.Serve(l) }()
	return "http://" + l.Addr().String() + canary.PathRoot, func() {
		if err := errors.Join(c.Close(), <-done); err != nil {
			slog.Warn("the canary inside this process did not end as it should", "error", err)
		}
	}, nil
}

func tellCalibration(w io.Writer, c judge.Calibration) {
	for _, l := range c.Lanes {
		fmt.Fprintln(w, l.Explain)
	}
	for _, warning := range c.Warnings {
		fmt.Fprintln(w, "Warning:", warning)
	}
}
