package fleet

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

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
