package fleet

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAgentsRecordWhatOneEngineDoes runs the same load against the same faults, once
// by one engine and once by three agents.
func TestAgentsRecordWhatOneEngineDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, last = 100, 8 * time.Second
		kinds := []load.Kind{load.New, load.Reused}
		want, wantZero := oneEngine(t, rate, kinds, last)
		b := newBed(t, 3, rate, kinds, planted()...)
		b.start()
		b.sleepUntil(last)
		b.end()
		b.checkParts()
		for _, k := range kinds {
			got, want := b.whole[string(k)], want[string(k)]
			shift := int64((b.zero - wantZero) / time.Second)
			// Each stops on its own: the last second is of one moment or another.
			for i := range int(last / time.Second) {
				g, w := got.windows[i], want.windows[i]
				if g.Second-shift != w.Second {
					t.Fatalf("lane %s: second %d stands where one engine has second %d", k, g.Second-shift, w.Second)
				}
				if g.Counts != w.Counts || g.Latency.Quantile(0.5) != w.Latency.Quantile(0.5) || g.Latency.Quantile(0.99) != w.Latency.Quantile(0.99) || g.Latency.Max() != w.Latency.Max() {
					t.Errorf("lane %s, second %d: %v %v; one engine %v %v", k, w.Second, g.Counts, &g.Latency, w.Counts, &w.Latency)
				}
				for j := range g.Spans {
					g.Spans[j].First -= shift * 1e9
					g.Spans[j].Last -= shift * 1e9
				}
				if diff := cmp.Diff(w.Spans, g.Spans); diff != "" {
					t.Errorf("lane %s, second %d: spans (-one engine +agents):\n%s", k, w.Second, diff)
				}
			}
			failed := sum(got)
			if failed.Failed() < 60 || failed.Latency.Max() < 1_200_000 {
				t.Errorf("lane %s: %v %v: the faults were not seen", k, failed.Counts, &failed.Latency)
			}
			by := map[string]int{}
			for _, r := range got.requests {
				by[r.Agent]++
			}
			if len(by) != 3 || by["agent-0"] == 0 {
				t.Errorf("single requests by agent: %v", by)
			}
		}
		for i := range 3 {
			e := b.event(timeline.KindAgentEnd, fmt.Sprintf("agent/agent-%d", i))
			if o, err := time.ParseDuration(e.Detail["offset"]); err != nil || o.Abs() > 2*time.Millisecond || e.Detail["bound"] != "1ms" {
				t.Errorf("at the end: %v", e.Detail)
			}
		}
	})
}

func TestNotReady(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(b *bed)
		want  string
	}{
		{"an address that does not answer", func(b *bed) {
			b.cfg.Lanes[0].Target = "http://192.0.2.1/"
			b.server.Close()
		}, "not every load agent reaches what it shall send load to, after 10s:\n" +
			"agent agent-0 on node node-0: lane new: http://192.0.2.1/ refuses the connection; is anything listening there? (refused: dial tcp: connection refused)\n" +
			"agent agent-1 on node node-1: lane new: http://192.0.2.1/ refuses the connection; is anything listening there? (refused: dial tcp: connection refused)"},
		{"a pod that is gone", func(b *bed) {
			b.wires[1].gone = func() string { return "its pod was evicted" }
		}, "agent agent-1 on node node-1: its pod was evicted"},
		{"another release", func(b *bed) {
			b.wires[0].mangle = func(path string, body []byte) ([]byte, error) {
				return bytes.Replace(body, []byte(`"version":1`), []byte(`"version":9`), 1), nil
			}
		}, "agent agent-0 on node node-0 speaks version 9 of the protocol, this is version 1: use an image of the same release (load.agentImage)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, 2, 50, []load.Kind{load.New})
				c.spoil(b)
				_, err := Ready(t.Context(), b.cfg, 10*time.Second)
				if err == nil || err.Error() != c.want {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
				for _, m := range b.wires {
					m.gone = func() string { return "" }
					m.mangle = func(_ string, body []byte) ([]byte, error) { return body, nil }
					_, _ = m.Do(t.Context(), "POST", agent.PathQuit, "", nil)
				}
				b.ran.Wait()
				b.server.Close()
			})
		})
	}
}

func TestExchange(t *testing.T) {
	// 1 s ahead; 30 ms there, 5 ms of work, 10 ms back.
	o := exchange(0, 1_030_000_000, 1_035_000_000, 45_000_000)
	if o != (Offset{Offset: 1010 * time.Millisecond, Bound: 20 * time.Millisecond}) {
		t.Errorf("%+v", o)
	}
	if got := o.String(); got != "1.01s ± 20ms" {
		t.Error(got)
	}
	if got := o.certain(); got != 990*time.Millisecond {
		t.Error(got)
	}
}
