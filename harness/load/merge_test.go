package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// sample is what became of one slot of a lane.
type sample struct {
	Slot
	text string
}

// upgradeShaped are the samples of a lane: fast, with a tail, a burst of refusals,
// a hang in which nothing is answered, and some slots that were not sent.
func upgradeShaped(r *rand.Rand, rate float64, seconds int) []sample {
	out := make([]sample, int(rate*float64(seconds)))
	for i := range out {
		due := float64(i) / rate
		s := &out[i]
		s.Lag = uint32(20 + r.IntN(300))
		s.Latency = s.Lag + uint32(500+r.ExpFloat64()*1500)
		s.Opened = r.IntN(3) == 0
		switch {
		case due > 4 && due < 4.7:
			s.Class, s.text = record.Refused, "connection refused"
		case due > 8 && due < 9.5:
			s.Latency = s.Lag + uint32((9.5-due)*1e6) + uint32(r.IntN(900))
		case due > 12 && due < 12.05:
			s.Slot = Slot{Class: record.Unsent}
		case r.IntN(400) == 0:
			s.Class, s.text = record.TimeoutResponse, "timeout"
			s.Latency = s.Lag + 2_000_000
		}
	}
	return out
}

// byOneEngine puts the samples into the ledger as an engine does: slots are opened
// as they fall due, and closed as their answers come.
func byOneEngine(t *testing.T, sched schedule, samples []sample) *memory {
	t.Helper()
	clock := timeline.NewClock(time.Now())
	l := newLedger(sched, 2*time.Second, clock)
	m := &memory{}
	type moment struct {
		at, slot int64
		end      bool
	}
	var all []moment
	for i, s := range samples {
		due := sched.due(int64(i))
		done := due + int64(s.Latency)*1000
		if s.Class == record.Unsent {
			done = due + int64(maxLag)
		}
		all = append(all, moment{due, int64(i), false}, moment{done, int64(i), true})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return int(a.at - b.at) })
	for k, x := range all {
		if !x.end {
			if got := l.begin(); got != x.slot {
				t.Fatalf("slot %d was opened as %d", x.slot, got)
			}
		} else if s := samples[x.slot]; s.Class == record.Unsent {
			l.unsent(x.slot)
		} else {
			due := time.Duration(sched.due(x.slot))
			a := http1.Answer{
				Sent: clock.Start().Add(due + time.Duration(s.Lag)*time.Microsecond),
				Done: clock.Start().Add(due + time.Duration(s.Latency)*time.Microsecond), Stage: http1.StageDone, Reused: !s.Opened,
			}
			l.resolve(x.slot, s.Class, s.text, &a)
		}
		if k+1 < len(all) && all[k+1].at/int64(flushInterval) != x.at/int64(flushInterval) {
			if _, err := l.flush(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.end()
	if all, err := l.flush(m); !all || err != nil {
		t.Fatal(all, err)
	}
	return m
}

// told is what each of n engines tells of the samples, second by second.
func told(sched schedule, samples []sample, n int) [][]*Second {
	out := make([][]*Second, n)
	for k := range n {
		part := sched
		part.part = Part{Index: k, Of: n}
		for i := int64(0); part.part.slot(i) < int64(len(samples)); i++ {
			second := part.due(i) / 1e9
			if len(out[k]) == 0 || out[k][len(out[k])-1].Second != second {
				out[k] = append(out[k], &Second{Second: second, First: i})
			}
			s := out[k][len(out[k])-1]
			s.Slots = append(s.Slots, samples[part.part.slot(i)].Slot)
		}
	}
	return out
}

// merged opens a Merger in memory.
func merged(t *testing.T, lane Lane, at time.Duration, n int) (m *Merger, whole *memory, parts []*memory) {
	t.Helper()
	whole = &memory{}
	var names []string
	for k := range n {
		names = append(names, fmt.Sprintf("agent-%d", k))
	}
	all, err := Merge(MergeConfig{
		Lanes: []Lane{lane}, At: at, Engines: names,
		Open: func(record.Lane) (LaneSink, error) { return whole, nil },
		OpenPart: func(_ record.Lane, index int) (LaneSink, error) {
			if index != len(parts) {
				t.Errorf("part %d was opened after %d others", index, len(parts))
			}
			parts = append(parts, &memory{})
			return parts[index], nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return all[0], whole, parts
}

// TestMergedIsWhatOneEngineRecords is the point of it all: the same samples, sent by
// one engine or by several, make the same windows.
func TestMergedIsWhatOneEngineRecords(t *testing.T) {
	for _, c := range []struct {
		agents int
		rate   float64
	}{{1, 200}, {2, 333.3}, {3, 200}, {3, 1000}, {7, 150}, {16, 90}} {
		t.Run(fmt.Sprintf("%d agents, %g a second", c.agents, c.rate), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(c.agents), uint64(c.rate)))
			lane := Lane{Name: "new", Kind: New, Target: "http://192.0.2.1/", Rate: c.rate, Timeout: 2 * time.Second}
			const at = 7 * time.Second
			sched := schedule{rate: c.rate, origin: int64(at)}
			samples := upgradeShaped(r, c.rate, 20)
			want := byOneEngine(t, sched, samples)

			m, whole, parts := merged(t, lane, at, c.agents)
			queues := told(sched, samples, c.agents)
			for left := c.agents; left > 0; {
				k := r.IntN(c.agents) // they come in any order
				if len(queues[k]) == 0 {
					continue
				}
				if err := m.Add(k, queues[k][0]); err != nil {
					t.Fatal(err)
				}
				if queues[k] = queues[k][1:]; len(queues[k]) == 0 {
					left--
				}
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			if !whole.closed || !parts[0].closed {
				t.Error("a sink is open")
			}
			if len(whole.windows) != len(want.windows) {
				t.Fatalf("%d windows, one engine makes %d", len(whole.windows), len(want.windows))
			}
			stalled, dropped := 0, uint64(0)
			for i := range want.windows {
				got, want := whole.windows[i], want.windows[i]
				for _, s := range want.Spans {
					if s.Kind == record.SpanStalled {
						stalled++
					}
				}
				// What is kept singly is a sample; here nothing is.
				dropped += got.Dropped
				got.Dropped, want.Dropped = 0, 0
				if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b record.Histogram) bool { return a.Equal(&b) })); diff != "" {
					t.Fatalf("second %d (-one engine +merged):\n%s", want.Second, diff)
				}
			}
			if stalled == 0 || dropped == 0 {
				t.Errorf("%d stalled spans, %d failed and slow requests: the test shows less than it should", stalled, dropped)
			}
			checkSum(t, whole, parts)
			checkQuantiles(t, whole, samples)
		})
	}
}

// checkSum compares the merged windows with the sum of the engines' own.
func checkSum(t *testing.T, whole *memory, parts []*memory) {
	t.Helper()
	var sum record.Window
	for _, p := range parts {
		for i := range p.windows {
			w := &p.windows[i]
			for c, n := range w.Counts {
				sum.Counts[c] += n
			}
			sum.NewConns += w.NewConns
			sum.Latency.Merge(&w.Latency)
			sum.SendLag.Merge(&w.SendLag)
		}
	}
	var all record.Window
	for i := range whole.windows {
		w := &whole.windows[i]
		for c, n := range w.Counts {
			all.Counts[c] += n
		}
		all.NewConns += w.NewConns
		all.Latency.Merge(&w.Latency)
		all.SendLag.Merge(&w.SendLag)
	}
	if all.Counts != sum.Counts || all.NewConns != sum.NewConns || !all.Latency.Equal(&sum.Latency) || !all.SendLag.Equal(&sum.SendLag) {
		t.Errorf("merged %v, %d connections, latency %v; the engines' own add up to %v, %d, %v",
			all.Counts, all.NewConns, &all.Latency, sum.Counts, sum.NewConns, &sum.Latency)
	}
}

// checkQuantiles compares the merged quantiles with those of the samples.
func checkQuantiles(t *testing.T, whole *memory, samples []sample) {
	t.Helper()
	var want, got record.Histogram
	for _, s := range samples {
		if s.Class == record.OK {
			want.Add(uint64(s.Latency))
		}
	}
	for i := range whole.windows {
		got.Merge(&whole.windows[i].Latency)
	}
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		if got.Quantile(q) != want.Quantile(q) {
			t.Errorf("p%g is %d µs, of the samples %d µs", 100*q, got.Quantile(q), want.Quantile(q))
		}
	}
}

func TestMergeGoesOnWithoutALostEngine(t *testing.T) {
	lane := Lane{Name: "new", Kind: New, Target: "http://192.0.2.1/", Rate: 300, Timeout: time.Second}
	sched := schedule{rate: 300}
	samples := make([]sample, 3000)
	for i := range samples {
		samples[i].Latency = 1000
		if i >= 1500 && i < 1530 { // in second 5, of all engines
			samples[i].Class = record.Refused
		}
	}
	m, whole, parts := merged(t, lane, 0, 3)
	queues := told(sched, samples, 3)
	add := func(k, n int) {
		t.Helper()
		for range n {
			if err := m.Add(k, queues[k][0]); err != nil {
				t.Fatal(err)
			}
			queues[k] = queues[k][1:]
		}
	}
	add(0, 10)
	add(2, 10)
	add(1, 3)
	if n := len(whole.windows); n != 3 && n != 2 {
		t.Fatalf("%d windows were written although engine 1 has told of 3 seconds", n)
	}
	if err := m.Leave(1); err != nil {
		t.Fatal(err)
	}
	if n := len(whole.windows); n < 8 {
		t.Errorf("%d windows were written once engine 1 was given up", n)
	}
	if err := m.Add(1, queues[1][0]); err == nil || err.Error() != "lane new: agent-1 was given up" {
		t.Errorf("more of engine 1: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for i, w := range whole.windows {
		want := uint64(300)
		if i >= 3 {
			want = 200
		}
		if w.Due() != want || w.Counts[record.Unsent] != 0 {
			t.Errorf("second %d: %d slots, %d unsent; want %d", w.Second, w.Due(), w.Counts[record.Unsent], want)
		}
	}
	if len(whole.windows) != 10 {
		t.Errorf("%d windows", len(whole.windows))
	}
	// The slots that nobody tells of do not cut a run of failures.
	if s := whole.windows[5].Spans; len(s) != 1 || s[0].Count != 20 || s[0].Kind != record.SpanFailed {
		t.Errorf("spans %+v", s)
	}
	checkSum(t, whole, parts)
	if len(parts[1].windows) != 3 {
		t.Errorf("%d windows of the lost engine", len(parts[1].windows))
	}
}

func TestMergeRefusesWhatCannotBe(t *testing.T) {
	lane := Lane{Name: "new", Kind: New, Target: "http://192.0.2.1/", Rate: 30, Timeout: time.Second}
	samples := make([]sample, 300)
	for _, c := range []struct {
		name string
		give func(q []*Second) *Second
		want string
	}{
		{"a second twice", func(q []*Second) *Second { return q[0] }, "lane new of agent-1: second 0 was told before"},
		{"a second left out", func(q []*Second) *Second { return q[2] }, "lane new of agent-1: second 2 begins with slot 20; slot 10 was expected"},
		{"another schedule", func(q []*Second) *Second { return &Second{Second: 1, First: 10, Slots: make([]Slot, 11)} },
			"lane new of agent-1: its 11 slots from 10 on do not fall due in second 1: its schedule is another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, whole, _ := merged(t, lane, 0, 3)
			q := told(schedule{rate: 30}, samples, 3)[1]
			if err := m.Add(1, q[0]); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := m.Add(1, c.give(q)); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			if sum := whole.counts(t); total(sum) != 10 {
				t.Errorf("%d slots counted", total(sum))
			}
		})
	}
}

func FuzzPartsAreTheWhole(f *testing.F) {
	f.Add(200.0, uint8(3), int64(7e9), uint16(1000))
	f.Add(0.3, uint8(1), int64(0), uint16(7))
	f.Add(99_999.7, uint8(100), int64(1), uint16(5000))
	f.Fuzz(func(t *testing.T, rate float64, n uint8, origin int64, count uint16) {
		lane := Lane{Name: "l", Kind: New, Target: "http://192.0.2.1/", Rate: rate, Timeout: time.Second, Part: Part{Index: int(n) - 1, Of: int(n)}}
		if err := lane.Validate(); err != nil {
			t.Skip("no lane that is ever run: ", err)
		}
		if rate < 1e-3 || origin < 0 || origin > 1e18 {
			t.Skip("its slots lie beyond what nanoseconds can count")
		}
		whole := schedule{rate: rate, origin: origin}
		at := make([]int64, n) // of each part, the next slot
		for i := range int64(count) {
			k := i % int64(n)
			part := whole
			part.part = Part{Index: int(k), Of: int(n)}
			if got, want := part.due(at[k]), whole.due(i); got != want {
				t.Fatalf("slot %d of part %d of %d is due at %d; slot %d of the whole at %d", at[k], k, n, got, i, want)
			}
			at[k]++
		}
	})
}
