package drains

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/drain"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/probes/preflight"
)

// embedded is a bed on the embedded cluster, whose evictions keep to the rules of
// the real API server.
func embedded(t *testing.T) *Bed {
	t.Helper()
	d := sim.New(sim.Options{Scale: 40, Log: slog.New(slog.DiscardHandler)})
	s := cluster.Spec{RunID: "drains", Name: "t", Version: "v1.34.4", ControlPlanes: 1, Workers: 3, Network: "flannel"}
	c, err := d.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Delete(context.Background(), s); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &Bed{
		Source: preflight.Source{Client: c.Client, Dynamic: c.Dynamic}, Workers: []string{"t-worker", "t-worker2", "t-worker3"}, Image: "registry.k8s.io/pause:3.10",
		Poll: 30 * time.Millisecond, Patience: 30 * time.Second,
		Drain: func(ctx context.Context, node string) error {
			h := &drain.Helper{Ctx: ctx, Client: c.Client, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
				Timeout: 2 * time.Second, EvictErrorRetryDelay: 50 * time.Millisecond, Out: io.Discard, ErrOut: io.Discard}
			n, err := c.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := drain.RunCordonOrUncordon(h, n, true); err != nil {
				return err
			}
			return drain.RunNodeDrain(h, node)
		},
	}
}

func TestForecastMeetsEvictions(t *testing.T) {
	b := embedded(t)
	for i, c := range Cases(true) {
		t.Run(c.Name, func(t *testing.T) {
			out, err := b.Play(t.Context(), c, fmt.Sprintf("case-%d", i))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, b, c, out)
		})
	}
}

// compare fails where forecast and reality differ, or differ from what the case
// expects.
func compare(t *testing.T, b *Bed, c Case, out []Outcome) {
	t.Helper()
	for _, o := range out {
		if o.Foretold != o.Real {
			t.Errorf("%s: foretold to stop %t (%s), really %t (%s)", o.Node, o.Foretold, o.Why, o.Real, o.Err)
		}
		if c.Stops != nil && o.Real != slices.Contains(c.Stops, slices.Index(b.Workers, o.Node)) {
			t.Errorf("%s: stops %t (%s), against expectation", o.Node, o.Real, o.Err)
		}
	}
}

// TestForecastNeverStopsWhatGoes draws cases; DRAIN_SEEDS draws more of them. A
// stop that is told as certain must be one, and a drain that is told to end must
// end; where it hangs on the scheduler's choice nothing is asserted.
func TestForecastNeverStopsWhatGoes(t *testing.T) {
	n := 6
	if s := os.Getenv("DRAIN_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	b := embedded(t)
	stopped, went := 0, 0
	for seed := range uint64(n) {
		c := Random(seed)
		out, err := b.Play(t.Context(), c, fmt.Sprintf("seed-%d", seed))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, o := range out {
			if o.Unsure {
				break // what follows hangs on it too
			}
			if o.Foretold != o.Real {
				t.Errorf("seed %d, %s: foretold to stop %t (%s), really %t (%s)", seed, o.Node, o.Foretold, o.Why, o.Real, o.Err)
			}
			if o.Real {
				stopped++
			} else {
				went++
			}
		}
	}
	t.Logf("%d drains stopped, %d ended", stopped, went)
	if stopped == 0 || went == 0 {
		t.Errorf("%d drains stopped and %d ended: the cases say nothing", stopped, went)
	}
}
