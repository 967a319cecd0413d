// Package traces shows a rehearsal as an OpenTelemetry trace: one span for the
// run, one for each section of the plan and one for each step, with the events of
// the timeline on the step during which they happened.
//
// Spans are sent over OTLP/HTTP in the background. A collector that is slow, wrong
// or away loses spans; it neither holds a rehearsal up nor changes its verdict.
package traces

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Bounds of what is sent.
const (
	closing       = 5 * time.Second // the last spans may take at the end
	perExport     = 5 * time.Second // unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise
	eventsPerSpan = 2000
)

// Options of a tracer.
type Options struct {
	Version string // of rehearse
	// Endpoint is the base URL of the collector, to which /v1/traces is added; where
	// it is empty the standard variables OTEL_EXPORTER_OTLP_* say where and how.
	Endpoint string
	// Getenv is os.Getenv.
	Getenv func(string) string
}

// Asked reports whether the standard variables ask for traces.
func Asked(getenv func(string) string) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// CheckEndpoint returns an error unless endpoint is an http or https URL.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not the URL of a collector, such as http://127.0.0.1:4318", endpoint)
	}
	return nil
}

// Tracer makes the spans of one rehearsal after another. All methods are safe for
// concurrent use; only Close blocks.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	sent     *tally
	parent   context.Context //nolint:containedctx // of the caller's trace, never cancelled

	mu                 sync.Mutex
	run, section, step trace.Span
	inRun, inSection   context.Context //nolint:containedctx // they carry the spans above
	name               string          // of the section
	zero               time.Time       // instant of the timeline's offset 0
}

// New returns a tracer that sends to a collector. It does not connect: a
// collector that is away is told by Close. Where TRACEPARENT is set the spans
// belong to that trace, as of the pipeline that runs rehearse.
func New(ctx context.Context, o Options) (*Tracer, error) {
	options := []otlptracehttp.Option{otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
		Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: 20 * time.Second,
	})}
	if o.Getenv("OTEL_EXPORTER_OTLP_TIMEOUT") == "" && o.Getenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") == "" {
		options = append(options, otlptracehttp.WithTimeout(perExport))
	}
	if o.Endpoint != "" {
		if err := CheckEndpoint(o.Endpoint); err != nil {
			return nil, err
		}
		options = append(options, otlptracehttp.WithEndpointURL(strings.TrimSuffix(o.Endpoint, "/")+"/v1/traces"))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("exporter of traces: %w", err)
	}
	// What OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say counts more.
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "rehearse"), attribute.String("service.version", o.Version),
	), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.EventCountLimit = eventsPerSpan
	t := &Tracer{sent: newTally(ctx, exporter)}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(t.sent), sdktrace.WithResource(about), sdktrace.WithRawSpanLimits(limits))
	t.tracer = t.provider.Tracer("github.com/kube-rehearse/rehearse")
	t.parent = propagation.TraceContext{}.Extract(context.WithoutCancel(ctx), propagation.MapCarrier{
		"traceparent": o.Getenv("TRACEPARENT"), "tracestate": o.Getenv("TRACESTATE"),
	})
	return t, nil
}

// Begin begins the trace of the rehearsal of p in the run directory dir, and
// returns its id.
func (t *Tracer) Begin(p *harness.RunPlan, dir string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endAll()
	s := p.Scenario
	t.inRun, t.run = t.tracer.Start(t.parent, "rehearsal "+s.Name, trace.WithAttributes(
		attribute.String("rehearse.run", filepath.Base(dir)), attribute.String("rehearse.scenario", s.Name), attribute.String("rehearse.driver", s.Cluster.Driver),
		attribute.String("rehearse.version.from", s.Versions.From), attribute.String("rehearse.version.to", s.Versions.To),
	))
	t.zero = time.Time{}
	return t.run.SpanContext().TraceID().String()
}

// Start implements harness.Progress.
func (t *Tracer) Start(e harness.Entry, _ int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.run == nil {
		return
	}
	if t.section == nil || t.name != e.Section {
		t.endSection()
		t.inSection, t.section = t.tracer.Start(t.inRun, e.Section)
		t.name = e.Section
	}
	_, t.step = t.tracer.Start(t.inSection, e.Description, trace.WithAttributes(
		attribute.Int("rehearse.step.number", e.Number), attribute.String("rehearse.section", e.Section),
	))
}

// End implements harness.Progress. A step that was skipped has no span.
func (t *Tracer) End(_ harness.Entry, _ time.Duration, err error, skipped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if skipped || t.step == nil {
		return
	}
	outcome := record.OutcomePassed
	if err != nil {
		outcome = record.OutcomeFailed
		t.step.SetStatus(codes.Error, err.Error())
		t.section.SetStatus(codes.Error, "")
	}
	t.step.SetAttributes(attribute.String("rehearse.outcome", outcome))
	t.step.End()
	t.step = nil
}

// Event puts an event of the timeline onto the step that is being carried out, or
// onto the run between two; it is what Options.Events of a run wants. What is
// upgraded there, and to which version, becomes the step's.
func (t *Tracer) Event(e timeline.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.zero.IsZero() {
		t.zero = time.Now().Add(-time.Duration(e.T))
	}
	span := t.step
	if span == nil {
		span = t.run
	}
	if span == nil || e.Kind == timeline.KindStepStart || e.Kind == timeline.KindStepEnd {
		return
	}
	about := []attribute.KeyValue{attribute.String("source", e.Source), attribute.String("subject", e.Subject)}
	for k, v := range e.Detail {
		about = append(about, attribute.String(k, v))
	}
	span.AddEvent(e.Kind, trace.WithTimestamp(t.zero.Add(time.Duration(e.T))), trace.WithAttributes(about...))
	node, isNode := strings.CutPrefix(e.Subject, "node/")
	if !isNode || t.step == nil {
		return
	}
	switch e.Kind {
	case timeline.KindCordon, timeline.KindDrainStart:
		span.SetAttributes(attribute.String("k8s.node.name", node))
	case timeline.KindUpgradeStart:
		span.SetAttributes(attribute.String("k8s.node.name", node), attribute.String("rehearse.version.to", e.Detail["to"]))
	}
}

// Verdict takes the verdict.
func (t *Tracer) Verdict(v judge.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.run == nil {
		return
	}
	t.run.SetAttributes(attribute.String("rehearse.verdict", string(v.Outcome)), attribute.String("rehearse.summary", v.Summary), attribute.Bool("rehearse.simulated", v.Simulated))
	switch v.Outcome {
	case judge.Go:
		t.run.SetStatus(codes.Ok, "")
	case judge.NoGo:
		t.run.SetStatus(codes.Error, v.Summary)
	}
}

func (t *Tracer) endSection() {
	for _, s := range []*trace.Span{&t.step, &t.section} {
		if *s != nil {
			(*s).End()
			*s = nil
		}
	}
}

func (t *Tracer) endAll() {
	t.endSection()
	if t.run != nil {
		t.run.End()
		t.run = nil
	}
}

// Close ends the trace and sends what was not sent yet, for at most five seconds,
// after an interrupt too. The error says how much of the traces was lost, and why.
func (t *Tracer) Close(ctx context.Context) error {
	t.mu.Lock()
	t.endAll()
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	err := t.provider.Shutdown(ctx)
	t.sent.giveUp() // what is being sent still outlives its time
	return t.sent.result(err)
}

// tally is an exporter that remembers what became of the spans instead of
// troubling OpenTelemetry's error handler, which is one for the whole process.
type tally struct {
	sdktrace.SpanExporter
	over   context.Context //nolint:containedctx // ends with giveUp
	giveUp context.CancelFunc

	mu         sync.Mutex
	sent, lost int
	err        error // the first
}

func newTally(ctx context.Context, e sdktrace.SpanExporter) *tally {
	t := &tally{SpanExporter: e}
	t.over, t.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	return t
}

// ExportSpans implements sdktrace.SpanExporter.
func (t *tally) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.over, cancel)()
	err := t.SpanExporter.ExportSpans(ctx, spans)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.sent += len(spans)
		return nil
	}
	t.lost += len(spans)
	if t.err == nil {
		t.err = err
	}
	return nil
}

func (t *tally) result(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.lost > 0:
		return fmt.Errorf("%d of %d spans were not delivered: %w", t.lost, t.lost+t.sent, t.err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the last spans were not delivered within %s", closing)
	}
	return err
}
