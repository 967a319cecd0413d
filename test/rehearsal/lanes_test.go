package rehearsal

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/recompute"
)

// allLanes is the short rehearsal with every lane, its criteria of rates off: on
// a busy machine a second without the runner is no trouble of a lane's.
var allLanes = strings.NewReplacer(
	"load: {rate: 50,", "load: {rate: 50, lanes: [new, reused, http2, cached-dns, stream],",
	"thresholds: {", "thresholds: {successRate: off, errorIncrease: off, longestOutage: 30s, ",
).Replace(short)

func criterion(t *testing.T, v judge.Verdict, id string) judge.Criterion {
	t.Helper()
	for _, c := range v.Criteria {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("the verdict has no criterion %s", id)
	return judge.Criterion{}
}

// TestEveryLane drains the stream's pod, wherever it runs, at least once: that is
// planned, and reported.
func TestEveryLane(t *testing.T) {
	var plan *harness.RunPlan
	res := untilTold(t, func() (res *harness.Result) {
		plan, res = rehearse(t, allLanes)
		return res
	}, decided(t, "reconnects/stream"))
	said := false
	for _, e := range plan.Entries {
		said = said || e.Description == "Start the load (lanes new, reused, http2, cached-dns, stream and control, 50 requests a second each but 10 lines on stream) and warm up for 1s"
	}
	if !said {
		t.Error("the plan does not say which lanes it sends")
	}
	sent := map[string]uint64{}
	for _, l := range res.Record.Lanes {
		var failed, all uint64
		for i := range l.Windows {
			failed, all = failed+l.Windows[i].Failed(), all+l.Windows[i].Sent()
		}
		sent[l.Lane.Name] = all
		if l.Lane.Name != "stream" && failed > 0 {
			t.Errorf("lane %s lost %d of %d requests", l.Lane.Name, failed, all)
		}
		if want := map[bool]float64{false: 50, true: 10}[l.Lane.Name == "stream"]; l.Lane.Rate != want {
			t.Errorf("lane %s has a rate of %v, want %v", l.Lane.Name, l.Lane.Rate, want)
		}
	}
	for _, name := range []string{"new", "reused", "http2", "cached-dns", "stream", "control"} {
		if sent[name] == 0 {
			t.Errorf("lane %s sent nothing", name)
		}
	}
	breaks := count(res.Record, timeline.KindStreamBroken)
	c := criterion(t, res.Verdict, "reconnects/stream")
	if c.Result != judge.Pass || breaks == 0 || !strings.Contains(c.Explain, "within the planned drain of its pod's node.") {
		t.Errorf("%d breaks; reconnects/stream is %s: %s", breaks, c.Result, c.Explain)
	}
	for _, e := range res.Record.Events {
		if e.Kind == timeline.KindStreamBroken && (e.Detail["pod"] == "" || !strings.Contains(e.Detail["node"], "worker")) {
			t.Errorf("a break does not name pod and node: %v", e.Detail)
		}
	}
	for _, id := range []string{"outage/http2", "outage/cached-dns", "outage/stream"} {
		if c := criterion(t, res.Verdict, id); c.Result == judge.Fail {
			t.Errorf("%s: %s", id, c.Explain)
		}
	}
	recompute.Check(t, res.Dir)
}

// during sets itself while the step runs whose description begins so.
type during struct {
	step string
	now  atomic.Bool
}

func (d *during) Start(e harness.Entry, _ int) { d.now.Store(strings.HasPrefix(e.Description, d.step)) }
func (d *during) End(harness.Entry, time.Duration, error, bool) {
}

// TestBrokenStreamIsNoGo cuts every connection for a moment after the last drain:
// no other lane minds, and the stream's criterion fails.
func TestBrokenStreamIsNoGo(t *testing.T) {
	res := untilTold(t, func() *harness.Result { return brokenStream(t) }, decided(t, "reconnects/stream"))
	c := criterion(t, res.Verdict, "reconnects/stream")
	if c.Result != judge.Fail || !strings.HasPrefix(c.Explain, "The stream broke once outside a planned drain, first at ") {
		t.Errorf("reconnects/stream is %s: %s", c.Result, c.Explain)
	}
	if res.Verdict.Outcome != judge.NoGo || !strings.HasPrefix(res.Verdict.Summary, "reconnects/stream failed: The stream broke once outside a planned drain") {
		t.Errorf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
	}
}

func brokenStream(t *testing.T) *harness.Result {
	settling := &during{step: "Settle"}
	var since atomic.Int64
	faults := sim.Faults{BalancerDown: func() bool {
		if !settling.now.Load() {
			return false
		}
		since.CompareAndSwap(0, time.Now().UnixNano())
		return time.Now().UnixNano()-since.Load() < int64(50*time.Millisecond)
	}}
	_, res := rehearseWith(t, strings.Replace(allLanes, "settle: 1s", "settle: 4s", 1), faults, settling)
	return res
}
