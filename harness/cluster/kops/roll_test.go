package kops

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestFiveStages(t *testing.T) {
	b := newBed(t, nil, node("cp", "v1.35.4", true), node("w", "v1.35.4", false))
	b.golden("rolling-update-cluster.roles", "rolling-update", "0")
	b.golden("rolling-update-cluster", "rolling-update", "0")
	kinds := map[string]int{}
	o := options
	o.Progress = func(e timeline.Event) { kinds[e.Kind]++ }
	if err := b.d.RollControlPlane(b.ctx(), b.c, "v1.35.4", o); err != nil {
		t.Fatal(err)
	}
	if err := b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", o); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"get clusters -o json", "version --short",
		"edit cluster --set spec.kubernetesVersion=1.35.4",
		"update cluster --create-kube-config=false --instance-group-roles=control-plane,apiserver",
		"update cluster --create-kube-config=false --instance-group-roles=control-plane,apiserver --yes",
		"rolling-update cluster --instance-group-roles=control-plane,apiserver" + rollFlags,
		"get clusters -o json", "version --short",
		"update cluster --create-kube-config=false --yes",
		"rolling-update cluster" + rollFlags,
		"update cluster --create-kube-config=false --prune --yes",
	}
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	// The golden log has six instances, three of them surged; it is played twice.
	wantKinds := map[string]int{
		timeline.KindTaint: 12, timeline.KindDetach: 6, timeline.KindUpgradeStart: 12, timeline.KindCordon: 12, timeline.KindDrainStart: 12, timeline.KindDrainEnd: 12,
		timeline.KindDeregister: 24, timeline.KindTerminate: 12, timeline.KindWait: 30, timeline.KindValidation: 60, timeline.KindUpgradeEnd: 12, timeline.KindRollEnd: 2,
		// The script's own lines, which kops never printed.
		timeline.KindFailure: 2,
	}
	if diff := cmp.Diff(wantKinds, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestStagesOfOlderKops(t *testing.T) {
	b := newBed(t, nil, node("cp", "v1.30.4", true), node("w", "v1.30.4", false))
	b.put("version.stdout", "1.30.1\n")
	if err := b.d.RollControlPlane(b.ctx(), b.c, "v1.30.4", options); err != nil {
		t.Fatal(err)
	}
	if err := b.d.RollWorkers(b.ctx(), b.c, "v1.30.4", options); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"get clusters -o json", "version --short",
		"edit cluster --set spec.kubernetesVersion=1.30.4",
		"update cluster --create-kube-config=false", "update cluster --create-kube-config=false --yes",
		"rolling-update cluster --instance-group-roles=control-plane,apiserver" + rollFlags,
		"get clusters -o json", "version --short",
		"rolling-update cluster" + rollFlags,
	}
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestABlockedDrainIsNamedWithWhatIsLeft(t *testing.T) {
	b := newBed(t, nil, node("cp", "v1.35.4", true))
	b.golden("rolling-update-cluster", "drain-blocked-by-pdb", "1")
	var refused []string
	o := options
	o.Progress = func(e timeline.Event) {
		if e.Kind == timeline.KindEvictRefused {
			refused = append(refused, e.Subject+" on "+e.Detail["node"])
		}
	}
	err := b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", o)
	var roll *cluster.RollError
	if !errors.As(err, &roll) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`roll the workers: failed to drain node "i-000eb2f2fd6609bc8": error draining node: error when evicting pods/"web-68fc8469f5-b5w94" -n "default": global timeout reached: 18s`,
		"; left behind: detached instance i-000eb2f2fd6609bc8 (aws ec2 terminate-instances --instance-ids i-000eb2f2fd6609bc8); cordoned node i-000eb2f2fd6609bc8 (kubectl uncordon i-000eb2f2fd6609bc8); " +
			"tainted nodes nodes-us-east-1a (1) (kubectl taint nodes -l kops.k8s.io/instancegroup=nodes-us-east-1a kops.k8s.io/scheduled-for-update-)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if len(refused) != 4 || refused[0] != "pod/default/web-68fc8469f5-b5w94 on i-000eb2f2fd6609bc8" {
		t.Errorf("refused: %q", refused)
	}
	if calls := b.calls(); !strings.HasPrefix(calls[len(calls)-2], "rolling-update") || calls[len(calls)-1] != "get instances -o json" {
		t.Errorf("something else was called after the failure: %q", calls)
	}
	if !strings.Contains(b.log.String(), "evicting pod default/web-68fc8469f5-b5w94") {
		t.Error("the step's log lacks what kops printed")
	}
}

// kops says nothing of what a roll before this one has detached, cordoned and
// tainted.
func TestLeftByAnEarlierRoll(t *testing.T) {
	w := node("i-1", "v1.34.4", false)
	w.Labels["kops.k8s.io/instancegroup"] = "nodes-us-east-1b"
	w.Spec.Unschedulable = true
	w.Spec.Taints = []corev1.Taint{{Key: "kops.k8s.io/scheduled-for-update", Effect: corev1.TaintEffectPreferNoSchedule}}
	b := newBed(t, nil, node("cp", "v1.35.4", true), w)
	b.golden("rolling-update-cluster", "drain-blocked-by-pdb", "1")
	b.put("get-instances.stdout", `[{"id":"i-000eb2f2fd6609bc8","nodeName":"i-000eb2f2fd6609bc8","status":"Detached","instanceGroup":"nodes-us-east-1a.t.example.com"},`+
		`{"id":"i-1","status":"Detached","instanceGroup":"nodes-us-east-1b.t.example.com"},{"id":"i-2","status":"NeedsUpdate","instanceGroup":"nodes-us-east-1b.t.example.com"}]`)
	told := func() []string {
		var roll *cluster.RollError
		if err := b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", options); !errors.As(err, &roll) {
			t.Fatalf("got %v", err)
		}
		var all []string
		for _, l := range roll.Left {
			all = append(all, l.Kind+" "+l.Name)
		}
		return all
	}
	want := []string{"detached instance i-000eb2f2fd6609bc8", "detached instance i-1", "cordoned node i-1", "cordoned node i-000eb2f2fd6609bc8", "tainted nodes nodes-us-east-1b (1)", "tainted nodes nodes-us-east-1a (1)"}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	// What cannot be listed takes nothing from what the roll has said.
	b.put("get-instances.stdout", "no JSON")
	want = []string{"cordoned node i-1", "detached instance i-000eb2f2fd6609bc8", "cordoned node i-000eb2f2fd6609bc8", "tainted nodes nodes-us-east-1b (1)", "tainted nodes nodes-us-east-1a (1)"}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestARollThatLandedNothingIsAnError(t *testing.T) {
	b := newBed(t, nil, node("cp-a", "v1.35.4", true), node("cp-b", "v1.34.4", true), node("w", "v1.34.4", false))
	err := b.d.RollControlPlane(b.ctx(), b.c, "v1.35.4", options)
	if want := "the roll to v1.35.4 ended without an error, and 1 of 2 nodes (control plane) have not that version: cp-b runs v1.34.4"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	err = b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", options)
	if err == nil || !strings.Contains(err.Error(), "1 of 1 nodes (worker) have not that version: w runs v1.34.4") {
		t.Errorf("got %v", err)
	}
}

func TestAKilledKopsLeavesAReport(t *testing.T) {
	b := newBed(t, nil)
	b.golden("rolling-update-cluster", "node-did-not-join", "1")
	b.put("rolling-update-cluster.hang", "")
	ctx, cancel := context.WithCancelCause(b.ctx())
	o := options
	o.Progress = func(e timeline.Event) {
		if e.Kind == timeline.KindRollEnd {
			cancel(errors.New("interrupted"))
		}
	}
	err := b.d.RollWorkers(ctx, b.c, "v1.35.4", o)
	if err == nil || !strings.Contains(err.Error(), "interrupted") || !strings.Contains(err.Error(), "left behind: detached instance i-000caca8b382656e0 (aws ec2 terminate-instances --instance-ids i-000caca8b382656e0)") {
		t.Errorf("got %v", err)
	}
}
