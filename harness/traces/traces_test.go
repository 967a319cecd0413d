package traces

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a collector that keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	about []*common.KeyValue
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var in collector.ExportTraceServiceRequest
		b, err := io.ReadAll(req.Body)
		if err == nil {
			err = proto.Unmarshal(b, &in)
		}
		if err != nil || req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s %s: %v", req.Method, req.URL, req.Header.Get("Content-Type"), err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, x := range in.GetResourceSpans() {
			r.about = x.GetResource().GetAttributes()
			for _, y := range x.GetScopeSpans() {
				r.spans = append(r.spans, y.GetSpans()...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

func env(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }

// rehearsed tells a tracer of a rehearsal whose last step fails.
func rehearsed(tr *Tracer) {
	tr.Begin(&harness.RunPlan{Scenario: &scenarios.Scenario{
		Name: "quickstart", Cluster: scenarios.Cluster{Driver: "sim"}, Versions: scenarios.Versions{From: "v1.34.4", To: "v1.35.4"},
	}}, "runs/quickstart-1")
	create := harness.Entry{Number: 1, Section: harness.SectionPrepare, Description: "Create the cluster"}
	upgrade := harness.Entry{Number: 2, Section: harness.SectionUpgrade, Description: "Upgrade worker-1"}
	settle := harness.Entry{Number: 3, Section: harness.SectionUpgrade, Description: "Upgrade worker-2"}
	event := func(kind, subject string, detail map[string]string) {
		tr.Event(timeline.Event{T: int64(time.Second), Source: timeline.SourceStep, Kind: kind, Subject: subject, Detail: detail})
	}
	tr.Start(create, 4)
	event(timeline.KindStepStart, "step/01", nil)
	tr.End(create, time.Second, nil, false)
	event(timeline.KindPhase, "phase/upgrade", nil) // between two steps
	tr.Start(upgrade, 4)
	event(timeline.KindCordon, "node/worker-1", nil)
	event(timeline.KindUpgradeStart, "node/worker-1", map[string]string{"to": "v1.35.4"})
	tr.End(upgrade, time.Second, nil, false)
	tr.Start(settle, 4)
	tr.End(settle, time.Second, errors.New("drain blocked"), false)
	tr.End(harness.Entry{Number: 4}, 0, nil, true)
	tr.Verdict(judge.Verdict{Outcome: judge.NoGo, Summary: "Bad.", Simulated: true})
}

func attributes(list []*common.KeyValue) string {
	var out []string
	for _, a := range list {
		out = append(out, strings.TrimSpace(a.GetKey()+"="+a.GetValue().GetStringValue()+strings.TrimPrefix(fmt.Sprint(a.GetValue().GetIntValue()), "0")))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestSpansOfARehearsal(t *testing.T) {
	r := receive(t)
	// The collector may be given by a flag, and the trace to belong to from outside.
	const parent = "0af7651916cd43dd8448eb211c80319c"
	tr, err := New(t.Context(), Options{Version: "v1", Endpoint: r.URL + "/", Getenv: env(map[string]string{"TRACEPARENT": "00-" + parent + "-b7ad6b7169203331-01"})})
	if err != nil {
		t.Fatal(err)
	}
	rehearsed(tr)
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, s := range r.spans {
		names[string(s.GetSpanId())] = s.GetName()
	}
	var got []string
	for _, s := range r.spans {
		if id := fmt.Sprintf("%x", s.GetTraceId()); id != parent {
			t.Errorf("span %s is of trace %s, want that of TRACEPARENT", s.GetName(), id)
		}
		line := fmt.Sprintf("%s < %s [%s] %s %q", s.GetName(), names[string(s.GetParentSpanId())], attributes(s.GetAttributes()), s.GetStatus().GetCode(), s.GetStatus().GetMessage())
		for _, e := range s.GetEvents() {
			line += fmt.Sprintf(" (%s: %s)", e.GetName(), attributes(e.GetAttributes()))
		}
		got = append(got, line)
	}
	want := []string{
		`Create the cluster < prepare [rehearse.outcome=passed rehearse.section=prepare rehearse.step.number=1] STATUS_CODE_UNSET ""`,
		`prepare < rehearsal quickstart [] STATUS_CODE_UNSET ""`,
		`Upgrade worker-1 < upgrade [k8s.node.name=worker-1 rehearse.outcome=passed rehearse.section=upgrade rehearse.step.number=2 rehearse.version.to=v1.35.4] STATUS_CODE_UNSET "" (cordon: source=step subject=node/worker-1) (upgrade-start: source=step subject=node/worker-1 to=v1.35.4)`,
		`Upgrade worker-2 < upgrade [rehearse.outcome=failed rehearse.section=upgrade rehearse.step.number=3] STATUS_CODE_ERROR "drain blocked"`,
		`upgrade < rehearsal quickstart [] STATUS_CODE_ERROR ""`,
		`rehearsal quickstart <  [rehearse.driver=sim rehearse.run=quickstart-1 rehearse.scenario=quickstart rehearse.simulated= rehearse.summary=Bad. rehearse.verdict=NO-GO rehearse.version.from=v1.34.4 rehearse.version.to=v1.35.4] STATUS_CODE_ERROR "Bad." (phase: source=step subject=phase/upgrade)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := attributes(r.about); !strings.Contains(got, "service.name=rehearse service.version=v1") {
		t.Errorf("the resource is %s", got)
	}
}

// The standard variables alone are enough.
func TestStandardVariables(t *testing.T) {
	r := receive(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	t.Setenv("OTEL_SERVICE_NAME", "nightly")
	tr, err := New(t.Context(), Options{Getenv: env(nil)})
	if err != nil {
		t.Fatal(err)
	}
	rehearsed(tr)
	if err := tr.Close(t.Context()); err != nil || len(r.spans) != 6 {
		t.Errorf("%d spans, %v", len(r.spans), err)
	}
	if got := attributes(r.about); !strings.Contains(got, "service.name=nightly") {
		t.Errorf("the resource is %s", got)
	}
	for _, c := range []struct {
		vars map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, false},
	} {
		if got := Asked(env(c.vars)); got != c.want {
			t.Errorf("%v: asked is %v", c.vars, got)
		}
	}
	if _, err := New(t.Context(), Options{Endpoint: "127.0.0.1:4318", Getenv: env(nil)}); err == nil || err.Error() != `"127.0.0.1:4318" is not the URL of a collector, such as http://127.0.0.1:4318` {
		t.Errorf("got %v", err)
	}
}

// A collector that is not there, that refuses, or that never answers: nothing
// waits for it but the end, for a few seconds, and that says what was lost.
func TestCollectorThatFails(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer refusing.Close()
	stop := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(stop)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	_ = l.Close()
	for name, c := range map[string]struct{ endpoint, want string }{
		"gone":     {gone, "connection refused"},
		"refusing": {refusing.URL, "403"},
		"silent":   {silent.URL, ""},
	} {
		tr, err := New(t.Context(), Options{Endpoint: c.endpoint, Getenv: env(nil)})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 2000 { // more than there is room for
			rehearsed(tr)
		}
		told := time.Since(began)
		began = time.Now()
		// An interrupt does not keep the last spans.
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		err = tr.Close(ended)
		closed := time.Since(began)
		if err == nil || !strings.Contains(err.Error(), "not delivered") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		// No step waits for the collector: 12,000 spans take less than one export may.
		if told > 2*closing || closed > 3*closing {
			t.Errorf("%s: 2,000 rehearsals took %v to tell, and %v to close", name, told, closed)
		}
	}
}
