package rehearsal

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestDNSIsWatchedFromEveryNode has a series for each node, also for those that
// join, and none of those that leave takes the verdict with it.
func TestDNSIsWatchedFromEveryNode(t *testing.T) {
	t.Parallel()
	_, res := rehearseAt(t, 10, strategy("strategy: replace", "controlPlanes: 1, workers: 2"), sim.Faults{}, quiet{})
	series := map[string]int{}
	for _, p := range res.Record.Probes {
		if node, ok := strings.CutPrefix(p.Probe.Name, "dns-"); ok {
			series[node] = len(p.Samples)
			for _, s := range p.Samples {
				if !s.OK && s.Class != "timeout-response" {
					t.Errorf("%s: %s %s", node, s.Class, s.Error)
				}
			}
		}
	}
	var nodes []string
	for _, n := range append(res.Record.Before.Nodes, res.Record.After.Nodes...) {
		nodes = append(nodes, n.Name)
		if series[n.Name] == 0 {
			t.Errorf("the DNS of node %s was not watched: %v", n.Name, series)
		}
	}
	if len(series) != 5 {
		t.Errorf("series %v, want those of a control plane, 2 old workers and 2 new ones of %q", series, nodes)
	}
	for _, e := range res.Record.Events {
		if e.Kind == timeline.KindProbeLost {
			t.Errorf("%s was lost: %v", e.Subject, e.Detail)
		}
	}
	for _, v := range res.Verdict.Validity {
		if strings.HasPrefix(v.Rule, "probe-data/dns-") {
			t.Errorf("the verdict hangs on %s", v.Rule)
		}
	}
	for node := range series {
		if c := criterion(t, res.Verdict, "probe/dns-"+node); c.Result != judge.Reported {
			t.Errorf("%s: %s %s", c.ID, c.Result, c.Explain)
		} else {
			t.Logf("%s %q", c.Explain, c.Warnings)
		}
	}
	if res.Verdict.Outcome != judge.Go {
		t.Logf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
	}
}

// settling calls f when the rehearsal begins to settle.
type settling struct {
	quiet
	f func()
}

// Start implements harness.Progress.
func (s settling) Start(e harness.Entry, _ int) {
	if strings.HasPrefix(e.Description, "Settle") {
		s.f()
	}
}

// settle is a rehearsal of one worker and a long settling.
func settle(d string) string {
	return strings.Replace(strategy("strategy: in-place", "controlPlanes: 1, workers: 2"), "settle: 1s", "settle: "+d, 1)
}

// TestDNSThatIsAwayIsAFinding on every node, in its series as well.
func TestDNSThatIsAwayIsAFinding(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	_, res := rehearseAt(t, fast, settle("14s"), sim.Faults{DNSDown: down.Load}, settling{f: func() { down.Store(true) }})
	for _, n := range res.Record.Before.Nodes {
		if failed := failedSamples(res.Record, "dns-"+n.Name); failed < 3 {
			t.Errorf("%s: %d observations failed, want at least 3", n.Name, failed)
		}
		if !slices.ContainsFunc(res.Record.Run.Findings, func(f record.Finding) bool {
			return f.ID == "dns-away" && f.Object == "node/"+n.Name && f.Severity == record.SeverityWarn &&
				strings.HasSuffix(f.Cause, "lookup kubernetes.default.svc.cluster.local.: no answer within 2s")
		}) {
			t.Errorf("no finding names %s: %+v", n.Name, res.Record.Run.Findings)
		}
	}
}

// TestOverlayThatIsDownShowsOnceItIsBack: what the agent saw while nobody could
// reach it is told later, and is no gap.
func TestOverlayThatIsDownShowsOnceItIsBack(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	_, res := rehearseAt(t, fast, settle("16s"),
		sim.Faults{OverlayDown: func(node string) bool { return strings.HasSuffix(node, "-worker2") && down.Load() }},
		settling{f: func() {
			down.Store(true)
			time.AfterFunc(8*time.Second, func() { down.Store(false) })
		}})
	failed := 0
	for _, n := range res.Record.Before.Nodes {
		failed += failedSamples(res.Record, "dns-"+n.Name)
		if c := criterion(t, res.Verdict, "probe/dns-"+n.Name); len(c.Warnings) > 0 {
			t.Errorf("%s has gaps: %q", n.Name, c.Warnings)
		}
	}
	if failed < 3 {
		t.Errorf("%d observations failed on all nodes, want at least 3", failed)
	}
}

func failedSamples(r *record.Record, probe string) int {
	n := 0
	for _, p := range r.Probes {
		if p.Probe.Name == probe {
			for _, s := range p.Samples {
				if !s.OK {
					n++
				}
			}
		}
	}
	return n
}
