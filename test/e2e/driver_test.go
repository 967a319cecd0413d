//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/nodeimage"
)

// driver is a kind driver and the spec of a cluster of its own, which is
// deleted when the test ends, however it does; nothing may be left of it then.
func driver(t *testing.T, runID string) (*kind.Driver, cluster.Spec) {
	t.Helper()
	images, err := nodeimage.New(nodeimage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := kind.New(kind.Options{Images: images})
	s := cluster.Spec{RunID: runID, Name: "rehearse-e2e-" + runID, Version: from, ControlPlanes: 1, Workers: 1, Network: "flannel"}
	t.Cleanup(func() {
		// t.Context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := d.Delete(ctx, s); err != nil {
			t.Error(err)
		}
		assertNothingLeft(ctx, t, d, s)
	})
	return d, s
}

func assertNothingLeft(ctx context.Context, t *testing.T, d *kind.Driver, s cluster.Spec) {
	t.Helper()
	left, err := d.Leftovers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.RunID == s.RunID || strings.HasPrefix(l.Name, s.Name) {
			t.Errorf("left behind: %s %s", l.Kind, l.Name)
		}
	}
}

// TestCancelledCreateLeavesNothing interrupts kind while it starts nodes.
func TestCancelledCreateLeavesNothing(t *testing.T) {
	d, s := driver(t, "drv002")
	ctx, cancel := context.WithTimeout(cluster.WithLog(t.Context(), nil, t.Output()), 15*time.Second)
	defer cancel()
	if _, err := d.Create(ctx, s); err == nil {
		t.Fatal("created a cluster within 15 s: interrupt it earlier")
	}
	// The network is Delete's; the nodes are gone when Create returns.
	left, err := d.Leftovers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.RunID == s.RunID && l.Kind != "network" {
			t.Errorf("left behind by Create: %s %s", l.Kind, l.Name)
		}
	}
}
