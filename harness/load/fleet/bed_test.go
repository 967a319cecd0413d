package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

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
