package kind

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	kinderrors "sigs.k8s.io/kind/pkg/errors"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

const status = "Name:\tcat\nCapBnd:\t000001ffffffffff\nkind: DaemonSet\nname: kube-flannel-ds\n"

// machineAnswers are those of a machine on which nothing is in the way.
func machineAnswers() []answer {
	return []answer{
		{match: `"info "*`, stdout: `{"CgroupVersion":"2","Architecture":"x86_64"}`},
		{match: `"run --rm --privileged"*`, stdout: status},
	}
}

func TestCreateMakesTheLabelledNetworkFirstAndTellsKind(t *testing.T) {
	f := newFakeDocker(t, machineAnswers()...)
	k := &fakeKind{create: func() error { return errors.New("no more") }}
	t.Setenv(networkVariable, "before")
	_, err := newDriver(f, k).Create(t.Context(), spec())
	if want := "create cluster " + testName + ": no more"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	want := []string{
		"version --format {{.Server.Version}}", "info --format {{json .}}",
		"run --rm --privileged --network none --entrypoint cat rehearse/node:v1.34.4 /proc/self/status /kind/manifests/default-cni.yaml",
		"network ls --quiet --filter name=^" + testName + "$",
		"network create --label io.rehearse.run=4f2a91 " + testName,
		// No node is there that could say why.
		"ps --all --quiet --no-trunc --filter label=io.x-k8s.kind.cluster=" + testName,
	}
	if diff := cmp.Diff(want, f.calls()); diff != "" {
		t.Errorf("docker (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{testName}, k.names); diff != "" {
		t.Errorf("kind (-want +got):\n%s", diff)
	}
	if k.network != testName {
		t.Errorf("kind was told of network %q, want %q", k.network, testName)
	}
	if got := os.Getenv(networkVariable); got != "before" {
		t.Errorf("%s is left as %q", networkVariable, got)
	}
}

// A kubelet that ends says why in its journal only, and kubeadm says at last
// what it had waited for, after which it prints its stack.
func TestCreateSaysWhatTheKubeletSays(t *testing.T) {
	const journal = "I1122 04:33:30.1 12 server.go:1] hello\n" +
		`E1122 04:33:31.6 12 run.go:72] "command failed" err="failed to run Kubelet: inotify_init: too many open files"` + "\n" +
		"kubelet.service: Main process exited, code=exited, status=1/FAILURE\n"
	f := newFakeDocker(t, slices.Concat(machineAnswers(),
		[]answer{{match: "*" + testName + "-worker2*journalctl*", stdout: journal}, {match: "*journalctl*", stdout: "I1122 04:33:30.1 12 server.go:1] hello\n"}},
		threeNodes())...)
	output := "[kubelet-check] Waiting for a healthy kubelet\nerror: error execution phase kubelet-wait-bootstrap: the kubelet is not healthy\n\nmain.main\n\tmain.go:32\n"
	k := &fakeKind{create: func() error {
		return kinderrors.Wrap(&kindexec.RunError{Command: []string{"kubeadm", "join"}, Output: []byte(output), Inner: errors.New("exit status 1")}, "failed to join node with kubeadm")
	}}
	var log strings.Builder
	_, err := newDriver(f, k).Create(cluster.WithLog(t.Context(), nil, &log), spec())
	want := "create cluster " + testName + `: failed to join node with kubeadm: command "kubeadm join" failed with error: exit status 1
  error: error execution phase kubelet-wait-bootstrap: the kubelet is not healthy
  the kubelet of node ` + testName + `-worker2 says: E1122 04:33:31.6 12 run.go:72] "command failed" err="failed to run Kubelet: inotify_init: too many open files"`
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if !strings.Contains(log.String(), "main.go:32") {
		t.Errorf("the log lacks the rest of what kubeadm printed:\n%s", &log)
	}
}

func TestCreateCreatesNothingForASpecThatCannotBe(t *testing.T) {
	f := newFakeDocker(t, machineAnswers()...)
	k := &fakeKind{create: func() error { return nil }}
	s := spec()
	s.ControlPlanes = 2
	_, err := newDriver(f, k).Create(t.Context(), s)
	want := "cluster " + testName + ": 2 control planes: want an odd number, an even one survives no more failures than one fewer"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if made := f.with("create"); len(made) > 0 || len(k.names) > 0 {
		t.Errorf("created %q, %q", made, k.names)
	}
}

// TestCancelledCreateRemovesNodesUntilKindEnds plays a kind that notices the
// loss of its nodes only after they were removed for the second time.
func TestCancelledCreateRemovesNodesUntilKindEnds(t *testing.T) {
	f := newFakeDocker(t, append(machineAnswers(), threeNodes()...)...)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	ended := false
	k := &fakeKind{create: func() error {
		cancel(interrupted)
		for deadline := time.Now().Add(time.Minute); len(f.with("rm --force --volumes id-"+testName+"-control-plane")) < 2; {
			if time.Now().After(deadline) {
				t.Error("the nodes were not removed twice within a minute")
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		ended = true
		return errors.New("nodes are gone")
	}}
	_, err := newDriver(f, k).Create(ctx, spec())
	if !errors.Is(err, interrupted) {
		t.Errorf("got %v, want it to wrap the cause", err)
	}
	if !ended {
		t.Error("Create returned before kind did")
	}
	calls := f.calls()
	last := calls[len(calls)-3:]
	slices.Sort(last)
	want := []string{
		"rm --force --volumes id-" + testName + "-control-plane",
		"rm --force --volumes id-" + testName + "-worker", "rm --force --volumes id-" + testName + "-worker2",
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("the last thing done (-want +got):\n%s", diff)
	}
}

func TestCreateBeforeItBeganIsCancelled(t *testing.T) {
	f := newFakeDocker(t)
	k := &fakeKind{create: func() error { return nil }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newDriver(f, k).createNodes(ctx, k, testName, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(k.names) > 0 {
		t.Error("kind was started")
	}
}

func TestAPIServersAreOnLoopbackEachOnItsOwnPort(t *testing.T) {
	config := &rest.Config{Host: "https://127.0.0.1:6000", BearerToken: "secret"}
	hosts := func(answers ...answer) []string {
		servers, err := newDriver(newFakeDocker(t, answers...), nil).apiServers(t.Context(), testName, config)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range servers {
			got = append(got, s.Name+" "+s.Config.Host+" "+s.Config.BearerToken)
		}
		return got
	}
	if diff := cmp.Diff([]string{"api https://127.0.0.1:6000 secret"}, hosts(threeNodes()...)); diff != "" {
		t.Errorf("one control plane (-want +got):\n%s", diff)
	}
	three := []answer{
		{match: `"ps "*`, stdout: "a\nb\nc\nd\n"},
		{match: `"container inspect"*`, stdout: inspected(
			nodeJSON(testName+"-control-plane", "control-plane", "172.20.0.2"),
			nodeJSON(testName+"-control-plane2", "control-plane", "172.20.0.3"),
			nodeJSON(testName+"-external-load-balancer", "external-load-balancer", "172.20.0.4"),
			nodeJSON(testName+"-worker", "worker", "172.20.0.5"))},
	}
	want := []string{
		"api https://127.0.0.1:6000 secret",
		testName + "-control-plane https://127.0.0.1:42002 secret",
		testName + "-control-plane2 https://127.0.0.1:42003 secret",
	}
	if diff := cmp.Diff(want, hosts(three...)); diff != "" {
		t.Errorf("several control planes (-want +got):\n%s", diff)
	}
}

func TestWaitNodesSaysWhoIsMissing(t *testing.T) {
	node := func(name string, ready corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
		}
	}
	client := fake.NewClientset(node("control-plane", corev1.ConditionTrue), node("worker", corev1.ConditionFalse))
	err := waitNodes(t.Context(), client, 3, 10*time.Millisecond)
	if want := "its nodes were not Ready after 10ms: 2 of 3 nodes joined, not Ready: worker"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	client = fake.NewClientset(node("control-plane", corev1.ConditionTrue))
	if err := waitNodes(t.Context(), client, 1, time.Minute); err != nil {
		t.Error(err)
	}
}

func TestDeleteRemovesWhatTheLabelsSayNetworkLast(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `"ps "*"--filter label=io.rehearse.run=4f2a91"*`, stdout: "x\n"},
		answer{match: `"container inspect x"`, stdout: inspected(`{"Id":"x","Name":"/` + testName + `-balancer"}`)},
		answer{match: `"network ls "*`, stdout: testName + "\n"})...)
	if err := newDriver(f, nil).Delete(t.Context(), spec()); err != nil {
		t.Fatal(err)
	}
	calls := f.calls()
	removed := calls[5:8]
	slices.Sort(removed) // side by side
	want := []string{
		"ps --all --quiet --no-trunc --filter label=io.rehearse.run=4f2a91", "container inspect x", "rm --force --volumes x",
		"ps --all --quiet --no-trunc --filter label=io.x-k8s.kind.cluster=" + testName, "container inspect a b c",
		"rm --force --volumes id-" + testName + "-control-plane",
		"rm --force --volumes id-" + testName + "-worker", "rm --force --volumes id-" + testName + "-worker2",
		"network ls --format {{.Name}} --filter label=io.rehearse.run=4f2a91", "network rm " + testName,
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("docker (-want +got):\n%s", diff)
	}
}

func TestDeleteGoesOnAfterAnError(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `"rm --force --volumes id-` + testName + `-worker"`, stderr: "device busy\n", exit: 1},
		answer{match: `"network ls "*`, stdout: testName + "\n"})...)
	err := newDriver(f, nil).Delete(t.Context(), spec())
	if err == nil || !strings.Contains(err.Error(), "device busy") || !strings.HasPrefix(err.Error(), "delete cluster "+testName+": ") {
		t.Errorf("got %v", err)
	}
	if len(f.with("rm --force")) != 3 || len(f.with("network rm")) != 1 {
		t.Errorf("did not go on:\n%s", strings.Join(f.calls(), "\n"))
	}
}

func TestDeleteOfNothingIsNoError(t *testing.T) {
	if err := newDriver(newFakeDocker(t), nil).Delete(t.Context(), spec()); err != nil {
		t.Error(err)
	}
}

func TestLeftovers(t *testing.T) {
	f := newFakeDocker(t,
		answer{match: `"network ls "*`, stdout: "rehearse-old\t2026-11-21 10:00:01.123456789 +0000 UTC\t111111\n"},
		answer{match: `*"--filter label=io.rehearse.run --format"*`, stdout: "rehearse-old-balancer\t2026-11-21 10:05:00 +0000 UTC\t111111\t\n"},
		answer{match: `*"--filter label=io.x-k8s.kind.cluster --format"*`, stdout: "rehearse-old-worker\t2026-11-21 10:01:00 +0000 UTC\t\trehearse-old\n" +
			"rehearse-lost-worker\tyesterday\t\trehearse-lost\n" + "mine-worker\t2026-11-21 10:01:00 +0000 UTC\t\tmine\n"})
	got, err := newDriver(f, nil).Leftovers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := func(h, m, s, ns int) time.Time { return time.Date(2026, 11, 21, h, m, s, ns, time.UTC) }
	want := []cluster.Leftover{
		{Kind: "container", Name: "rehearse-old-balancer", RunID: "111111", Created: at(10, 5, 0, 0), Delete: "docker rm --force --volumes rehearse-old-balancer"},
		{Kind: "container", Name: "rehearse-old-worker", RunID: "111111", Created: at(10, 1, 0, 0), Delete: "docker rm --force --volumes rehearse-old-worker"},
		{Kind: "container", Name: "rehearse-lost-worker", Delete: "docker rm --force --volumes rehearse-lost-worker"},
		{Kind: "network", Name: "rehearse-old", RunID: "111111", Created: at(10, 0, 1, 123456789), Delete: "docker network rm rehearse-old"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
