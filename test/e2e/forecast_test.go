//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes/preflight"
	"github.com/kube-rehearse/rehearse/test/drains"
)

// TestFullForecastMeetsReality foretells drains on a real cluster of three workers,
// and then drains as a rehearsal does. What was foretold must come, node by node.
func TestFullForecastMeetsReality(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		if !b.docker {
			t.Log("test/drains holds the forecast against the embedded cluster")
			return
		}
		forecastMeetsReality(t)
	})
}

func forecastMeetsReality(t *testing.T) {
	d, s := driver(t, "drv010")
	s.Workers = 3
	ctx := cluster.WithLog(t.Context(), nil, t.Output())
	if err := d.Prepare(ctx, s, from); err != nil {
		t.Fatal(err)
	}
	c, err := d.Create(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	image, err := d.CanaryImage(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	b := kindBed(t, c, image)
	for i, k := range drains.Cases(true) { // a rehearsal's drain refuses bare pods
		t.Run(k.Name, func(t *testing.T) {
			out, err := b.Play(t.Context(), k, fmt.Sprintf("forecast-%d", i))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range out {
				t.Logf("%s: foretold to stop %t (%s), really %t (%s)", o.Node, o.Foretold, o.Why, o.Real, o.Err)
				if o.Foretold != o.Real {
					t.Errorf("%s: foretold to stop %t, really %t", o.Node, o.Foretold, o.Real)
				}
				if k.Stops != nil && o.Real != slices.Contains(k.Stops, slices.Index(b.Workers, o.Node)) {
					t.Errorf("%s: stops %t, against expectation", o.Node, o.Real)
				}
			}
		})
	}
}

// kindBed drains through the code that every step of a rehearsal drains with.
func kindBed(t *testing.T, c *cluster.Cluster, image string) *drains.Bed {
	t.Helper()
	client := c.Client
	env := &step.Env{Cluster: c, Timeline: timeline.NewRecorder(timeline.NewClock(time.Now()), io.Discard), Run: &record.Run{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{LabelSelector: "!node-role.kubernetes.io/control-plane"})
	if err != nil {
		t.Fatal(err)
	}
	b := &drains.Bed{
		Source: preflight.Source{Client: client, Dynamic: c.Dynamic}, Image: image, Args: []string{"--shutdown-delay=0s", "--grace-period=1s"},
		Poll: time.Second, Patience: 3 * time.Minute,
		Drain: func(ctx context.Context, node string) error {
			n, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return step.DrainNode(ctx, env, n, step.DrainOptions{Timeout: 30 * time.Second, OnStall: step.OnStallFail})
		},
	}
	for _, n := range nodes.Items {
		b.Workers = append(b.Workers, n.Name)
	}
	slices.Sort(b.Workers)
	if len(b.Workers) != 3 {
		t.Fatalf("workers %v, want three", b.Workers)
	}
	return b
}
