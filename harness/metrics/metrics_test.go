package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes/watch"
	"github.com/kube-rehearse/rehearse/scenarios"
)

var update = flag.Bool("update", false, "write the table of metrics into the guide anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func plan() *harness.RunPlan {
	return &harness.RunPlan{Entries: make([]harness.Entry, 3), Scenario: &scenarios.Scenario{
		Name: "quickstart", Cluster: scenarios.Cluster{Driver: "sim"}, Versions: scenarios.Versions{From: "v1.34.4", To: "v1.35.4"},
	}}
}

// told returns metrics that have heard of a bit of everything.
func told() *Metrics {
	m := New(Build{Version: "v1", Revision: "abc", Go: "go1.26"})
	m.now = func() time.Time { return time.Unix(1_000, 500_000_000) }
	m.Begin(plan(), "runs/quickstart-1")
	first := harness.Entry{Number: 1, Section: "prepare", Description: "Create"}
	m.Start(first, 3)
	m.End(first, 1500*time.Millisecond, nil, false)
	m.End(harness.Entry{Number: 3}, 0, nil, true)
	m.Start(harness.Entry{Number: 2, Section: "measure", Description: "Load", Expected: 9 * time.Second}, 3)

	o := m.Observer()
	o.Load.Started(func() []load.Sum { return []load.Sum{{Lane: "new", Open: 7}} })
	o.Nodes(func() []watch.Node {
		return []watch.Node{{Name: "a", Version: "v1.35.4", ControlPlane: true, Ready: true}, {Name: "b", Version: "v1.34.4", Cordoned: true}, {Name: "c", Version: "v1.34.4"}}
	})
	event := func(at float64, kind, subject string, detail map[string]string) {
		m.Event(timeline.Event{T: int64(at * 1e9), Source: timeline.SourceRun, Kind: kind, Subject: subject, Detail: detail})
	}
	event(1, timeline.KindPhase, "phase/baseline", nil)
	event(3.5, timeline.KindPhaseEnd, "phase/baseline", nil)
	event(3.5, timeline.KindPhase, "phase/upgrade", nil)
	for _, second := range []int64{3, 4} { // the phase changes within the first of them
		w := &record.Window{Second: second, NewConns: 2}
		w.Counts[record.OK], w.Counts[record.Refused], w.Counts[record.Unsent] = 2, 1, 1
		w.Latency.AddN(4_000, 2)
		w.SendLag.AddN(200, 3)
		o.Load.Window(record.Lane{Name: "new"}, w)
	}
	o.Sample("api-new", record.ProbeSample{OK: true})
	o.Sample("api-new", record.ProbeSample{Class: "timeout-response"})
	event(5, timeline.KindDrainStalled, "node/b", map[string]string{"pod": "x/1", "cause": "budget"})
	event(5, timeline.KindDrainStalled, "node/b", map[string]string{"pod": "x/1", "cause": "webhook"})
	event(5, timeline.KindDrainStalled, "node/b", map[string]string{"pod": "x/2", "cause": "budget"})
	event(6, timeline.KindDrainResumed, "node/b", map[string]string{"pod": "x/1"})
	event(6, timeline.KindLaneLost, "lane/reused", nil)
	return m
}

// series returns the samples of the metrics that begin with one of names, as the
// text format has them.
func series(t *testing.T, m *Metrics, names ...string) string {
	t.Helper()
	s, err := Listen(t.Context(), "127.0.0.1:0", m)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var out strings.Builder
	for line := range strings.Lines(scrape(t, s)) {
		for _, n := range names {
			if strings.HasPrefix(line, n+"{") || strings.HasPrefix(line, n+" ") {
				out.WriteString(line)
			}
		}
	}
	return out.String()
}

func scrape(t *testing.T, s *Server) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	res, err := client.Get(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", res.Status, err)
	}
	return string(b)
}

func TestWhatIsTold(t *testing.T) {
	m := told()
	got := series(t, m, runInfo, runStart, runSteps, stepsEnded, stepInProgress, stepStart, stepExpected, stepDuration, phaseNow, requests, requestsUnsent, inFlight,
		latency+"_bucket", latency+"_count", latency+"_sum", sendLag+"_count", connections, lanesLost, observations, probeUp, nodesNow, nodesCordoned, drainStalls, stalledPods, verdict)
	want := `rehearse_connections_opened_total{lane="new",phase="baseline"} 2
rehearse_connections_opened_total{lane="new",phase="upgrade"} 2
rehearse_drain_stalled_pods{node="b"} 1
rehearse_drain_stalls_total{cause="budget",node="b"} 2
rehearse_drain_stalls_total{cause="webhook",node="b"} 1
rehearse_lanes_lost_total{lane="reused"} 1
rehearse_nodes{ready="false",role="worker",version="v1.34.4"} 2
rehearse_nodes{ready="true",role="control-plane",version="v1.35.4"} 1
rehearse_nodes_cordoned 1
rehearse_phase{phase="baseline"} 0
rehearse_phase{phase="upgrade"} 1
rehearse_probe_observations_total{outcome="ok",probe="api-new"} 1
rehearse_probe_observations_total{outcome="timeout-response",probe="api-new"} 1
rehearse_probe_up{probe="api-new"} 0
`
	for _, phase := range []string{"baseline", "upgrade"} {
		for _, le := range []string{"0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"} {
			n := 2
			if le == "0.001" || le == "0.0025" {
				n = 0
			}
			want += fmt.Sprintf("rehearse_request_latency_seconds_bucket{lane=%q,phase=%q,le=%q} %d\n", "new", phase, le, n)
		}
		want += fmt.Sprintf("rehearse_request_latency_seconds_sum{lane=%q,phase=%q} 0.008\n", "new", phase)
		want += fmt.Sprintf("rehearse_request_latency_seconds_count{lane=%q,phase=%q} 2\n", "new", phase)
	}
	want += `rehearse_request_send_lag_seconds_count{lane="new",phase="baseline"} 3
rehearse_request_send_lag_seconds_count{lane="new",phase="upgrade"} 3
rehearse_requests_in_flight{lane="new"} 7
rehearse_requests_total{lane="new",outcome="ok",phase="baseline"} 2
rehearse_requests_total{lane="new",outcome="ok",phase="upgrade"} 2
rehearse_requests_total{lane="new",outcome="refused",phase="baseline"} 1
rehearse_requests_total{lane="new",outcome="refused",phase="upgrade"} 1
rehearse_requests_unsent_total{lane="new",phase="baseline"} 1
rehearse_requests_unsent_total{lane="new",phase="upgrade"} 1
rehearse_run_info{driver="sim",from="v1.34.4",run="quickstart-1",scenario="quickstart",to="v1.35.4"} 1
rehearse_run_start_timestamp_seconds 1000.5
rehearse_run_steps 3
rehearse_step_duration_seconds{description="Create",number="1",outcome="passed",section="prepare"} 1.5
rehearse_step_expected_seconds 9
rehearse_step_in_progress{description="Load",number="2",section="measure"} 1
rehearse_step_start_timestamp_seconds 1000.5
rehearse_steps_ended_total{outcome="passed"} 1
rehearse_steps_ended_total{outcome="skipped"} 1
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheVerdictIsTold(t *testing.T) {
	m := told()
	m.End(harness.Entry{Number: 2}, time.Second, errors.New("no"), false)
	m.Verdict(judge.Verdict{Outcome: judge.NoGo, Criteria: []judge.Criterion{{ID: "outage/new", Result: judge.Fail}, {ID: "versions", Result: judge.Pass}}})
	got := series(t, m, verdict, criterionResult, stepInProgress, stepStart, stepsEnded)
	want := `rehearse_criterion_result{criterion="outage/new",result="fail"} 1
rehearse_criterion_result{criterion="versions",result="pass"} 1
rehearse_steps_ended_total{outcome="failed"} 1
rehearse_steps_ended_total{outcome="passed"} 1
rehearse_steps_ended_total{outcome="skipped"} 1
rehearse_verdict{outcome="GO"} 0
rehearse_verdict{outcome="INCONCLUSIVE"} 0
rehearse_verdict{outcome="NO-GO"} 1
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Another rehearsal of the same process begins with nothing of this one.
	m.Begin(plan(), "runs/quickstart-2")
	if got := series(t, m, verdict, criterionResult, stepsEnded, requests, inFlight, nodesNow, drainStalls, phaseNow, stalledPods); got != "" {
		t.Errorf("of the rehearsal before there is still\n%s", got)
	}
	if got := series(t, m, buildInfo); !strings.Contains(got, `goversion="go1.26",revision="abc",version="v1"} 1`) {
		t.Errorf("build info: %s", got)
	}
}

func TestNamesFollowPrometheus(t *testing.T) {
	m := told()
	m.Verdict(judge.Verdict{Outcome: judge.Go, Criteria: []judge.Criterion{{ID: "versions", Result: judge.Pass}}})
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	// Every metric has been seen, so all of them were looked at.
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		seen[f.GetName()] = true
		if f.GetName() == latency && len(f.GetMetric()[0].GetHistogram().GetPositiveSpan()) == 0 {
			t.Error("the latency has no native buckets")
		}
	}
	for _, d := range definitions {
		if !seen[d.name] {
			t.Errorf("%s has no sample in this test", d.name)
		}
	}
}

const (
	guide      = "../../docs/guides/watching.md"
	tableBegin = "| metric | type | labels | what it is |\n|---|---|---|---|\n"
)

// TestGuideListsEveryMetric keeps the guide's table and the registry equal;
// -update writes it anew.
func TestGuideListsEveryMetric(t *testing.T) {
	var want strings.Builder
	for _, d := range definitions {
		labels := ""
		if len(d.labels) > 0 {
			labels = "`" + strings.Join(d.labels, "`, `") + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", d.name, d.kind, labels, d.help)
	}
	b, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), tableBegin)
	if !ok {
		t.Fatalf("%s has no table of metrics that begins with\n%s", guide, tableBegin)
	}
	end := strings.Index(rest, "\n\n")
	if *update {
		if err := os.WriteFile(guide, []byte(before+tableBegin+want.String()+rest[end+1:]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), rest[:end+1]); diff != "" {
		t.Errorf("the guide's table (-registry +guide); -update writes it:\n%s", diff)
	}
}

func TestParseAddr(t *testing.T) {
	for in, want := range map[string]string{
		"9464": "127.0.0.1:9464", ":9464": "127.0.0.1:9464", "0": "127.0.0.1:0", "0.0.0.0:1": "0.0.0.0:1", "[::]:9464": "[::]:9464", "localhost:80": "localhost:80",
	} {
		if got, err := ParseAddr(in); got != want || err != nil {
			t.Errorf("%s: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "x", "65536", "-1", "127.0.0.1", "::1", "http://127.0.0.1:9464"} {
		_, err := ParseAddr(in)
		if want := fmt.Sprintf("%q is not an address to listen on; give a port, such as 9464, for this machine alone, or HOST:PORT, such as 0.0.0.0:9464", in); err == nil || err.Error() != want {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

func TestAddressThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = Listen(t.Context(), l.Addr().String(), New(Build{}))
	if want := "serve the metrics: listen tcp " + l.Addr().String() + ": bind: address already in use; choose another port, or 0 for any that is free"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Who scrapes regularly sees the verdict; nobody else is waited for.
func TestLinger(t *testing.T) {
	s, err := Listen(t.Context(), "127.0.0.1:0", New(Build{}))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Loopback() {
		t.Error("127.0.0.1 is not taken for this machine alone")
	}
	if _, any := s.Expects(); any {
		t.Error("a scrape is expected that nobody asked for")
	}
	scrape(t, s)
	if _, any := s.Expects(); any {
		t.Error("one scrape is no regularity")
	}
	scrape(t, s)
	if within, any := s.Expects(); !any || within <= 0 {
		t.Errorf("after two scrapes another is expected within %v, %v", within, any)
	}
	if s.Linger(t.Context(), time.Millisecond) {
		t.Error("a scrape that never came was waited for")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if s.Linger(ended, time.Hour) {
		t.Error("a scrape came after the end")
	}
	seen := make(chan bool)
	go func() { seen <- s.Linger(t.Context(), time.Minute) }()
	for {
		scrape(t, s)
		select {
		case ok := <-seen:
			if !ok {
				t.Error("the last scrape was not noticed")
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// TestHistogramIsThatOfTheLibrary counts the same values with the library's own
// histogram, one by one.
func TestHistogramIsThatOfTheLibrary(t *testing.T) {
	d := find(latency)
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x", Buckets: d.buckets, NativeHistogramBucketFactor: 1.1})
	ours := newHistograms(d)
	var values record.Histogram
	for _, micros := range []uint64{0, 1, 999, 1000, 1001, 4000, 4000, 4001, 70_000, 1_000_000, 10_000_000, 10_000_001, 60_000_000} {
		values.Add(micros)
	}
	values.ForEach(func(micros, n uint64) {
		for range n {
			theirs.Observe(float64(micros) / 1e6)
		}
	})
	ours.add(&values, "new", "upgrade")
	var want, got dto.Metric
	if err := theirs.Write(&want); err != nil {
		t.Fatal(err)
	}
	collected := make(chan prometheus.Metric, 1)
	ours.Collect(collected)
	if err := (<-collected).Write(&got); err != nil {
		t.Fatal(err)
	}
	if w, g := want.GetHistogram().GetSampleSum(), got.GetHistogram().GetSampleSum(); math.Abs(w-g) > 1e-9 {
		t.Errorf("the sum is %v, the library's %v", g, w)
	}
	for _, h := range []*dto.Histogram{want.GetHistogram(), got.GetHistogram()} {
		h.CreatedTimestamp, h.SampleSum = nil, nil
	}
	if diff := cmp.Diff(want.GetHistogram().String(), got.GetHistogram().String()); diff != "" {
		t.Errorf("(-library +ours):\n%s", diff)
	}
}

// A window costs far less to count than the requests in it cost to send: the
// least that a request costs rehearse is its slot in the record.
func BenchmarkWindow(b *testing.B) {
	m, w := New(Build{}), &record.Window{}
	w.Counts[record.OK] = 1000
	for i := range uint64(1000) {
		w.Latency.Add(1000 + i*i%9000)
		w.SendLag.Add(50 + i%100)
	}
	see := m.Observer().Load.Window
	for b.Loop() {
		see(record.Lane{Name: "new"}, w)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/request")
}
