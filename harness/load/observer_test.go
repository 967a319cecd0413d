package load

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// What an observer sees is what the sinks took, and the sums tell how many
// requests are under way.
func TestObserverSeesWhatIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, dial := startInMemory(t)
		sinks := map[string]*memory{}
		seen := map[string][]int64{}
		sent := map[string]uint64{}
		sums := func() []Sum { return nil }
		started := 0
		running, err := Start(t.Context(), Config{
			Lanes: []Lane{
				{Name: "new", Kind: New, Target: srv.URL(), Rate: 20, Timeout: time.Second, Canary: true, Dial: dial},
				{Name: "dead", Kind: New, Target: srv.URL(), Rate: 10, Timeout: time.Second, Canary: true, Dial: dial},
			},
			Timeline: timeline.NewRecorder(timeline.NewClock(time.Now()), io.Discard),
			Open: func(l record.Lane) (LaneSink, error) {
				if l.Name == "dead" {
					return &brokenSink{after: 1}, nil
				}
				sinks[l.Name] = &memory{lane: l}
				return sinks[l.Name], nil
			},
			Observer: Observer{
				// Each lane has a goroutine of its own: only one of them touches these.
				Window: func(l record.Lane, w *record.Window) {
					if l.Name == "new" {
						seen["new"] = append(seen["new"], w.Second)
						sent["new"] += w.Sent()
					}
				},
				Started: func(f func() []Sum) { started++; sums = f },
			},
		}, timeline.PhaseWarmup)
		if err != nil {
			t.Fatal(err)
		}
		// Between two requests none is under way.
		time.Sleep(3*time.Second + 10*time.Millisecond)
		synctest.Wait()
		if got := sums()[0]; got.Lane != "new" || got.Open != 0 || got.Counts[record.OK] < 40 {
			t.Errorf("after 3 s the sums are %+v, want none open", got)
		}
		if err := running.Stop(); err == nil {
			t.Error("the lane whose sink refuses windows was not lost")
		}
		var want []int64
		for _, w := range sinks["new"].windows {
			want = append(want, w.Second)
		}
		if diff := cmp.Diff(want, seen["new"]); diff != "" || len(want) < 3 {
			t.Errorf("seconds recorded and seen (-want +got):\n%s", diff)
		}
		if got := sums()[0].Counts[record.OK]; got != sent["new"] || started != 1 {
			t.Errorf("the sums say %d, the windows %d; started was called %d times", got, sent["new"], started)
		}
	})
}

// A slot is open from when it falls due until it has an outcome.
func TestSumsCountOpenSlots(t *testing.T) {
	l := newLedger(schedule{rate: 10}, time.Second, timeline.NewClock(time.Now()))
	for range 3 {
		l.begin()
	}
	l.unsent(1)
	if sums, open := l.counts(); open != 2 || sums[record.Unsent] != 1 {
		t.Errorf("%d are open and %d unsent, want 2 and 1", open, sums[record.Unsent])
	}
	l.abandon()
	if _, open := l.counts(); open != 0 {
		t.Errorf("%d are open after all were given up", open)
	}
}

// Where nobody looks on, a sink is not wrapped: watching costs nothing then.
func TestNobodyLookingOnCostsNothing(t *testing.T) {
	s := &memory{}
	if got := (Observer{}).sink(record.Lane{}, s); got != LaneSink(s) {
		t.Errorf("the sink became a %T", got)
	}
}
