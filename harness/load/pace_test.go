package load

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// instant is a client that answers at once.
type instant struct{ status int }

func (c instant) Do(_ time.Time, a *http1.Answer) {
	now := time.Now()
	*a = http1.Answer{Sent: now, Done: now, Status: c.status, Stage: http1.StageDone, Reused: true}
}
func (instant) Close() {}

// pacing is a shooter whose hits are made by hand.
func pacing(rate float64, timeout time.Duration) (*shooter, *attack) {
	clock := timeline.NewClock(time.Now())
	lane := Lane{Name: "l", Kind: Reused, Target: "http://192.0.2.1/", Rate: rate, Timeout: timeout}
	s := newShooter(lane, clock, newLedger(schedule{rate: rate}, timeout, clock), instant{200})
	return s, newAttack(s)
}

// TestStoppedGeneratorIsUnsent plants a stop of the runner itself: what it missed
// is unsent, what is a little late is sent at no more than 1.2 times the rate.
func TestStoppedGeneratorIsUnsent(t *testing.T) {
	for _, rate := range []float64{1, 50, 1000, 20_000} {
		synctest.Test(t, func(t *testing.T) {
			s, a := pacing(rate, time.Second)
			var sends []time.Duration
			paused := false
			for hits := uint64(0); s.clock.Now() < 6*time.Second; hits++ {
				wait, stop := a.Pace(0, hits)
				if stop {
					t.Fatal("the pacer stopped by itself")
				}
				time.Sleep(wait)
				a.send(a.slots[hits%uint64(len(a.slots))].Load())
				sends = append(sends, s.clock.Now())
				if !paused && s.clock.Now() >= 2*time.Second {
					paused = true
					time.Sleep(2 * time.Second)
				}
			}
			s.ledger.end()
			m := &memory{lane: s.lane.Record()}
			if all, err := s.ledger.flush(m); err != nil || !all {
				t.Fatal(all, err)
			}
			sum := m.counts(t)
			if want := rate * 1.9; math.Abs(float64(sum[record.Unsent])-want) > 2+0.01*want {
				t.Errorf("rate %v: %d slots unsent, want %.0f", rate, sum[record.Unsent], want)
			}
			if want := 6 * rate; math.Abs(float64(total(sum))-want) > 2 {
				t.Errorf("rate %v: %d slots accounted for, %.0f were due", rate, total(sum), want)
			}
			from, most := 0, 0
			for i := range sends {
				for sends[i]-sends[from] >= time.Second {
					from++
				}
				most = max(most, i-from+1)
			}
			if float64(most) > max(1.2*rate, rate+1) {
				t.Errorf("rate %v: %d sends in a second", rate, most)
			}
			var lag record.Dense
			for i := range m.windows {
				lag.Merge(&m.windows[i].SendLag, 1)
			}
			if lag.Quantile(1) > uint64(maxLag.Microseconds()) {
				t.Errorf("rate %v: a slot was sent %d µs late", rate, lag.Quantile(1))
			}
			unsent := m.spans(record.SpanUnsent)
			if len(unsent) != 1 || unsent[0].Count != sum[record.Unsent] {
				t.Errorf("rate %v: spans %+v", rate, unsent)
			}
		})
	}
}

func TestPacerWakesForThePhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := pacing(0.01, time.Second)
		if wait, stop := a.Pace(0, 0); wait != 0 || stop {
			t.Fatalf("the first slot: %v, %v", wait, stop)
		}
		time.AfterFunc(3*time.Second, s.next)
		if _, stop := a.Pace(0, 1); !stop || s.clock.Now() != 3*time.Second {
			t.Errorf("stop = %v at %v; the phase ended at 3s", stop, s.clock.Now())
		}
		if s.ledger.next != 1 {
			t.Errorf("the next phase begins with slot %d, want 1", s.ledger.next)
		}
	})
}

func TestPanicInARequestLosesTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pacing(100, time.Second)
		s.client = panicking{}
		err := s.run(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "a request panicked: planted\n") {
			t.Errorf("run: %v", err)
		}
		if n := s.ledger.abandon(); n == 0 {
			t.Error("the slot of the request was closed by nobody")
		}
	})
}

type panicking struct{ instant }

func (panicking) Do(time.Time, *http1.Answer) { panic("planted") }
