package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/metrics"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/harness/traces"
)

// spectatorFlags say who looks on while a rehearsal runs, beside the person who
// started it. What none of them can do is to change or to hold up the run.
type spectatorFlags struct {
	metricsAddr   string
	metricsLinger time.Duration
	otlpEndpoint  string
}

func (f *spectatorFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.metricsAddr, "metrics-addr", "", "serve Prometheus metrics while it runs: a port, such as 9464, for this machine alone, or HOST:PORT (default: none)")
	cmd.Flags().DurationVar(&f.metricsLinger, "metrics-linger", time.Minute, "where the metrics are scraped regularly, how long the end may wait for one more scrape, which has the verdict")
	cmd.Flags().StringVar(&f.otlpEndpoint, "otlp-endpoint", "", "send a trace of the steps to this OpenTelemetry collector, such as http://127.0.0.1:4318 (default: as $OTEL_EXPORTER_OTLP_ENDPOINT says, and none without it)")
}

// spectators are those who look on at the runs of one command.
type spectators struct {
	lines  *jsonl // nil but for run -o jsonl
	meter  *metrics.Metrics
	server *metrics.Server
	linger time.Duration
	tracer *traces.Tracer
}

// open makes ready what the flags ask for, before anything is created; close ends
// it.
func (f *spectatorFlags) open(ctx context.Context, s Streams) (spectators, error) {
	w := spectators{linger: f.metricsLinger}
	if f.otlpEndpoint != "" {
		if err := traces.CheckEndpoint(f.otlpEndpoint); err != nil {
			return w, usage(fmt.Errorf("--otlp-endpoint: %w", err))
		}
	}
	if err := w.serve(ctx, s, f.metricsAddr); err != nil {
		return w, err
	}
	if f.otlpEndpoint != "" || traces.Asked(os.Getenv) {
		var err error
		if w.tracer, err = traces.New(ctx, traces.Options{Version: toolVersion(), Endpoint: f.otlpEndpoint, Getenv: os.Getenv}); err != nil {
			slog.Warn("nothing is traced; the run goes on without", "error", err)
		}
	}
	return w, nil
}

// serve begins to serve metrics on addr; without one it does nothing.
func (w *spectators) serve(ctx context.Context, s Streams, addr string) error {
	if addr == "" {
		return nil
	}
	addr, err := metrics.ParseAddr(addr)
	if err != nil {
		return usage(fmt.Errorf("--metrics-addr: %w", err))
	}
	m := metrics.New(build())
	if w.server, err = metrics.Listen(ctx, addr, m); err != nil {
		return failed(fmt.Errorf("--metrics-addr: %w", err))
	}
	w.meter = m
	fmt.Fprintf(s.Err, "Metrics: %s\n", w.server.URL())
	if !w.server.Loopback() {
		fmt.Fprintln(s.Err, "Warning: whoever reaches this address can read the metrics, the names of nodes and of the scenario included.")
	}
	return nil
}

// close ends what open began. Where the metrics are scraped regularly it waits
// for a scrape that sees the verdict, unless ctx ends.
func (w *spectators) close(ctx context.Context, s Streams) {
	if w.tracer != nil {
		if err := w.tracer.Close(ctx); err != nil {
			slog.Warn("the trace is not whole; the verdict does not depend on it", "error", err)
		}
	}
	if w.server == nil {
		return
	}
	if within, any := w.server.Expects(); any && ctx.Err() == nil && w.linger > 0 {
		within = min(within, w.linger).Round(time.Second)
		fmt.Fprintf(s.Err, "Waiting at most %s for the last scrape of the metrics (--metrics-linger).\n", max(within, time.Second))
		w.server.Linger(ctx, max(within, time.Second))
	}
	if err := w.server.Close(ctx); err != nil {
		slog.Debug("the metrics' server did not close", "error", err)
	}
}

// join adds them to those who see a run of p.
func (w *spectators) join(s Streams, o *harness.Options, p *harness.RunPlan) {
	all := progresses{o.Progress}
	var events []func(timeline.Event)
	begun, report := []func(dir string){o.Begun}, o.Report
	if w.lines != nil {
		all, events = append(all, w.lines), append(events, w.lines.event)
		begun = append(begun, func(dir string) { w.lines.begin(p, dir) })
	}
	if w.meter != nil {
		all, events, o.Observer = append(all, w.meter), append(events, w.meter.Event), w.meter.Observer()
		begun = append(begun, func(dir string) { w.meter.Begin(p, dir) })
	}
	if w.tracer != nil {
		all, events = append(all, w.tracer), append(events, w.tracer.Event)
		begun = append(begun, func(dir string) { fmt.Fprintf(s.Err, "Trace: %s\n", w.tracer.Begin(p, dir)) })
	}
	o.Report = func(dir string, r *record.Record, v judge.Verdict) error {
		if w.meter != nil {
			w.meter.Verdict(v)
		}
		if w.tracer != nil {
			w.tracer.Verdict(v)
		}
		return report(dir, r, v)
	}
	o.Progress = all
	o.Begun = func(dir string) {
		for _, f := range begun {
			f(dir)
		}
	}
	if len(events) > 0 {
		o.Events = func(e timeline.Event) {
			for _, f := range events {
				f(e)
			}
		}
	}
}

// build says what this binary was built of.
func build() metrics.Build {
	b := metrics.Build{Version: toolVersion(), Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}

// progresses tells several of the progress.
type progresses []harness.Progress

// Before implements harness.ResumedProgress, for those who do.
func (p progresses) Before(e harness.Entry, of int) {
	for _, x := range p {
		if r, ok := x.(harness.ResumedProgress); ok {
			r.Before(e, of)
		}
	}
}

// Start implements harness.Progress.
func (p progresses) Start(e harness.Entry, of int) {
	for _, x := range p {
		x.Start(e, of)
	}
}

// End implements harness.Progress.
func (p progresses) End(e harness.Entry, took time.Duration, err error, skipped bool) {
	for _, x := range p {
		x.End(e, took, err, skipped)
	}
}
