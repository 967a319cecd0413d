package rehearsal

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/metrics"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// scrape is the samples of one scrape by name and labels, as the text has them.
type scrape map[string]float64

// sum adds up the samples whose name and labels hold all of parts.
func (s scrape) sum(parts ...string) float64 {
	total := 0.0
samples:
	for name, v := range s {
		for _, p := range parts {
			if !strings.Contains(name, p) {
				continue samples
			}
		}
		total += v
	}
	return total
}

// has lists the samples that begin with name, and are not 0.
func (s scrape) has(name string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(k, name+"{") && s[k] != 0 {
			out = append(out, strings.TrimPrefix(k, name))
		}
	}
	return out
}

func read(t *testing.T, url string) (string, scrape) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := scrape{}
	for line := range strings.Lines(string(b)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			if s[line[:i]], err = strconv.ParseFloat(strings.TrimSpace(line[i:]), 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return string(b), s
}

// TestScrapedWhileItRuns scrapes a rehearsal from its begin to its end: what
// counts only grows, and in the end the metrics say what the record says.
func TestScrapedWhileItRuns(t *testing.T) {
	t.Parallel()
	f, err := scenarios.Parse("short.yaml", []byte(short))
	if err != nil {
		t.Fatal(err)
	}
	driver := sim.New(sim.Options{Seed: 7, Scale: 10, Log: slog.New(slog.DiscardHandler)})
	plan, err := harness.Plan(&f.Scenarios[0], driver)
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New(metrics.Build{Version: "test"})
	server, err := metrics.Listen(t.Context(), "127.0.0.1:0", m)
	if err != nil {
		t.Fatal(err)
	}
	var res *harness.Result
	ended := make(chan error, 1)
	go func() {
		var err error
		res, err = harness.Run(t.Context(), plan, harness.Options{
			Out: t.TempDir(), Tool: "test", Driver: driver, Log: slog.New(slog.DiscardHandler), Cleanup: &cleanup.Stack{},
			Progress: m, Events: m.Event, Observer: m.Observer(), Begun: func(dir string) { m.Begin(plan, dir) },
			Report: func(dir string, r *record.Record, v judge.Verdict) error {
				m.Verdict(v)
				return reports.Write(dir, r, v)
			},
		})
		ended <- err
	}()

	before := scrape{}
	phases, steps, versions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	inFlight := 0.0
	for done := false; !done; {
		select {
		case err := <-ended:
			if err != nil || res.Err != nil {
				t.Fatalf("run: %v, %v", err, res.Err)
			}
			done = true
		case <-time.After(150 * time.Millisecond):
		}
		text, now := read(t, server.URL())
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil || len(problems) > 0 {
			t.Fatalf("%v, %v", problems, err)
		}
		for name, v := range before {
			family, _, _ := strings.Cut(name, "{")
			if strings.HasPrefix(name, "rehearse_") && (strings.HasSuffix(family, "_total") || strings.HasSuffix(family, "_bucket")) && now[name] < v {
				t.Errorf("%s fell from %v to %v", name, v, now[name])
			}
		}
		before = now
		for _, p := range now.has("rehearse_phase") {
			phases[p] = true
		}
		for _, s := range now.has("rehearse_step_in_progress") {
			steps[s] = true
		}
		for _, n := range now.has("rehearse_nodes") {
			versions[n] = true
		}
		inFlight = max(inFlight, now.sum("rehearse_requests_in_flight"))
	}
	if err := server.Close(t.Context()); err != nil {
		t.Error(err)
	}

	for _, want := range []string{`{phase="baseline"}`, `{phase="upgrade"}`} {
		if !phases[want] {
			t.Errorf("the phase %s was never seen: %v", want, phases)
		}
	}
	if len(steps) < 5 {
		t.Errorf("only the steps %v were seen in progress", slices.Sorted(maps.Keys(steps)))
	}
	for _, want := range []string{
		`{ready="true",role="worker",version="v1.34.4"}`, `{ready="true",role="worker",version="v1.35.4"}`, `{ready="true",role="control-plane",version="v1.35.4"}`,
	} {
		if !versions[want] {
			t.Errorf("nodes %s were never seen: %v", want, versions)
		}
	}
	if inFlight == 0 {
		t.Error("no request was ever under way")
	}
	// What was counted is what was recorded.
	for _, lane := range res.Record.Lanes {
		is, name := `lane="`+lane.Lane.Name+`"`, lane.Lane.Name
		var ok, sent, unsent uint64
		for i := range lane.Windows {
			w := &lane.Windows[i]
			ok, sent, unsent = ok+w.Counts[record.OK], sent+w.Sent(), unsent+w.Counts[record.Unsent]
		}
		for what, c := range map[string][2]float64{
			"requests": {before.sum("rehearse_requests_total{", is), float64(sent)},
			"unsent":   {before.sum("rehearse_requests_unsent_total{", is), float64(unsent)},
			"latency":  {before.sum("rehearse_request_latency_seconds_count{", is), float64(ok)},
			"send lag": {before.sum("rehearse_request_send_lag_seconds_count{", is), float64(sent)},
		} {
			if c[0] != c[1] {
				t.Errorf("lane %s, %s: the metrics say %v, the record %v", name, what, c[0], c[1])
			}
		}
	}
	for _, p := range res.Record.Probes {
		if got := before.sum("rehearse_probe_observations_total{", `probe="`+p.Probe.Name+`"`); got != float64(len(p.Samples)) {
			t.Errorf("probe %s: the metrics say %v, the record %d", p.Probe.Name, got, len(p.Samples))
		}
	}
	if got := before.sum("rehearse_timeline_events_total{"); got != float64(len(res.Record.Events)) {
		t.Errorf("the metrics say %v events, the record %d", got, len(res.Record.Events))
	}
	if got, want := before.has("rehearse_verdict"), []string{`{outcome="` + string(res.Verdict.Outcome) + `"}`}; !slices.Equal(got, want) {
		t.Errorf("verdict %v, want %v", got, want)
	}
	if got := before.sum("rehearse_criterion_result{"); got != float64(len(res.Verdict.Criteria)) {
		t.Errorf("%v of %d criteria are told", got, len(res.Verdict.Criteria))
	}
	if got := before.sum("rehearse_steps_ended_total{"); got != float64(len(plan.Entries)) {
		t.Errorf("%v of %d steps have ended", got, len(plan.Entries))
	}
}
