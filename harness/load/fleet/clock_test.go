package fleet

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

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
