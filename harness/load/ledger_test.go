package load

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestWindowsCloseInOrderOnceNothingIsOpen(t *testing.T) {
	clock := timeline.NewClock(time.Now())
	l := newLedger(schedule{rate: 2}, time.Second, clock)
	at := func(d time.Duration) time.Time { return clock.Start().Add(d) }
	ok := func(i int64, done time.Duration) {
		due := time.Duration(l.sched.due(i))
		l.resolve(i, record.OK, "", &http1.Answer{Sent: at(due + time.Millisecond), Done: at(done), Stage: http1.StageDone, Status: 200})
	}
	for range 5 { // seconds 0, 0, 1, 1, 2
		l.begin()
	}
	m := &memory{lane: record.Lane{Name: "l", Rate: 2}}
	ok(2, 1200*time.Millisecond)
	ok(3, 1600*time.Millisecond)
	ok(0, 1700*time.Millisecond)
	if all, err := l.flush(m); all || err != nil || len(m.windows) != 0 {
		t.Fatalf("slot 1 is open, but %d windows were written", len(m.windows))
	}
	l.unsent(1)
	if all, _ := l.flush(m); all || len(m.windows) != 2 {
		t.Fatalf("%d windows written, want seconds 0 and 1", len(m.windows))
	}
	ok(4, 2100*time.Millisecond)
	if all, _ := l.flush(m); all || len(m.windows) != 2 {
		t.Fatal("second 2 was written although it may get another slot")
	}
	l.end()
	if all, _ := l.flush(m); !all || len(m.windows) != 3 {
		t.Fatalf("all = %v, %d windows", all, len(m.windows))
	}
	w := m.windows[0]
	if w.Counts[record.OK] != 1 || w.Counts[record.Unsent] != 1 || w.NewConns != 1 || w.Latency.Max()/1000 != 1699 && w.Latency.Max()/1000 != 1700 {
		t.Errorf("%+v", w)
	}
	if w.SendLag.Count() != 1 || w.SendLag.Max() != 1000 {
		t.Errorf("send lag %v", &w.SendLag)
	}
}

func TestSecondsWithoutASlotHaveEmptyWindows(t *testing.T) {
	clock := timeline.NewClock(time.Now())
	l := newLedger(schedule{rate: 0.25}, time.Second, clock)
	for range 3 {
		l.unsent(l.begin())
	}
	l.end()
	m := &memory{}
	if all, err := l.flush(m); !all || err != nil {
		t.Fatal(all, err)
	}
	m.counts(t)
	if len(m.windows) != 9 || m.windows[4].Due() != 1 || m.windows[5].Due() != 0 {
		t.Errorf("%d windows", len(m.windows))
	}
}

func TestSpansAreBounded(t *testing.T) {
	w := &openWindow{second: 0, first: 0}
	for i := range 1000 {
		s := slot{class: record.OK}
		if i%2 == 0 || 500 < i && i < 510 {
			s.class = record.Reset
		}
		w.slots = append(w.slots, s)
	}
	spans := spansOf(w, schedule{rate: 1000})
	if len(spans) != record.MaxSpans {
		t.Fatalf("%d spans", len(spans))
	}
	longest := record.Span{Kind: record.SpanFailed, First: 500e6, Last: 510e6, Count: 11}
	if spans[0].First != 0 || spans[len(spans)-1].First != 998e6 || !slices.Contains(spans, longest) {
		t.Errorf("the first, the last and the longest must be there: %+v", spans)
	}
	if !slices.IsSortedFunc(spans, func(a, b record.Span) int { return int(a.First - b.First) }) {
		t.Error("spans are not in order")
	}
}

func TestStalls(t *testing.T) {
	const ms = int64(time.Millisecond)
	s := newStalls(1000)
	s.typical = 10 * ms
	for at := 100 * ms; at <= 200*ms; at += 5 * ms {
		s.answered(at)
	}
	s.answered(400 * ms)
	want := []gap{{from: 200 * ms, to: 400 * ms, typical: 10 * ms}}
	if diff := cmp.Diff(want, s.gaps, cmp.AllowUnexported(gap{})); diff != "" {
		t.Fatal(diff)
	}
	// A worker reports late: there was an answer at 260 ms.
	s.answered(260 * ms)
	want = []gap{{from: 200 * ms, to: 260 * ms, typical: 10 * ms}, {from: 260 * ms, to: 400 * ms, typical: 10 * ms}}
	if diff := cmp.Diff(want, s.gaps, cmp.AllowUnexported(gap{})); diff != "" {
		t.Fatal(diff)
	}
	s.answered(220 * ms)
	s.answered(100 * ms)
	want = want[1:]
	if diff := cmp.Diff(want, s.gaps, cmp.AllowUnexported(gap{})); diff != "" {
		t.Fatal(diff)
	}
	s.answered(449 * ms)
	s.forget(0)
	if len(s.gaps) != 1 {
		t.Errorf("gaps %+v", s.gaps)
	}
	s.forget(1)
	if len(s.gaps) != 0 {
		t.Errorf("gaps %+v", s.gaps)
	}
}

func TestSinglesAreEvenlySpreadAndCounted(t *testing.T) {
	budget := singleBudget{left: 2 * (failedPerSecond + slowPerSecond)}
	for second, want := range []int{failedPerSecond + slowPerSecond, failedPerSecond + slowPerSecond, 2, 2} {
		w := &openWindow{}
		for i := range int64(1000) {
			w.failed.see(func() record.Request { return record.Request{Due: 2 * i} })
			w.slow.see(func() record.Request { return record.Request{Due: 2*i + 1} })
		}
		requests, dropped := budget.choose(w)
		if len(requests) != want || dropped != uint64(2000-want) {
			t.Errorf("second %d: %d written, %d dropped; want %d", second, len(requests), dropped, want)
		}
		if second == 0 && (requests[0].Due > 1 || requests[len(requests)-1].Due < 1800) {
			t.Errorf("from %d to %d of 2000", requests[0].Due, requests[len(requests)-1].Due)
		}
		if !slices.IsSortedFunc(requests, func(a, b record.Request) int { return int(a.Due - b.Due) }) {
			t.Error("not in order")
		}
	}
	var few sampler
	for i := range int64(3) {
		few.see(func() record.Request { return record.Request{Due: i} })
	}
	if got := few.pick(8); len(got) != 3 {
		t.Errorf("%d of 3", len(got))
	}
}
