package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "a-token"

// wire reaches an agent of this process, by a way that takes its time and, where the
// test says so, loses what is sent over it. The agent's clock is off by skew.
type wire struct {
	handler  http.Handler
	there    time.Duration
	back     time.Duration
	skew     func() time.Duration
	mangle   func(path string, body []byte) ([]byte, error) // of an answer
	gone     func() string
	requests int
	mu       sync.Mutex
}

func (w *wire) Do(ctx context.Context, method, path, query string, body []byte) ([]byte, error) {
	w.mu.Lock()
	w.requests++
	w.mu.Unlock()
	if w.gone() != "" {
		return nil, errors.New("no route")
	}
	if err := pause(ctx, w.there); err != nil {
		return nil, err
	}
	if path == agent.PathStart {
		var s agent.Start
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, err
		}
		s.Zero -= int64(w.skew())
		body, _ = json.Marshal(s)
	}
	req := httptest.NewRequestWithContext(ctx, method, "http://agent"+path+"?"+query, bytes.NewReader(body))
	req.Header.Set(agent.HeaderToken, token)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, req)
	if rec.Code/100 != 2 {
		return nil, fmt.Errorf("status %d: %s", rec.Code, strings.TrimSpace(rec.Body.String()))
	}
	out := w.skewed(path, rec.Body.Bytes())
	if err := pause(ctx, w.back); err != nil {
		return nil, err
	}
	return w.mangle(path, out)
}

// skewed makes the agent's clock another.
func (w *wire) skewed(path string, body []byte) []byte {
	switch path {
	case agent.PathClock:
		var c agent.ClockAnswer
		_ = json.Unmarshal(body, &c)
		c.Received, c.Sent = c.Received+int64(w.skew()), c.Sent+int64(w.skew())
		body, _ = json.Marshal(c)
	case agent.PathTold:
		_, payload, rest, _ := agent.ReadEntry(body)
		var h agent.Head
		_ = json.Unmarshal(payload, &h)
		h.Received, h.Sent = h.Received+int64(w.skew()), h.Sent+int64(w.skew())
		payload, _ = json.Marshal(h)
		body = append(agent.AppendEntry(nil, agent.KindHead, payload), rest...)
	}
	return body
}

func (w *wire) Gone(context.Context) (string, error) { return w.gone(), nil }

// memory is a sink that keeps what it is given.
type memory struct {
	windows  []record.Window
	requests []record.Request
	closed   bool
	err      error
}

func (m *memory) WriteWindow(w *record.Window) error {
	m.windows = append(m.windows, *w)
	return m.err
}
func (m *memory) WriteRequest(r *record.Request) error {
	m.requests = append(m.requests, *r)
	return nil
}
func (m *memory) Close() error { m.closed = true; return nil }

// bed is a fleet of this process in a synctest bubble, and the server it asks.
type bed struct {
	*Running
	t       *testing.T
	server  *faulttest.Server
	wires   []*wire
	agents  []*agent.Agent
	cfg     Config
	whole   map[string]*memory
	parts   map[string]*memory // LANE/INDEX
	events  *bytes.Buffer
	clock   timeline.Clock
	network faulttest.Memory
	zero    time.Duration // the first slots
	ran     sync.WaitGroup
	ends    []error
}

// newBed makes n agents ready, for one lane of each kind.
func newBed(t *testing.T, n int, rate float64, kinds []load.Kind, faults ...faulttest.Fault) *bed {
	t.Helper()
	b := &bed{t: t, whole: map[string]*memory{}, parts: map[string]*memory{}, events: &bytes.Buffer{}, clock: timeline.NewClock(time.Now()), ends: make([]error, n)}
	var err error
	if b.server, err = faulttest.StartIn(&b.network, bytes.Repeat([]byte("rehearse "), 30), faults...); err != nil {
		t.Fatal(err)
	}
	b.cfg = Config{
		Timeline: timeline.NewRecorder(b.clock, b.events), Log: slog.New(slog.DiscardHandler),
		Open: func(l record.Lane) (load.LaneSink, error) {
			b.whole[l.Name] = &memory{}
			return b.whole[l.Name], nil
		},
		OpenPart: func(l record.Lane, k int) (load.LaneSink, error) {
			name := fmt.Sprintf("%s/%d", l.Name, k)
			b.parts[name] = &memory{}
			return b.parts[name], nil
		},
	}
	for _, k := range kinds {
		b.cfg.Lanes = append(b.cfg.Lanes, load.Lane{Name: string(k), Kind: k, Target: b.server.URL(), Rate: rate, Timeout: 2 * time.Second, Canary: true})
	}
	for i := range n {
		a, err := agent.New(t.Context(), agent.Config{Name: fmt.Sprintf("agent-%d", i), Token: token, Log: b.cfg.Log, Dial: b.network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{
			handler: a, there: time.Millisecond, back: time.Millisecond, skew: func() time.Duration { return 0 },
			mangle: func(_ string, b []byte) ([]byte, error) { return b, nil }, gone: func() string { return "" },
		}
		b.wires, b.agents = append(b.wires, w), append(b.agents, a)
		b.cfg.Agents = append(b.cfg.Agents, Agent{Name: fmt.Sprintf("agent-%d", i), Node: fmt.Sprintf("node-%d", i), Conn: w})
		b.ran.Go(func() { b.ends[i] = a.Run() })
	}
	return b
}

// start starts the load and arms the server at its first slot.
func (b *bed) start() {
	b.t.Helper()
	f, err := Ready(b.t.Context(), b.cfg, 10*time.Second)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.Running, err = f.Start(b.t.Context(), timeline.PhaseWarmup); err != nil {
		b.t.Fatal(err)
	}
	b.zero = time.Duration(b.event(timeline.KindLaneStart, "lane/"+b.cfg.Lanes[0].Name).T)
	b.server.Arm(b.clock.Start().Add(b.zero))
}

// sleepUntil waits until offset d after the first slot.
func (b *bed) sleepUntil(d time.Duration) { time.Sleep(b.zero + d - b.clock.Now()) }

// end stops the load, and sees the agents end.
func (b *bed) end() {
	b.t.Helper()
	if err := b.Stop(); err != nil {
		b.t.Error(err)
	}
	b.over()
}

func (b *bed) over() {
	b.t.Helper()
	b.ran.Wait()
	b.server.Close()
	for i, err := range b.ends {
		if err != nil {
			b.t.Errorf("agent %d: %v", i, err)
		}
	}
	for name, m := range b.whole {
		if !m.closed {
			b.t.Errorf("lane %s is open", name)
		}
	}
}

// event returns the only event of a kind and subject.
func (b *bed) event(kind, subject string) timeline.Event {
	b.t.Helper()
	all := b.all(kind, subject)
	if len(all) != 1 {
		b.t.Fatalf("%d events %s %s:\n%s", len(all), kind, subject, b.events)
	}
	return all[0]
}

func (b *bed) all(kind, subject string) (out []timeline.Event) {
	b.t.Helper()
	for line := range strings.Lines(b.events.String()) {
		var e timeline.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.t.Fatal(err)
		}
		if e.Kind == kind && (subject == "" || e.Subject == subject) {
			out = append(out, e)
		}
	}
	return out
}

// sum adds up a sink's windows.
func sum(m *memory) (out record.Window) {
	for i := range m.windows {
		w := &m.windows[i]
		for c, n := range w.Counts {
			out.Counts[c] += n
		}
		out.NewConns += w.NewConns
		out.Dropped += w.Dropped
		out.Latency.Merge(&w.Latency)
		out.SendLag.Merge(&w.SendLag)
	}
	return out
}

// checkParts compares what was merged with what the agents sent.
func (b *bed) checkParts() {
	b.t.Helper()
	for name, m := range b.whole {
		whole, parts := sum(m), record.Window{}
		for i := range b.agents {
			p := sum(b.parts[fmt.Sprintf("%s/%d", name, i)])
			for c, n := range p.Counts {
				parts.Counts[c] += n
			}
			parts.NewConns += p.NewConns
			parts.Latency.Merge(&p.Latency)
			parts.SendLag.Merge(&p.SendLag)
		}
		if whole.Counts != parts.Counts || whole.NewConns != parts.NewConns || !whole.Latency.Equal(&parts.Latency) || !whole.SendLag.Equal(&parts.SendLag) {
			b.t.Errorf("lane %s: merged %v, %v; the agents' own %v, %v", name, whole.Counts, &whole.Latency, parts.Counts, &parts.Latency)
		}
	}
}

// planted are the faults of an upgrade: the service is gone, hangs, and refuses to
// serve. None begins or ends when a slot falls due.
func planted() []faulttest.Fault {
	return []faulttest.Fault{
		{Kind: faulttest.Refuse, From: 2001 * time.Millisecond, To: 2501 * time.Millisecond},
		{Kind: faulttest.Hang, From: 4001 * time.Millisecond, To: 5301 * time.Millisecond},
		{Kind: faulttest.Unavailable, From: 6001 * time.Millisecond, To: 6201 * time.Millisecond},
	}
}

// oneEngine records the same load by one engine, in memory.
func oneEngine(t *testing.T, rate float64, kinds []load.Kind, last time.Duration) (whole map[string]*memory, zero time.Duration) {
	t.Helper()
	var network faulttest.Memory
	server, err := faulttest.StartIn(&network, bytes.Repeat([]byte("rehearse "), 30), planted()...)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	clock := timeline.NewClock(time.Now())
	var events bytes.Buffer
	whole = map[string]*memory{}
	c := load.Config{Timeline: timeline.NewRecorder(clock, &events), At: 5 * time.Second, Open: func(l record.Lane) (load.LaneSink, error) {
		whole[l.Name] = &memory{}
		return whole[l.Name], nil
	}}
	for _, k := range kinds {
		c.Lanes = append(c.Lanes, load.Lane{Name: string(k), Kind: k, Target: server.URL(), Rate: rate, Timeout: 2 * time.Second, Canary: true, Dial: network.Dial})
	}
	running, err := load.Start(t.Context(), c, timeline.PhaseWarmup)
	if err != nil {
		t.Fatal(err)
	}
	server.Arm(clock.Start().Add(c.At))
	time.Sleep(c.At + last - clock.Now())
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	return whole, c.At
}

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

// TestClocksAreSetByTheRunners has agents whose clocks are hours off, over ways that
// take longer in one direction.
func TestClocksAreSetByTheRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 3, 30, []load.Kind{load.New})
		for i, w := range b.wires {
			w.skew = func() time.Duration { return time.Duration(i-1) * 3 * time.Hour }
			w.there, w.back = time.Duration(1+9*i)*time.Millisecond, 2*time.Millisecond
		}
		b.start()
		b.sleepUntil(5 * time.Second)
		b.end()
		b.checkParts()
		for i := range 3 {
			e := b.event(timeline.KindAgentStart, fmt.Sprintf("agent/agent-%d", i))
			bound, err := time.ParseDuration(e.Detail["bound"])
			want := time.Duration(3+9*i) * time.Millisecond / 2
			if err != nil || bound != want {
				t.Errorf("agent %d: bound %s, want half of both ways, %s", i, bound, want)
			}
		}
		// What each sends arrives when it is due, but for what is not known of its clock.
		log := b.server.Log()
		if len(log) < 150 || len(log) > 152 {
			t.Fatalf("%d requests arrived", len(log))
		}
		worst := 0.0
		for _, a := range log {
			at := a.At.Seconds() * 30
			worst = max(worst, math.Abs(at-math.Round(at))/30*1e3)
		}
		if worst == 0 || worst > 9 {
			t.Errorf("requests arrive up to %.1f ms beside their time; the clocks are known to 9 ms or better", worst)
		}
	})
}

func TestAClockThatJumpsLosesItsAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 3, 30, []load.Kind{load.New})
		jumped := time.Duration(0)
		var mu sync.Mutex
		b.wires[1].skew = func() time.Duration { mu.Lock(); defer mu.Unlock(); return jumped }
		b.start()
		b.sleepUntil(4 * time.Second)
		mu.Lock()
		jumped = 2500 * time.Millisecond
		mu.Unlock()
		b.sleepUntil(8 * time.Second)
		b.end()
		e := b.event(timeline.KindAgentLost, "agent/agent-1")
		if want := "its clock has jumped: it is 2.5s ± 1ms off the runner's"; e.Detail["reason"] != want || e.Detail["node"] != "node-1" {
			t.Errorf("got  %v\nwant %q", e.Detail, want)
		}
		if n := len(b.all(timeline.KindAgentLost, "")); n != 1 {
			t.Errorf("%d agents are lost", n)
		}
	})
}

// TestAnAgentIsLostAndTheOthersGoOn: its pod is deleted.
func TestAnAgentIsLostAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 3, 90, []load.Kind{load.New, load.Reused})
		var mu sync.Mutex
		gone := ""
		b.wires[2].gone = func() string { mu.Lock(); defer mu.Unlock(); return gone }
		b.start()
		b.sleepUntil(4500 * time.Millisecond)
		mu.Lock()
		gone = "its pod was deleted"
		mu.Unlock()
		b.sleepUntil(10 * time.Second)
		if err := b.Stop(); err != nil {
			t.Errorf("a lost agent is not the lanes' end: %v", err)
		}
		if lost, ok := <-b.Lost(); ok {
			t.Errorf("lane %s is lost: %v", lost.Lane, lost.Err)
		}
		e := b.event(timeline.KindAgentLost, "agent/agent-2")
		told, err := time.ParseDuration(e.Detail["told"])
		if e.Detail["reason"] != "its pod was deleted" || err != nil || told < b.zero+3*time.Second || told > b.zero+4*time.Second {
			t.Errorf("%v, %v", e.Detail, err)
		}
		b.checkParts()
		for i, w := range b.whole["new"].windows[:10] {
			want := uint64(90)
			if w.Second >= int64(told/time.Second) {
				want = 60
			}
			if w.Due() != want || w.Failed() != 0 || w.Counts[record.Unsent] != 0 {
				t.Errorf("second %d: %d slots, %d failed, %d unsent; want %d", i, w.Due(), w.Failed(), w.Counts[record.Unsent], want)
			}
		}
		// The one that cannot be reached ends by itself.
		b.ran.Wait()
		if b.ends[0] != nil || b.ends[2] == nil || b.ends[2].Error() != "load agent: nothing was heard of the runner for 5m0s" {
			t.Errorf("they ended with %v", b.ends)
		}
		b.server.Close()
	})
}

func TestAllAgentsLostLosesTheLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 2, 50, []load.Kind{load.New})
		var mu sync.Mutex
		gone := ""
		for _, w := range b.wires {
			w.gone = func() string { mu.Lock(); defer mu.Unlock(); return gone }
		}
		b.start()
		b.sleepUntil(3 * time.Second)
		mu.Lock()
		gone = "the node is gone"
		mu.Unlock()
		lost := <-b.Lost()
		if err := b.Stop(); err == nil || err.Error() != "lane new: every agent that sent it is lost" || lost.Lane != "new" {
			t.Errorf("%v, %v", lost, err)
		}
		b.event(timeline.KindLaneLost, "lane/new")
		b.ran.Wait()
		b.server.Close()
	})
}

// TestBrokenConnectionsLoseNothing breaks the way to the agents again and again:
// before a question arrives, after it, and in the midst of the answer.
func TestBrokenConnectionsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, last = 100, 8 * time.Second
		want, _ := oneEngine(t, rate, []load.Kind{load.New}, last)
		b := newBed(t, 3, rate, []load.Kind{load.New}, planted()...)
		for i, w := range b.wires {
			n := i
			w.mangle = func(path string, body []byte) ([]byte, error) {
				if path != agent.PathTold {
					return body, nil
				}
				switch n++; n % 4 {
				case 0:
					return nil, errors.New("connection reset") // it was answered, and nobody heard
				case 1:
					return body[:len(body)*2/3], nil
				case 2:
					return body[:min(len(body), 5)], nil
				}
				return body, nil
			}
		}
		b.start()
		b.sleepUntil(last)
		b.end()
		b.checkParts()
		got := b.whole["new"]
		for i := range int(last / time.Second) {
			if got.windows[i].Counts != want["new"].windows[i].Counts {
				t.Errorf("second %d: %v; one engine %v", i, got.windows[i].Counts, want["new"].windows[i].Counts)
			}
		}
		if n := len(b.all(timeline.KindAgentLost, "")); n > 0 {
			t.Errorf("%d agents are lost", n)
		}
	})
}

// TestAnAbsentRunnerIsCaughtUpWith: nothing is heard of anybody for two minutes.
func TestAnAbsentRunnerIsCaughtUpWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 3, 50, []load.Kind{load.New})
		var away atomic.Bool
		for _, w := range b.wires {
			w.mangle = func(_ string, body []byte) ([]byte, error) {
				if away.Load() {
					return nil, errors.New("the API server is away")
				}
				return body, nil
			}
		}
		b.start()
		b.sleepUntil(2 * time.Second)
		away.Store(true)
		b.sleepUntil(2*time.Minute + 2*time.Second)
		away.Store(false)
		b.sleepUntil(3 * time.Minute)
		b.end()
		b.checkParts()
		for i, w := range b.whole["new"].windows[:180] {
			if w.Counts[record.OK] != 50 || w.Due() != 50 {
				t.Fatalf("second %d: %v", i, w.Counts)
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

func TestAClockThatCannotBeReadStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 2, 50, []load.Kind{load.New})
		b.wires[1].back = 400 * time.Millisecond
		f, err := Ready(t.Context(), b.cfg, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Start(t.Context(), timeline.PhaseWarmup)
		want := "start load: agent agent-1 on node node-1: its clock cannot be read better than to 201ms over the connection to it, and 100ms is needed: the API server between may be overloaded, or far away"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		for _, w := range b.wires {
			_, _ = w.Do(t.Context(), "POST", agent.PathQuit, "", nil)
		}
		b.ran.Wait()
		b.server.Close()
	})
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
