package load

import (
	"bytes"
	"context"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/buffer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a LaneSink that keeps what it is given.
type memory struct {
	lane     record.Lane
	windows  []record.Window
	requests []record.Request
	closed   bool
}

func (m *memory) WriteWindow(w *record.Window) error { m.windows = append(m.windows, *w); return nil }
func (m *memory) WriteRequest(r *record.Request) error {
	m.requests = append(m.requests, *r)
	return nil
}
func (m *memory) Close() error { m.closed = true; return nil }

// counts sums the windows up, and checks that seconds follow each other.
func (m *memory) counts(t *testing.T) (sum [record.NumClasses]uint64) {
	t.Helper()
	for i, w := range m.windows {
		if i > 0 && w.Second != m.windows[i-1].Second+1 {
			t.Errorf("lane %s: second %d follows second %d", m.lane.Name, w.Second, m.windows[i-1].Second)
		}
		for c, n := range w.Counts {
			sum[c] += n
		}
	}
	return sum
}

// test is a run of the engine in memory.
type testRun struct {
	*Running
	lanes  map[string]*memory
	events *bytes.Buffer
	clock  timeline.Clock
	// zero is the offset at which the first slots fall due.
	zero time.Duration
}

func startLanes(t *testing.T, lanes ...Lane) *testRun {
	t.Helper()
	return startIn(t.Context(), t, lanes, func(l record.Lane) LaneSink { return &memory{lane: l} })
}

func startWith(ctx context.Context, t *testing.T, lane Lane, sink LaneSink) *testRun {
	t.Helper()
	return startIn(ctx, t, []Lane{lane}, func(record.Lane) LaneSink { return sink })
}

func startIn(ctx context.Context, t *testing.T, lanes []Lane, open func(record.Lane) LaneSink) *testRun {
	t.Helper()
	r := &testRun{lanes: map[string]*memory{}, events: &bytes.Buffer{}, clock: timeline.NewClock(time.Now())}
	running, err := Start(ctx, Config{
		Lanes:    lanes,
		Timeline: timeline.NewRecorder(r.clock, r.events),
		Open: func(l record.Lane) (LaneSink, error) {
			sink := open(l)
			r.lanes[l.Name], _ = sink.(*memory)
			return sink, nil
		},
	}, timeline.PhaseWarmup)
	if err != nil {
		t.Fatal(err)
	}
	r.Running = running
	r.zero = time.Duration(running.lanes[0].ledger.sched.origin)
	return r
}

// sleepUntil waits until offset d after the run's first slot.
func (r *testRun) sleepUntil(d time.Duration) { time.Sleep(r.zero + d - r.clock.Now()) }

func TestEverySlotIsAnsweredOverPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, dial := startInMemory(t)
		lane := func(name string, kind Kind, rate float64) Lane {
			return Lane{Name: name, Kind: kind, Target: srv.URL(), Rate: rate, Timeout: time.Second, Canary: true, Dial: dial}
		}
		control := lane("control", Reused, 0.7)
		control.Control = true
		r := startLanes(t, lane("new", New, 150), lane("reused", Reused, 300), lane("cached", CachedDNS, 50), control)
		srv.Arm(r.clock.Start().Add(r.zero))
		for i := range 70 { // phase changes must neither lose nor double slots
			r.sleepUntil(time.Duration(i) * 41 * time.Millisecond)
			r.Phase("p")
		}
		const last = 2951 * time.Millisecond
		r.sleepUntil(last)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		received := uint64(0)
		for name, m := range r.lanes {
			sum := m.counts(t)
			// The last slot may be taken up to 20 ms ahead of its time.
			due := last.Seconds() * m.lane.Rate
			if n := float64(total(sum)); n < due-1 || n > due+1+m.lane.Rate*patience.Seconds() {
				t.Errorf("lane %s: %d slots, about %.0f were due", name, total(sum), due)
			}
			if sum[record.OK] != total(sum) {
				t.Errorf("lane %s: outcomes %v, %+v", name, sum, m.requests)
			}
			if !m.closed {
				t.Errorf("lane %s: sink not closed", name)
			}
			received += sum[record.OK]
			var conns uint64
			for i := range m.windows {
				w := &m.windows[i]
				conns += w.NewConns
				if i < len(m.windows)-1 && math.Abs(float64(w.Due())-m.lane.Rate) >= 1 {
					t.Errorf("lane %s: %d slots in second %d at %v/s", name, w.Due(), w.Second, m.lane.Rate)
				}
			}
			want := map[string]uint64{"new": total(sum), "cached": total(sum), "reused": DefaultConnections, "control": total(sum)}[name]
			if conns != want { // control: fewer requests than connections to keep
				t.Errorf("lane %s: %d connections for %d requests, want %d", name, conns, total(sum), want)
			}
		}
		// Every request of the lanes reached the server, once.
		if n := uint64(len(srv.Log())); n != received {
			t.Errorf("the server received %d requests, the record says %d", n, received)
		}
		for _, want := range []string{`"kind":"lane-start","subject":"lane/reused"`, `"kind":"lane-end","subject":"lane/new"`,
			`"kind":"phase","subject":"phase/warmup"`, `"kind":"phase-end","subject":"phase/p"`} {
			if !strings.Contains(r.events.String(), want) {
				t.Errorf("the timeline lacks %s", want)
			}
		}
		if n := strings.Count(r.events.String(), `"kind":"phase"`); n != 71 {
			t.Errorf("%d phases began, want 71", n)
		}
	})
}

func TestStartRefusesBadLanes(t *testing.T) {
	good := Lane{Name: "a", Kind: New, Target: "http://127.0.0.1:1/", Rate: 1, Timeout: time.Second}
	with := func(f func(*Lane)) []Lane { l := good; f(&l); return []Lane{l} }
	for _, c := range []struct {
		lanes []Lane
		want  string
	}{
		{with(func(l *Lane) { l.Kind = "grpc" }), `start load: lane a: unknown kind of lane "grpc"; it is one of new, reused, http2, cached-dns, stream`},
		{with(func(l *Lane) { l.Target = "10.0.0.1:80" }), `start load: lane a: target: parse "10.0.0.1:80": first path segment in URL cannot contain colon`},
		{with(func(l *Lane) { l.Target = "ftp://x/" }), `start load: lane a: target "ftp://x/" is not an http or https URL such as http://192.0.2.1:8080/`},
		{with(func(l *Lane) { l.Rate = math.NaN() }), `start load: lane a: rate NaN; it must be above 0 and at most 100000 requests a second`},
		{with(func(l *Lane) { l.Timeout = 0 }), `start load: lane a: timeout 0s; it must be above 0 and at most 1m0s`},
		{[]Lane{good, good}, `start load: lane a is given twice`},
	} {
		_, err := Start(t.Context(), Config{Lanes: c.lanes, Timeline: timeline.NewRecorder(timeline.NewClock(time.Now()), io.Discard)}, "warmup")
		if err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

type brokenSink struct {
	memory
	after int
}

func (b *brokenSink) WriteWindow(*record.Window) error {
	if b.after--; b.after < 0 {
		return io.ErrShortWrite
	}
	return nil
}

func TestLostLaneIsReportedAndHangsNothing(t *testing.T) {
	synctest.Test(t, testLostLane)
}

func testLostLane(t *testing.T) {
	srv, dial := startInMemory(t)
	clock := timeline.NewClock(time.Now())
	var events buffer.Locked
	running, err := Start(t.Context(), Config{
		Lanes: []Lane{
			{Name: "disk", Kind: Reused, Target: srv.URL(), Rate: 50, Timeout: time.Second, Dial: dial},
			{Name: "fine", Kind: Reused, Target: srv.URL(), Rate: 50, Timeout: time.Second, Dial: dial},
		},
		Timeline: timeline.NewRecorder(clock, &events),
		Open: func(l record.Lane) (LaneSink, error) {
			if l.Name == "disk" {
				return &brokenSink{after: 1}, nil
			}
			return &memory{}, nil
		},
	}, timeline.PhaseWarmup)
	if err != nil {
		t.Fatal(err)
	}
	lost := <-running.Lost()
	if lost.Lane != "disk" || lost.Err == nil || lost.Err.Error() != "write the record: short write" {
		t.Errorf("lost %+v", lost)
	}
	err = running.Stop()
	if err == nil || err.Error() != "lane disk: write the record: short write" {
		t.Errorf("Stop: %v", err)
	}
	if _, more := <-running.Lost(); more {
		t.Error("another lane was lost")
	}
	if !strings.Contains(events.String(), `"kind":"lane-lost","subject":"lane/disk","detail":{"error":"write the record: short write"}`) {
		t.Errorf("timeline:\n%s", events.String())
	}
}
