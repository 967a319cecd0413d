package load

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// spans returns the lane's spans of a kind, joined over windows where nothing
// lies between them.
func (m *memory) spans(kind record.SpanKind) []record.Span {
	var out []record.Span
	step := int64(1e9/m.lane.Rate) + 1
	for _, w := range m.windows {
		for _, s := range w.Spans {
			if s.Kind != kind {
				continue
			}
			if n := len(out); n > 0 && s.First-out[n-1].Last <= step {
				out[n-1].Last = s.Last
				out[n-1].Count += s.Count
				continue
			}
			out = append(out, s)
		}
	}
	return out
}

// whole returns the histogram of all windows.
func (m *memory) whole() record.Histogram {
	var d record.Dense
	for _, w := range m.windows {
		d.Merge(&w.Latency, 1)
	}
	return d.Histogram()
}

// TestOutagesAreFound is target 7 on the engine's side: each fault on each lane,
// from max(50 ms, 10/rate) up, with edges within 2/rate.
func TestOutagesAreFound(t *testing.T) {
	for _, rate := range []float64{20, 400, 1000} {
		shortest := max(50*time.Millisecond, time.Duration(10e9/rate))
		for _, kind := range []faulttest.Kind{faulttest.Refuse, faulttest.Hang, faulttest.Unavailable, faulttest.Reset} {
			for _, lane := range []Kind{New, Reused} {
				t.Run(fmt.Sprintf("%s/%s/%v", kind, lane, rate), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						// The shortest one that must be seen begins between two slots.
						from := 603*time.Millisecond + 700*time.Microsecond
						short := faulttest.Fault{Kind: kind, From: from, To: from + shortest + time.Duration(2e9/rate)}
						long := faulttest.Fault{Kind: kind, From: 1300 * time.Millisecond, To: 3900 * time.Millisecond}
						srv, dial := startInMemory(t, short, long)
						r := startLanes(t, Lane{Name: "l", Kind: lane, Target: srv.URL(), Rate: rate, Timeout: 4 * time.Second, Canary: true, Dial: dial})
						srv.Arm(r.clock.Start().Add(r.zero))
						r.sleepUntil(5 * time.Second)
						if err := r.Stop(); err != nil {
							t.Fatal(err)
						}
						spanKind := record.SpanFailed
						if kind == faulttest.Hang {
							spanKind = record.SpanStalled
						}
						for _, p := range checkEdges(r.lanes["l"].spans(spanKind), r.zero, 1e9/rate, short, long) {
							t.Error(p)
						}
					})
				})
			}
		}
	}
}

func startInMemory(t *testing.T, faults ...faulttest.Fault) (*faulttest.Server, func(context.Context, string, string) (net.Conn, error)) {
	t.Helper()
	var m faulttest.Memory
	s, err := faulttest.StartIn(&m, bytes.Repeat([]byte("rehearse "), 30), faults...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, m.Dial
}

// checkEdges compares spans with the faults planted; step is one over the rate.
func checkEdges(spans []record.Span, zero time.Duration, step float64, faults ...faulttest.Fault) (problems []string) {
	if len(spans) != len(faults) {
		return []string{fmt.Sprintf("%d outages found, %d planted: %+v", len(spans), len(faults), spans)}
	}
	for i, f := range faults {
		first, last := time.Duration(spans[i].First)-zero, time.Duration(spans[i].Last)-zero
		if math.Abs(float64(first-f.From)) > 2*step || math.Abs(float64(last-f.To)) > 2*step {
			problems = append(problems, fmt.Sprintf("an outage from %s to %s; planted from %s to %s", first, last, f.From, f.To))
		}
	}
	return problems
}

// TestHangIsNeitherOmittedNorCaughtUp is target 2: a hang of 5 s at 500/s.
func TestHangIsNeitherOmittedNorCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 500
		fault := faulttest.Fault{Kind: faulttest.Hang, From: 3 * time.Second, To: 8 * time.Second}
		srv, dial := startInMemory(t, fault)
		r := startLanes(t, Lane{Name: "l", Kind: Reused, Target: srv.URL(), Rate: rate, Timeout: 6 * time.Second, Dial: dial})
		srv.Arm(r.clock.Start().Add(r.zero))
		r.sleepUntil(20 * time.Second)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		m := r.lanes["l"]
		if most := faulttest.MostInASecond(srv.Log()); most > 1.2*rate {
			t.Errorf("%v requests in a second at a rate of %d", most, rate)
		}
		sum := m.counts(t)
		if total(sum) != sum[record.OK] {
			t.Errorf("outcomes %v", sum)
		}
		// The truth: a slot waits for the rest of the hang, the others for nothing.
		var truth []float64
		affected := 0
		for i := range int(sum[record.OK]) {
			due := time.Duration(i) * time.Second / rate
			if due >= fault.From && due < fault.To {
				truth = append(truth, float64((fault.To - due).Microseconds()))
				affected++
			} else {
				truth = append(truth, 0)
			}
		}
		slices.Sort(truth)
		h := m.whole()
		want := truth[int(math.Ceil(0.99*float64(len(truth))))-1]
		if got := float64(h.Quantile(0.99)); math.Abs(got-want) > 0.05*want {
			t.Errorf("p99 is %.0f µs, in truth %.0f", got, want)
		}
		var stalled uint64
		for _, s := range m.spans(record.SpanStalled) {
			stalled += s.Count
		}
		if math.Abs(float64(stalled)-float64(affected)) > 0.01*float64(affected) {
			t.Errorf("%d requests counted as held up, in truth %d", stalled, affected)
		}
	})
}

// TestBlackHoleIsBounded is target 3: nothing is answered any more at 1,000/s.
func TestBlackHoleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := Lane{Name: "l", Kind: New, Rate: 1000, Timeout: 2 * time.Second}
		srv, dial := startInMemory(t, faulttest.Fault{Kind: faulttest.BlackHole, From: 500 * time.Millisecond, To: time.Hour})
		lane.Target, lane.Dial = srv.URL(), dial
		before := runtime.NumGoroutine()
		r := startLanes(t, lane)
		srv.Arm(r.clock.Start().Add(r.zero))
		most := 0
		for i := range 70 {
			r.sleepUntil(time.Duration(i) * 100 * time.Millisecond)
			most = max(most, runtime.NumGoroutine()-before)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		m := r.lanes["l"]
		sum := m.counts(t)
		// The server has a goroutine for each connection too.
		if limit := 2 * int(maxWorkers(lane)); most > limit {
			t.Errorf("%d goroutines in client and server; %d workers at most", most, maxWorkers(lane))
		}
		if sum[record.OK] != 500 || sum[record.TimeoutResponse] != total(sum)-500 || total(sum) < 6900 {
			t.Errorf("outcomes %v", sum)
		}
		for _, q := range m.requests {
			if time.Duration(q.Latency) > lane.Timeout+250*time.Millisecond {
				t.Errorf("a latency of %s at a timeout of %s", time.Duration(q.Latency), lane.Timeout)
			}
		}
		var dropped uint64
		for _, w := range m.windows {
			dropped += w.Dropped
		}
		singles := uint64(len(m.requests))
		if singles+dropped != sum[record.TimeoutResponse] || singles > uint64(len(m.windows))*(failedPerSecond+slowPerSecond) {
			t.Errorf("%d requests written singly and %d dropped of %d failed", singles, dropped, sum[record.TimeoutResponse])
		}
	})
}

func total(sum [record.NumClasses]uint64) (n uint64) {
	for _, c := range sum {
		n += c
	}
	return n
}

// TestClassesAreExact compares the record's counts with the server's log.
func TestClassesAreExact(t *testing.T) {
	at := func(kind faulttest.Kind, i int, share float64) faulttest.Fault {
		from := time.Duration(200+300*i) * time.Millisecond
		return faulttest.Fault{Kind: kind, From: from, To: from + 200*time.Millisecond, Share: share, Delay: 80 * time.Millisecond}
	}
	faults := []faulttest.Fault{at(faulttest.Unavailable, 0, 0), at(faulttest.Reset, 1, 0.5), at(faulttest.Truncate, 2, 0),
		at(faulttest.WrongBody, 3, 0.3), at(faulttest.SlowTail, 4, 0.2)}
	for _, kind := range []Kind{New, Reused} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testClasses(t, kind, faults) })
		})
	}
}

func testClasses(t *testing.T, kind Kind, faults []faulttest.Fault) {
	srv, dial := startInMemory(t, faults...)
	r := startLanes(t, Lane{Name: "l", Kind: kind, Target: srv.URL(), Rate: 250, Timeout: time.Second, Canary: true, Dial: dial})
	srv.Arm(r.clock.Start().Add(r.zero))
	r.sleepUntil(2 * time.Second)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	m := r.lanes["l"]
	got := m.counts(t)
	var want [record.NumClasses]uint64
	for _, a := range srv.Log() {
		want[map[faulttest.Kind]record.Class{faulttest.Unavailable: record.HTTP5xx, faulttest.Reset: record.Reset,
			faulttest.Truncate: record.Truncated, faulttest.WrongBody: record.WrongBody}[a.Kind]]++
	}
	if got != want {
		t.Errorf("outcomes %v\nserver   %v", got, want)
	}
	texts := map[string]string{}
	slow := 0
	for _, q := range m.requests {
		texts[q.Class] = q.Error
		if q.Class == "http-5xx" && (q.Status != 503 || q.Pod != "fault-0" || q.Node != "loopback" || q.Remote == "" || q.Reused != (kind == Reused)) {
			t.Errorf("%+v", q)
		}
		if q.Class == "ok" {
			slow++
			if q.Latency < 80e6 {
				t.Errorf("recorded as slow: %+v", q)
			}
		}
	}
	if slow == 0 {
		t.Error("no slow request was recorded")
	}
	for class, want := range map[string]string{"http-5xx": "status 503 instead of 200 to 299", "truncated": "unexpected EOF"} {
		if texts[class] != want {
			t.Errorf("class %s: text %q, want %q", class, texts[class], want)
		}
	}
}
