//go:build e2ekops

package e2ekops

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestUpgrade goes through the life of a cluster. Its parts build on each other.
func TestUpgrade(t *testing.T) {
	b := newBed(t, nil)
	ctx := b.ctx()

	findings, err := b.d.Preflight(ctx, spec, to)
	if err != nil || len(findings) != 0 {
		t.Fatalf("preflight of an empty state store: %+v, %v", findings, err)
	}

	c, err := b.d.Create(ctx, spec)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	wantKubelets(t, c, true, map[string]int{"v1.34.4": 3})
	wantKubelets(t, c, false, map[string]int{"v1.34.4": 3})
	made := look(t)
	if n := len(made.of("instance")); n != 6 {
		t.Errorf("%d instances, want 6", n)
	}
	findings, err = b.d.Preflight(ctx, spec, to)
	if err != nil || len(findings) != 1 || findings[0].ID != "cluster-exists" {
		t.Errorf("preflight beside a cluster of the name: %+v, %v", findings, err)
	}

	// Stages one and two: the control planes, and nothing else.
	if err := b.d.RollControlPlane(ctx, c, to, b.options(nil)); err != nil {
		t.Fatalf("roll the control plane: %v", err)
	}
	wantKubelets(t, c, true, map[string]int{"v1.35.4": 3})
	wantKubelets(t, c, false, map[string]int{"v1.34.4": 3})
	b.wantKinds(t, map[string]int{
		timeline.KindTaint: 3, timeline.KindUpgradeStart: 3, timeline.KindCordon: 3, timeline.KindDrainStart: 3, timeline.KindDrainEnd: 3,
		timeline.KindTerminate: 3, timeline.KindUpgradeEnd: 3, timeline.KindRollEnd: 1, timeline.KindFailure: 0, timeline.KindEvictRefused: 0, timeline.KindDetach: 0,
	})

	// A budget that no eviction satisfies, and a kops that is killed while it waits.
	workload(t, c)
	killed, kill := context.WithCancelCause(ctx)
	err = b.d.RollWorkers(killed, c, to, b.options(func(e timeline.Event) {
		if e.Kind == timeline.KindEvictRefused {
			kill(errors.New("interrupted by the test"))
		}
	}))
	if err == nil || !strings.Contains(err.Error(), "interrupted by the test") {
		t.Errorf("a kops that was killed: %v", err)
	}
	leftIsReal(t, c, left(t, err), 1)
	wantKubelets(t, c, false, map[string]int{"v1.34.4": 3, "v1.35.4": 1})

	// The same without a kill: kops gives up on the drain after its timeout, and
	// does the same with the next group, and the next.
	err = b.d.RollWorkers(ctx, c, to, b.options(nil))
	if err == nil || !strings.Contains(err.Error(), "global timeout reached: 20s") {
		t.Errorf("a blocked drain: %v", err)
	}
	leftIsReal(t, c, left(t, err), 3)
	refused := map[string]bool{}
	for _, e := range b.events {
		if e.Kind == timeline.KindEvictRefused {
			refused[e.Subject+" "+e.Detail["node"]] = true
			if !strings.HasPrefix(e.Subject, "pod/default/web-") || !strings.Contains(e.Detail["reason"], "disruption budget") || e.Detail["node"] == "" {
				t.Errorf("refused eviction: %+v", e)
			}
		}
	}
	if len(refused) != 3 {
		t.Errorf("refused: %v, want one pod on each of three nodes", refused)
	}
	b.wantKinds(t, map[string]int{timeline.KindDetach: 2, timeline.KindDrainStart: 3, timeline.KindDrainEnd: 3, timeline.KindTerminate: 0, timeline.KindFailure: 1})

	// The budget is mended: the rest of the workers, to the end.
	budget, err := c.Client.PolicyV1().PodDisruptionBudgets("default").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one := intstr.FromInt32(1)
	budget.Spec.MaxUnavailable = &one
	if _, err := c.Client.PolicyV1().PodDisruptionBudgets("default").Update(ctx, budget, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.d.RollWorkers(ctx, c, to, b.options(nil)); err != nil {
		t.Fatalf("roll the workers: %v", err)
	}
	wantKubelets(t, c, true, map[string]int{"v1.35.4": 3})
	wantKubelets(t, c, false, map[string]int{"v1.35.4": 3})
	// Each instance was detached by a roll that failed.
	b.wantKinds(t, map[string]int{
		timeline.KindDetach: 0, timeline.KindUpgradeStart: 3, timeline.KindDrainStart: 3, timeline.KindDrainEnd: 3, timeline.KindTerminate: 3, timeline.KindUpgradeEnd: 3,
		timeline.KindRollEnd: 1, timeline.KindFailure: 0,
	})
	if n := len(look(t).of("instance")); n != 6 {
		t.Errorf("%d instances after the upgrade, want 6: none is left detached", n)
	}
	b.known(t)

	// The driver finds what it made, and leaves nothing.
	found, err := b.d.Leftovers(ctx)
	if err != nil || len(found) != 1 || found[0].Name != name || found[0].RunID != spec.RunID {
		t.Errorf("leftovers: %+v, %v", found, err)
	}
	other := spec
	other.RunID = "ffffff"
	if err := b.d.Delete(ctx, other); err == nil || !strings.Contains(err.Error(), "it is left alone") {
		t.Errorf("delete by another run: %v", err)
	}
	if err := b.d.Delete(ctx, spec); err != nil {
		t.Fatalf("delete: %v", err)
	}
	until(t, "an empty account", func() bool { return len(look(t).Resources) == 0 && len(look(t).Objects) == 0 })
	if err := b.d.Delete(ctx, spec); err != nil {
		t.Errorf("delete once more: %v", err)
	}
	end := look(t)
	if len(end.Gaps) != 0 {
		t.Errorf("kops asked for what is not simulated: %v", end.Gaps)
	}
	t.Logf("the account had %d resources, and has %d; %d actions of AWS were called %d times", len(made.Resources), len(end.Resources), len(end.Actions), sum(end.Actions))
}

func sum(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// wantKinds compares the counts of events of the last roll, of the kinds given.
func (b *bed) wantKinds(t *testing.T, want map[string]int) {
	t.Helper()
	got := b.kinds()
	for _, kind := range slices.Sorted(maps.Keys(want)) {
		if got[kind] != want[kind] {
			t.Errorf("%d events %s, want %d", got[kind], kind, want[kind])
		}
	}
}

// TestInterruptedCreateFromAManifest mirrors a manifest that the real kops printed
// and is interrupted once the cluster is registered: the state store holds it, the
// driver says so, and deletes it.
func TestInterruptedCreateFromAManifest(t *testing.T) {
	printed, err := os.ReadFile(filepath.Join("..", "..", "harness", "cluster", "kops", "testdata", "get-all.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// It was printed on a machine that had the channel in a file.
	manifest := filepath.Join(t.TempDir(), "production.yaml")
	if err := os.WriteFile(manifest, bytes.ReplaceAll(printed, []byte("file:///etc/kops/channels/stable"), []byte("stable")), 0o600); err != nil {
		t.Fatal(err)
	}
	mirrored := spec
	mirrored.RunID = "e2e1d7"
	b := newBed(t, func(o *kops.Options) { o.Name, o.Manifest = "mirror.k8s.local", manifest })
	ctx, cancel := context.WithCancelCause(b.ctx())
	b2 := newBed(t, func(o *kops.Options) {
		o.Name, o.Manifest = "mirror.k8s.local", manifest
		run := o.Run
		o.Run = func(ctx context.Context, c command.Cmd) error {
			if verb(c.Args) == "update" {
				cancel(errors.New("interrupted by the test"))
			}
			return run(ctx, c)
		}
	})
	if _, err := b2.d.Create(ctx, mirrored); err == nil || !strings.Contains(err.Error(), "interrupted by the test") {
		t.Errorf("create: %v", err)
	}
	found, err := b.d.Leftovers(b.ctx())
	if err != nil || len(found) != 1 || found[0].Name != "mirror.k8s.local" || found[0].RunID != "e2e1d7" {
		t.Errorf("leftovers: %+v, %v", found, err)
	}
	if err := b.d.Delete(b.ctx(), mirrored); err != nil {
		t.Errorf("delete: %v", err)
	}
	if end := look(t); len(end.Resources)+len(end.Objects) != 0 {
		t.Errorf("left: %v %v", end.Resources, end.Objects)
	}
}

// TestMissingBucket: what is wrong is found before anything is made.
func TestMissingBucket(t *testing.T) {
	b := newBed(t, func(o *kops.Options) { o.StateStore = "s3://no-such-bucket" })
	findings, err := b.d.Preflight(b.ctx(), spec, to)
	if err != nil || len(findings) != 1 || findings[0].ID != "state-store" || findings[0].Cause != "the bucket of the state store does not exist" {
		t.Errorf("findings %+v, %v", findings, err)
	}
}
