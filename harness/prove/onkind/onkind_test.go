package onkind

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	discoveryfake "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// theStage is a stage on which a fault is noted instead of planted.
func theStage(t *testing.T, lasts time.Duration, plant error) (*stage, *[]string) {
	var did []string
	k := &kept{cluster: &cluster.Cluster{Spec: cluster.Spec{Name: "rehearse-x"}}}
	f := fault{
		Fault: prove.Fault{Name: "f"}, lasts: lasts,
		plant: func(context.Context, *hands) error { did = append(did, "plant"); return plant },
		undo:  func(context.Context, *hands) error { did = append(did, "undo"); return nil },
	}
	return &stage{Progress: silent{}, ctx: t.Context(), fault: f, hands: &hands{kept: k}}, &did
}

var settling = harness.Entry{Step: step.Hold{Phase: timeline.PhaseSettle}}

func TestFaultIsPlantedInTheSettlingAndTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, did := theStage(t, 0, nil)
		s.Start(harness.Entry{Step: step.Hold{Phase: timeline.PhaseBaseline}}, 2)
		synctest.Wait()
		if len(*did) > 0 {
			t.Errorf("before the settling: %v", *did)
		}
		s.Start(settling, 2)
		synctest.Wait()
		if !slices.Equal(*did, []string{"plant"}) {
			t.Errorf("in the settling: %v", *did)
		}
		if err := s.end(); err != nil || !slices.Equal(*did, []string{"plant", "undo"}) {
			t.Errorf("at the end: %v, %v", *did, err)
		}
		if s.planted.From.IsZero() || !s.planted.To.IsZero() || s.planted.Object != "node/rehearse-x-worker2" {
			t.Errorf("planted %+v", s.planted)
		}
	})
}

func TestFaultThatPassesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, did := theStage(t, 8*time.Second, nil)
		s.Start(settling, 1)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := s.planted.To.Sub(s.planted.From); got != 8*time.Second || !slices.Equal(*did, []string{"plant", "undo"}) {
			t.Errorf("lasted %s, %v", got, *did)
		}
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
}

func TestFaultThatCannotBePlantedSaysSo(t *testing.T) {
	s, did := theStage(t, 0, errors.New("no pkill"))
	s.Start(settling, 1)
	if err := s.end(); err == nil || err.Error() != "fault f: no pkill" {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(*did, []string{"plant"}) || !s.planted.From.IsZero() {
		t.Errorf("did %v, planted %+v", *did, s.planted)
	}
}

// What an earlier rehearsal has upgraded is left alone: the driver beneath is
// nil, and would panic.
func TestKeptClusterIsNotUpgradedAgain(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "rehearse-x-control-plane"}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.35.4"}}}
	client := fake.NewClientset(node)
	client.Discovery().(*discoveryfake.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.35.4"}
	c := &cluster.Cluster{Client: client}
	k := &kept{cluster: c, plane: "v1.35.4", staged: map[cluster.Version]bool{"v1.35.4": true}, image: "canary:1",
		front: cluster.Endpoint{URL: "http://127.0.0.1:1"}, twin: cluster.Endpoint{URL: "http://127.0.0.1:2"}}
	ctx := t.Context()
	front, err1 := k.Expose(ctx, c, cluster.Service{})
	twin, err2 := k.StartTwin(ctx, c, cluster.Workload{})
	image, err3 := k.CanaryImage(ctx, c)
	findings, err4 := k.Preflight(ctx, cluster.Spec{}, "v1.35.4")
	left, err5 := k.Leftovers(ctx)
	if front != k.front || twin != k.twin || image != "canary:1" || len(findings)+len(left) > 0 {
		t.Errorf("front %v, twin %v, image %s, findings %v, leftovers %v", front, twin, image, findings, left)
	}
	err := errors.Join(err1, err2, err3, err4, err5,
		k.Prepare(ctx, cluster.Spec{}, "v1.35.4"), k.Stage(ctx, c, "v1.35.4"),
		k.UpgradeControlPlane(ctx, c, node.Name, "v1.35.4", true), k.UpgradeNode(ctx, c, node.Name, "v1.35.4"), k.Delete(ctx, cluster.Spec{}))
	if err != nil {
		t.Error(err)
	}
}

func TestNotReset(t *testing.T) {
	node := func(version string, ready corev1.ConditionStatus, labels map[string]string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: labels}, Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version}, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}},
		}}
	}
	for _, tc := range []struct {
		node *corev1.Node
		want string
	}{
		{node("v1.34.4", corev1.ConditionTrue, nil), ""},
		{node("v1.35.4", corev1.ConditionTrue, map[string]string{roleLabel: ""}), ""},
		{node("v1.35.4", corev1.ConditionTrue, nil), "the kubelet of node n reports v1.35.4, want v1.34.4"},
		{node("v1.34.4", corev1.ConditionUnknown, nil), "node n is not Ready"},
	} {
		got := ""
		if err := notReset(tc.node, "v1.34.4"); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestTableCanBePlanned(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range table() {
		sc, err := common()
		if err != nil {
			t.Fatal(err)
		}
		if f.scenario != nil {
			f.scenario(sc)
		}
		plan, err := harness.Plan(sc, &kept{Driver: kind.New(kind.Options{})})
		if err != nil || len(plan.Entries) == 0 {
			t.Errorf("%s: %v", f.Name, err)
		}
		if seen[f.Name] || strings.ToLower(f.Name) != f.Name || f.What == "" || len(f.Expect.Outcomes) == 0 {
			t.Errorf("%s: %+v", f.Name, f.Fault)
		}
		if (f.plant == nil) != (f.undo == nil) {
			t.Errorf("%s is planted and not taken away, or the other way round", f.Name)
		}
		seen[f.Name] = true
	}
	if !seen["clean"] || len(seen) < 6 {
		t.Errorf("rows %v", seen)
	}
}
