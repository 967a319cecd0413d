package fleet

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestEachAgentHasAStreamOfItsOwn: the ten slots a second are divided, and a break is
// told once for each agent that it struck.
func TestEachAgentHasAStreamOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 3, 200, []load.Kind{load.Stream})
		b.server.Close()
		serve := func() *canary.Server {
			s, err := canary.New(canary.Config{Pod: "canary-0", Node: "node-0", BodyBytes: 100})
			if err != nil {
				t.Fatal(err)
			}
			l := b.network.Listen()
			go func() { _ = s.Serve(l) }() // ends with Close
			return s
		}
		first := serve()
		b.start()
		b.sleepUntil(3050 * time.Millisecond)
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		second := serve()
		b.sleepUntil(6 * time.Second)
		b.end()
		if err := second.Close(); err != nil {
			t.Error(err)
		}
		b.checkParts()
		got := sum(b.whole["stream"])
		if n := got.Due(); n < 59 || n > 63 {
			t.Errorf("%d slots in 6 s, ten a second are due", n)
		}
		if got.Failed() == 0 || got.Failed() > 9 || got.Counts[record.Unsent] > 0 || got.NewConns < 6 {
			t.Errorf("%v, %d connections", got.Counts, got.NewConns)
		}
		by := map[string]int{}
		for _, e := range b.all(timeline.KindStreamBroken, "lane/stream") {
			by[e.Detail["agent"]]++
		}
		if len(by) != 3 || by["agent-0"] != 1 || by["agent-2"] != 1 {
			t.Errorf("broken streams by agent: %v", by)
		}
		for i := range 3 {
			part := sum(b.parts[fmt.Sprintf("stream/%d", i)])
			if n := part.Due(); n < 19 || n > 21 {
				t.Errorf("agent %d had %d slots", i, n)
			}
		}
	})
}
