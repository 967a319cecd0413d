// Package rehearsal runs whole rehearsals on the embedded cluster: the same
// plan, steps, load, judge and reports as on a real one, in seconds.
package rehearsal

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/recompute"
)

// short is a rehearsal of seconds. Only what the embedded cluster does is
// scaled: phases and intervals are the scenario's own.
const short = `
apiVersion: rehearse/v1alpha1
scenarios:
- name: short
  cluster: {driver: sim, controlPlanes: 1, workers: 2}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 10s}
  load: {rate: 50, warmup: 1s, baseline: 5s, settle: 1s}
  upgrade: {controlPlaneInterval: 0s, nodeInterval: 0s, postDrainDelay: 0s, validationInterval: 200ms}
  thresholds: {p50Increase: off, p99Increase: off}
`

type quiet struct{}

func (quiet) Start(harness.Entry, int)                      {}
func (quiet) End(harness.Entry, time.Duration, error, bool) {}

func rehearse(t *testing.T, file string) (*harness.RunPlan, *harness.Result) {
	t.Helper()
	return rehearseWith(t, file, sim.Faults{}, quiet{})
}

func rehearseWith(t *testing.T, file string, faults sim.Faults, progress harness.Progress) (*harness.RunPlan, *harness.Result) {
	t.Helper()
	return rehearseAt(t, 10, file, faults, progress)
}

// rehearseAt runs the rehearsal on a cluster that is scale times as fast as a
// real one.
func rehearseAt(t *testing.T, scale float64, file string, faults sim.Faults, progress harness.Progress) (*harness.RunPlan, *harness.Result) {
	t.Helper()
	f, err := scenarios.Parse("short.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	driver := sim.New(sim.Options{Seed: 7, Scale: scale, Faults: faults, Log: slog.New(slog.DiscardHandler)})
	plan, err := harness.Plan(&f.Scenarios[0], driver)
	if err != nil {
		t.Fatal(err)
	}
	res, err := harness.Run(t.Context(), plan, harness.Options{
		Out: t.TempDir(), Tool: "test", Driver: driver, Log: slog.New(slog.DiscardHandler), Progress: progress, Cleanup: &cleanup.Stack{}, Report: reports.Write,
	})
	if err != nil || res.Err != nil {
		t.Fatalf("run: %v, %v", err, res.Err)
	}
	return plan, res
}

// untilTold rehearses again, three times at most, where a machine that was busy in
// the very second that matters cannot tell, and says so.
func untilTold(t *testing.T, run func() *harness.Result, told func(judge.Verdict) bool) *harness.Result {
	t.Helper()
	res := run()
	for n := 0; n < 3 && !told(res.Verdict); n++ {
		t.Logf("again, on a machine that may be less busy: %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
		res = run()
	}
	return res
}

func conclusive(v judge.Verdict) bool { return v.Outcome != judge.Inconclusive }

// decided asks for a result of one criterion.
func decided(t *testing.T, id string) func(judge.Verdict) bool {
	return func(v judge.Verdict) bool { return criterion(t, v, id).Result != judge.Undecided }
}

func TestCleanRehearsal(t *testing.T) {
	plan, res := rehearse(t, short)
	if res.Verdict.Outcome == judge.NoGo || !res.Verdict.Simulated {
		t.Errorf("verdict %s (simulated %v): %s", res.Verdict.Outcome, res.Verdict.Simulated, res.Verdict.Summary)
	}
	var planned, done []string
	for _, e := range plan.Entries[:len(plan.Entries)-1] { // the last is judging, after the record is closed
		planned = append(planned, e.Description)
	}
	for _, s := range res.Record.Run.Steps {
		done = append(done, s.Description)
		if s.Outcome != record.OutcomePassed {
			t.Errorf("step %d, %s: %s %s", s.Number, s.Description, s.Outcome, s.Error)
		}
	}
	if diff := cmp.Diff(planned, done); diff != "" {
		t.Errorf("what ran is not what was planned (-plan +run):\n%s", diff)
	}
	if v := res.Record.Run.Versions; v.Before != "v1.34.4" || v.After != "v1.35.4" {
		t.Errorf("versions %+v", v)
	}
	// A machine without time for the test loses requests on the control lane, too.
	failed, sent, excused := map[string]uint64{}, map[string]uint64{}, uint64(0)
	for _, lane := range res.Record.Lanes {
		for i := range lane.Windows {
			failed[lane.Lane.Name] += lane.Windows[i].Failed()
			sent[lane.Lane.Name] += lane.Windows[i].Sent()
		}
		if lane.Lane.Control {
			excused = failed[lane.Lane.Name]
		}
	}
	if len(sent) != 3 {
		t.Errorf("%d lanes were recorded, want 3", len(sent))
	}
	for lane, n := range sent {
		if failed[lane] > excused || n == 0 {
			t.Errorf("lane %s lost %d of %d requests, and the control lane %d", lane, failed[lane], n, excused)
		}
	}
	for _, c := range res.Verdict.Criteria {
		if c.ID == "versions" && c.Result != judge.Pass || strings.HasPrefix(c.ID, "component/") && c.Result != judge.Pass {
			t.Errorf("%s: %s: %s", c.ID, c.Result, c.Explain)
		}
	}
	for _, kind := range []string{timeline.KindCordon, timeline.KindEvict, timeline.KindUncordon, timeline.KindNodeVersion, timeline.KindValidation} {
		if n := count(res.Record, kind); n == 0 {
			t.Errorf("the timeline has no %s", kind)
		}
	}
	recompute.Check(t, res.Dir)
}

// TestSingleReplicaIsNamed takes the service down with the drain of its node.
func TestSingleReplicaIsNamed(t *testing.T) {
	file := strings.Replace(short, "replicas: 2, podDisruptionBudget: {maxUnavailable: 1}, shutdownDelay: 10s", "replicas: 1, shutdownDelay: 0s, gracePeriod: 0s", 1)
	file = strings.Replace(file, "thresholds: {", "thresholds: {longestOutage: 50ms, ", 1)
	res := untilTold(t, func() *harness.Result { _, res := rehearse(t, file); return res }, conclusive)
	var failed []string
	for _, c := range res.Verdict.Criteria {
		if c.Result == judge.Fail {
			failed = append(failed, c.ID)
		}
	}
	if res.Verdict.Outcome != judge.NoGo || len(res.Verdict.Outages) == 0 || !strings.Contains(strings.Join(failed, " "), "outage/") {
		t.Errorf("verdict %s, failed %v, %d outages: %s", res.Verdict.Outcome, failed, len(res.Verdict.Outages), res.Verdict.Summary)
	}
}

func count(r *record.Record, kind string) int {
	n := 0
	for _, e := range r.Events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
