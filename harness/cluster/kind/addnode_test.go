package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/test/golden"
)

func nodeObjects(names ...string) []runtime.Object {
	var out []runtime.Object
	for _, n := range names {
		out = append(out, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: testName + "-" + n}})
	}
	return out
}

func objectNames(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	list, err := c.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, strings.TrimPrefix(n.Name, testName+"-"))
	}
	return strings.Join(names, " ")
}

// model is what docker container inspect prints of the node that a new one is
// made like.
const model = `{"Config":{"Env":["PATH=/bin","container=docker","HTTP_PROXY=http://p","no_proxy=10.0.0.0/8,a","KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER=native"]},
	"HostConfig":{"Binds":["/lib/modules:/lib/modules:ro","/dev/mapper:/dev/mapper"],"UsernsMode":"host","Devices":[{"PathOnHost":"/dev/fuse"}]}}`

const invited = "W1121 a warning\nkubeadm join " + testName + "-control-plane:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:5d1f \n"

// addAnswers are those of a cluster in which a worker3 can be made.
func addAnswers(h *fakeHaproxy) []answer {
	const worker3 = testName + "-worker3"
	return append(theBalancer(h),
		answer{match: `"ps "*"--filter label=io.x-k8s.kind.cluster=` + testName + `"*`, stdout: "a\nb\n"},
		answer{match: `"container inspect a b"`, after: "run --detach", stdout: inspected(
			nodeJSON(testName+"-control-plane", "control-plane", "172.20.0.2"), nodeJSON(worker3, "worker", "172.20.0.7"))},
		answer{match: `"container inspect a b"`, stdout: inspected(
			nodeJSON(testName+"-control-plane", "control-plane", "172.20.0.2"), nodeJSON(testName+"-worker", "worker", "172.20.0.3"))},
		answer{match: `"container inspect --format {{json .}} "*`, stdout: model},
		answer{match: `"container inspect ` + worker3 + `"`, stdout: inspected(nodeJSON(worker3, "worker", "172.20.0.7"))},
		answer{match: `"logs "*`, stdout: "2026-11-21T10:00:00Z INFO: detected cgroup v1\n"},
		answer{match: `*"grep -c"*`, stdout: "1\n"},
		answer{match: `*"images list --quiet"`, stdout: "docker.io/rehearse/canary:c1\nregistry.k8s.io/pause:3.10\n"},
		answer{match: `*"ls /opt/rehearse"*`, stdout: "v1.34.4\nv1.35.4.partial\n.\n"},
		answer{match: `*"kubeadm token create"*`, stdout: invited},
	)
}

func TestAddNodeMakesWhatKindMakes(t *testing.T) {
	const worker3 = testName + "-worker3"
	h := newFakeHaproxy(t, &member{Name: "slot1", Address: "127.0.0.1:1", Status: "MAINT"})
	f := newFakeDocker(t, addAnswers(h)...)
	c := theCluster()
	// The machine of worker2 is gone, but its name is taken.
	client := fake.NewClientset(nodeObjects("control-plane", "worker", "worker2")...)
	c.Client = client
	client.PrependReactor("patch", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		// kubeadm has made the Node by now.
		_ = client.Tracker().Add(nodeObjects("worker3")[0])
		return false, nil, nil
	})
	node, err := newDriver(f, nil).AddNode(t.Context(), c, "v1.34.4")
	if err != nil {
		t.Fatal(err)
	}
	if node != worker3 {
		t.Errorf("got %s, want %s", node, worker3)
	}
	wantRun := "run --detach --name " + worker3 + " --hostname " + worker3 +
		" --label io.x-k8s.kind.cluster=" + testName + " --label io.x-k8s.kind.role=worker --label io.rehearse.role=node" +
		" --privileged --security-opt seccomp=unconfined --security-opt apparmor=unconfined --tmpfs /tmp --tmpfs /run --volume /var" +
		" --tty --network " + testName + " --restart=on-failure:1 --init=false --cgroupns=private" +
		" --volume /lib/modules:/lib/modules:ro --volume /dev/mapper:/dev/mapper --device /dev/fuse --userns=host" +
		" --env HTTP_PROXY=http://p --env no_proxy=10.0.0.0/8,a," + worker3 + " --env KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER=native" +
		" rehearse/node:v1.34.4"
	if diff := cmp.Diff([]string{wantRun}, f.with("run --detach")); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
	var ran []string
	for _, command := range commands(f, worker3) {
		ran = append(ran, strings.SplitN(command, "\n", 2)[0])
	}
	want := []string{
		"ctr version",
		"sh -c set -e; sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml",
		"ctr version",
		"kubeadm join --config /kind/kubeadm.conf --ignore-preflight-errors=SystemVerification",
	}
	if diff := cmp.Diff(want, ran); diff != "" {
		t.Errorf("on the node (-want +got):\n%s", diff)
	}
	if got := f.with("exec --interactive " + worker3 + " ctr --namespace=k8s.io images import -"); len(got) != 1 || len(f.with("save rehearse/canary:c1")) != 1 {
		t.Errorf("the canary's image was not brought: %q", got)
	}
	config, err := os.ReadFile(filepath.Join(f.dir, "copied"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"apiVersion: kubeadm.k8s.io/v1beta4\n", "token: abcdef.0123456789abcdef\n"} {
		if !strings.Contains(string(config), want) {
			t.Errorf("kubeadm's configuration lacks %q:\n%s", want, config)
		}
	}
	if diff := cmp.Diff([]string{"slot1 172.20.0.7:30080 DOWN"}, h.state()); diff != "" {
		t.Errorf("balancer (-want +got):\n%s", diff)
	}
	n, err := c.Client.CoreV1().Nodes().Get(t.Context(), worker3, metav1.GetOptions{})
	if err != nil || n.Annotations["io.rehearse.run"] != "4f2a91" {
		t.Errorf("the node is not marked: %v, %v", n.Annotations, err)
	}
}

func TestAddNodeThatFailsLeavesNothing(t *testing.T) {
	const worker3 = testName + "-worker3"
	h := newFakeHaproxy(t, &member{Name: "slot1", Address: "127.0.0.1:1", Status: "MAINT"})
	f := newFakeDocker(t, append([]answer{{match: `*"kubeadm join"*`, stdout: "error: no such host\n", exit: 1}}, addAnswers(h)...)...)
	c := theCluster()
	c.Client = fake.NewClientset(nodeObjects("control-plane", "worker", "worker2")...)
	d := newDriver(f, nil)
	_, err := d.AddNode(t.Context(), c, "v1.34.4")
	if err == nil || !strings.HasPrefix(err.Error(), "add node "+worker3+": join the cluster: node "+worker3+", attempt 1 of 6: ") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"rm --force --volumes " + worker3}, f.with("rm --force --volumes")); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if got := objectNames(t, c); got != "control-plane worker worker2" {
		t.Errorf("nodes left: %s", got)
	}
	if d.highest[testName] != 3 {
		t.Errorf("the name would be given again: %v", d.highest)
	}
}

func TestAddNodeThatCannotBeUndoneSaysWhatIsLeft(t *testing.T) {
	const worker3 = testName + "-worker3"
	h := newFakeHaproxy(t)
	f := newFakeDocker(t, append([]answer{
		{match: `*"kubeadm join"*`, stdout: "error: no such host\n", exit: 1},
		{match: `"rm --force"*`, stderr: "device busy\n", exit: 1},
	}, addAnswers(h)...)...)
	c := theCluster()
	c.Client = fake.NewClientset(nodeObjects("control-plane", "worker", "worker2")...)
	_, err := newDriver(f, nil).AddNode(t.Context(), c, "v1.34.4")
	want := "what there is of node " + worker3 + " is still there; remove it with `docker rm --force --volumes " + worker3 + "` and `kubectl delete node " + worker3 + "`: "
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("\n got %v\nwant it to contain %s", err, want)
	}
}

func TestAddNodeCancelledRemovesItsContainer(t *testing.T) {
	h := newFakeHaproxy(t)
	f := newFakeDocker(t, append([]answer{{match: `"logs "*`, stdout: "booting\n"}}, addAnswers(h)...)...)
	c := theCluster()
	c.Client = fake.NewClientset(nodeObjects("control-plane", "worker", "worker2")...)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	stop := time.AfterFunc(time.Second, func() { cancel(interrupted) })
	defer stop.Stop()
	if _, err := newDriver(f, nil).AddNode(ctx, c, "v1.34.4"); err == nil {
		t.Fatal("no error")
	}
	if got := f.with("rm --force --volumes"); len(got) != 1 {
		t.Errorf("removed %q", got)
	}
}

func TestRemoveNode(t *testing.T) {
	const worker = testName + "-worker"
	h := newFakeHaproxy(t, &member{Name: "worker", Address: "172.20.0.3:30080", Status: "UP"})
	f := newFakeDocker(t, append(theBalancer(h),
		answer{match: `"container inspect ` + worker + `"`, stdout: inspected(nodeJSON(worker, "worker", "172.20.0.3"))})...)
	c := theCluster()
	c.Client = fake.NewClientset(nodeObjects("control-plane", "worker")...)
	d := newDriver(f, nil)
	if err := d.RemoveNode(t.Context(), c, worker); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"worker 172.20.0.3:30080 MAINT"}, h.state()); diff != "" {
		t.Errorf("balancer (-want +got):\n%s", diff)
	}
	calls := f.calls()
	if last, want := calls[len(calls)-1], "rm --force --volumes id-"+worker; last != want {
		t.Errorf("the last call is %q, want %q", last, want)
	}
	if got := objectNames(t, c); got != "control-plane" {
		t.Errorf("nodes left: %s", got)
	}
}

func TestRemoveNodeThatIsGone(t *testing.T) {
	f := newFakeDocker(t, answer{match: `"container inspect "*`, stderr: "Error: No such container: x\n", exit: 1})
	c := theCluster()
	c.Client = fake.NewClientset()
	if err := newDriver(f, nil).RemoveNode(t.Context(), c, testName+"-worker"); err != nil {
		t.Error(err)
	}
}

func TestRemoveNodeRefuses(t *testing.T) {
	for _, tc := range []struct{ node, json, want string }{
		{testName + "-control-plane", nodeJSON(testName+"-control-plane", "control-plane", "172.20.0.2"), "it is a control-plane, only workers can be removed"},
		{"mine-worker", `{"Name":"/mine-worker","Config":{"Labels":{"io.x-k8s.kind.cluster":"mine"}}}`, `its container belongs to cluster "mine", not to ` + testName},
	} {
		f := newFakeDocker(t, answer{match: `"container inspect "*`, stdout: inspected(tc.json)})
		err := newDriver(f, nil).RemoveNode(t.Context(), theCluster(), tc.node)
		if want := "remove node " + tc.node + ": " + tc.want; err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
		if got := f.with("rm "); len(got) > 0 {
			t.Errorf("removed %q", got)
		}
	}
}

func TestWorkerNamesGoOnCounting(t *testing.T) {
	names := []string{"c-control-plane", "c-worker", "c-worker2", "c-worker10", "c-workerx", "c-external-load-balancer"}
	for _, tc := range []struct {
		names []string
		want  string
	}{{names, "c-worker11"}, {names[:3], "c-worker3"}, {names[:2], "c-worker2"}, {names[:1], "c-worker"}} {
		if got := workerName("c", highestWorker("c", tc.names)+1); got != tc.want {
			t.Errorf("%q: got %s, want %s", tc.names, got, tc.want)
		}
	}
}

func TestJoinConfig(t *testing.T) {
	for _, v := range []cluster.Version{"v1.30.14", "v1.34.4"} {
		got, err := joinConfig(testName, testName+"-worker3", "172.20.0.7", v, invitation{"cp:6443", "abcdef.0123456789abcdef", "sha256:5d1f"})
		if err != nil {
			t.Fatal(err)
		}
		golden.Equal(t, fmt.Sprintf("join-1.%d.yaml", v.Minor()), string(got)+"\n")
	}
}

func TestJoinIsUndoneBeforeItIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDocker(t, answer{match: `*"kubeadm join"*`, stdout: "dial tcp: connection refused\n", exit: 1},
			answer{match: `*"kubeadm token create"*`, stdout: invited})
		err := newDriver(f, nil).join(t.Context(), testName, "p", "n", "172.20.0.7", "v1.34.4")
		if err == nil || !strings.HasPrefix(err.Error(), "join the cluster: node n, attempt 6 of 6: ") {
			t.Errorf("got %v", err)
		}
		if joins, resets := len(f.with("kubeadm join")), len(f.with("kubeadm reset --force")); joins != 6 || resets != 5 {
			t.Errorf("%d joins and %d resets, want 6 and 5", joins, resets)
		}
	})
}
