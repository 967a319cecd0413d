package probes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book is a sink that keeps what it is given and a timeline in memory.
type book struct {
	mu      sync.Mutex
	samples map[string][]record.ProbeSample
	refuse  map[string]error
	events  bytes.Buffer
}

func newBook() *book {
	return &book{samples: map[string][]record.ProbeSample{}, refuse: map[string]error{}}
}

func (b *book) ProbeSample(probe string, s record.ProbeSample) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse[probe]; err != nil {
		return err
	}
	b.samples[probe] = append(b.samples[probe], s)
	return nil
}

func (b *book) scheduler() *Scheduler {
	return NewScheduler(timeline.NewRecorder(timeline.NewClock(time.Now()), &b.events), b, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// timeline renders the events as "OFFSET KIND SUBJECT key=value ...", keys in order.
func (b *book) timeline(t *testing.T) []string {
	t.Helper()
	var out []string
	dec := json.NewDecoder(&b.events)
	for {
		var e timeline.Event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%v %s %s %s", time.Duration(e.T), e.Source, e.Kind, e.Subject)
		keys := make([]string, 0, len(e.Detail))
		for k := range e.Detail {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			line += fmt.Sprintf(" %s=%q", k, e.Detail[k])
		}
		out = append(out, line)
	}
}

func mustAdd(t *testing.T, s *Scheduler, p Probe, interval, timeout time.Duration) {
	t.Helper()
	if err := s.Add(p, interval, timeout); err != nil {
		t.Fatal(err)
	}
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestSchedulerKeepsTheGridAndSpreadsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := b.scheduler()
		fine := func(context.Context) error { return nil }
		mustAdd(t, s, Func("a", fine), 200*time.Millisecond, time.Second)
		mustAdd(t, s, Func("b", fine), 200*time.Millisecond, time.Second)
		s.Start(t.Context())
		time.Sleep(time.Second + 50*time.Millisecond)
		s.Stop()

		offsets := func(name string) []time.Duration {
			var out []time.Duration
			for _, x := range b.samples[name] {
				out = append(out, time.Duration(x.T))
			}
			return out
		}
		ms := time.Millisecond
		equal(t, "a", offsets("a"), []time.Duration{0, 200 * ms, 400 * ms, 600 * ms, 800 * ms, 1000 * ms})
		equal(t, "b", offsets("b"), []time.Duration{100 * ms, 300 * ms, 500 * ms, 700 * ms, 900 * ms})
		equal(t, "timeline", b.timeline(t), nil)
		equal(t, "probes", s.Probes(), []record.Probe{
			{Name: "a", IntervalNS: 200e6, TimeoutNS: 1e9}, {Name: "b", IntervalNS: 200e6, TimeoutNS: 1e9},
		})
	})
}

func TestSchedulerNeverOverlapsAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := b.scheduler()
		var running, most atomic.Int32
		mustAdd(t, s, Func("slow", func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(230 * time.Millisecond)
			return nil
		}), 100*time.Millisecond, time.Second)
		s.Start(t.Context())
		time.Sleep(time.Second + time.Millisecond)
		s.Stop()
		if most.Load() != 1 {
			t.Errorf("%d observations of one probe ran at once, want 1", most.Load())
		}
		// The grid is kept: 230 ms of work leave out two instants of each three.
		ms := int64(time.Millisecond)
		equal(t, "samples", b.samples["slow"], []record.ProbeSample{
			{T: 0, D: 230 * ms, OK: true}, {T: 300 * ms, D: 230 * ms, OK: true},
			{T: 600 * ms, D: 230 * ms, OK: true}, {T: 900 * ms, D: 230 * ms, OK: true},
		})
	})
}

func TestSchedulerWritesTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := b.scheduler()
		var n atomic.Int32
		mustAdd(t, s, Func("api", func(context.Context) error {
			switch n.Add(1) {
			case 2:
				return Fail(record.HTTP4xx, "GET /readyz answered 403")
			case 4, 5:
				return fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
			}
			return nil
		}), time.Second, time.Second)
		s.Start(t.Context())
		time.Sleep(6*time.Second + time.Millisecond)
		s.Stop()
		equal(t, "timeline", b.timeline(t), []string{
			`1s probe probe-down probe/api class="http-4xx" error="GET /readyz answered 403"`,
			`2s probe probe-up probe/api atLeast="0s" atMost="2s" failed="1"`,
			`3s probe probe-down probe/api class="refused" error="dial: connection refused"`,
			`5s probe probe-up probe/api atLeast="1s" atMost="3s" failed="2"`,
		})
		if got := len(b.samples["api"]); got != 7 {
			t.Errorf("%d samples, want 7", got)
		}
	})
}

// A frozen server answers what it was asked once it goes on: until then it was
// away, whenever it was asked.
func TestSchedulerBoundsADowntimeByTheAnswerThatEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := b.scheduler()
		thaws := time.Now().Add(8 * time.Second)
		mustAdd(t, s, Func("api", func(ctx context.Context) error {
			if time.Since(thaws) < -7*time.Second {
				return nil // not frozen yet
			}
			select {
			case <-time.After(time.Until(thaws)):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}), time.Second, 5*time.Second)
		s.Start(t.Context())
		time.Sleep(10*time.Second + time.Millisecond)
		s.Stop()
		equal(t, "timeline", b.timeline(t), []string{
			`1s probe probe-down probe/api class="timeout-response" error="context deadline exceeded"`,
			`8s probe probe-up probe/api atLeast="2.5s" atMost="8s" failed="1"`,
		})
	})
}

func TestSchedulerRecordsAProbeThatIsDownFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := b.scheduler()
		mustAdd(t, s, Func("api", func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("gave up")
		}), time.Second, 400*time.Millisecond)
		s.Start(t.Context())
		time.Sleep(500 * time.Millisecond)
		s.Stop()
		equal(t, "timeline", b.timeline(t), []string{
			`0s probe probe-down probe/api class="timeout-response" error="gave up"`,
		})
		equal(t, "samples", b.samples["api"], []record.ProbeSample{
			{T: 0, D: 400e6, OK: false, Class: "timeout-response", Error: "gave up"},
		})
	})
}

func TestSchedulerLosesAProbe(t *testing.T) {
	release := make(chan struct{})
	tests := []struct {
		name   string
		check  func(context.Context) error
		refuse error
		want   string
	}{
		{
			name:  "that panics",
			check: func(context.Context) error { panic("nil map") },
			want:  `0s probe probe-lost probe/bad reason="its check panicked: nil map"`,
		},
		{
			name:  "that ignores its timeout",
			check: func(context.Context) error { <-release; return nil },
			want:  `6s probe probe-lost probe/bad reason="its check did not return within 5s of its timeout of 1s"`,
		},
		{
			name:   "whose samples cannot be written",
			check:  func(context.Context) error { return nil },
			refuse: errors.New("no space left on device"),
			want:   `0s probe probe-lost probe/bad reason="its samples could not be written: no space left on device"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release = make(chan struct{})
				b := newBook()
				b.refuse["bad"] = tt.refuse
				s := b.scheduler()
				mustAdd(t, s, Func("bad", tt.check), 250*time.Millisecond, time.Second)
				mustAdd(t, s, Func("good", func(context.Context) error { return nil }), time.Second, time.Second)
				s.Start(t.Context())
				time.Sleep(10*time.Second + 100*time.Millisecond)
				s.Stop()
				equal(t, "timeline", b.timeline(t), []string{tt.want})
				equal(t, "lost", s.Lost(), []string{"bad"})
				equal(t, "samples of the lost probe", len(b.samples["bad"]), 0)
				equal(t, "samples of the other", len(b.samples["good"]), 10)
				close(release)
			})
		})
	}
}

func TestStopCutsAnObservationShortWithoutRecordingIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := b.scheduler()
		mustAdd(t, s, Func("api", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), time.Second, time.Minute)
		s.Start(t.Context())
		time.Sleep(3 * time.Second)
		begin := time.Now()
		s.Stop()
		s.Stop()
		if took := time.Since(begin); took != 0 {
			t.Errorf("Stop took %v of a probe that heeds its context, want none", took)
		}
		equal(t, "timeline", b.timeline(t), nil)
		equal(t, "samples", len(b.samples["api"]), 0)
	})
}

func TestStopDoesNotHangOnAStalledProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := b.scheduler()
		release := make(chan struct{})
		mustAdd(t, s, Func("api", func(context.Context) error { <-release; return nil }), time.Second, time.Minute)
		s.Start(t.Context())
		time.Sleep(time.Second)
		s.Stop()
		equal(t, "timeline", b.timeline(t), []string{
			`6s probe probe-lost probe/api reason="its check did not return within 5s of its timeout of 1m0s"`,
		})
		close(release)
	})
}

func TestStopWithoutStart(t *testing.T) { newBook().scheduler().Stop() }

func TestAddRefuses(t *testing.T) {
	s := newBook().scheduler()
	fine := func(context.Context) error { return nil }
	mustAdd(t, s, Func("api-new", fine), time.Second, time.Second)
	tests := []struct {
		name              string
		interval, timeout time.Duration
		want              string
	}{
		{"../api", 1, 1, `probe name "../api": want lower-case letters, digits, '-' and '.', because it names a file of the record`},
		{"", 1, 1, `probe name "": want lower-case letters, digits, '-' and '.', because it names a file of the record`},
		{"api-new", 1, 1, `probe "api-new" is registered twice; give each probe a name of its own`},
		{"dns", 0, time.Second, `probe "dns": interval 0s and timeout 1s must both be above zero`},
	}
	for _, tt := range tests {
		err := s.Add(Func(tt.name, fine), tt.interval, tt.timeout)
		if err == nil || err.Error() != tt.want {
			t.Errorf("Add(%q) = %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestTruncateKeepsCharactersWhole(t *testing.T) {
	long := strings.Repeat("é", 150)
	got := truncate(long)
	if want := strings.Repeat("é", 98) + "…"; got != want {
		t.Errorf("truncate gave %d bytes %q, want %d bytes", len(got), got, len(want))
	}
	if got := truncate("short"); got != "short" {
		t.Errorf("truncate(short) = %q", got)
	}
}
