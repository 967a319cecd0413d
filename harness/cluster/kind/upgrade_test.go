package kind

import (
	"bytes"
	"io"
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

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/record"
)

const target cluster.Version = "v1.35.4"

// commands are the programs that were run on a node, without what is common.
func commands(f *fakeDocker, node string) []string {
	var got []string
	for _, c := range f.with("exec " + node + " ") {
		c = strings.TrimPrefix(c, "exec "+node+" ")
		got = append(got, strings.TrimPrefix(c, `sh -c exec "$@" 2>&1 sh `))
	}
	return got
}

// componentPods are a node's control plane as the API shows it.
func componentPods(node string, v cluster.Version) []runtime.Object {
	var pods []runtime.Object
	for _, c := range controlPlaneComponents {
		pods = append(pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: c + "-" + node},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Image: "registry.k8s.io/" + c + ":" + v.String()}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	}
	return pods
}

func TestUpgradeInKubeadmsOrder(t *testing.T) {
	const plane, worker = testName + "-control-plane", testName + "-worker"
	put := func(name string) []string {
		return []string{"test -x /opt/rehearse/v1.35.4/" + name, "ln --force /opt/rehearse/v1.35.4/" + name + " /usr/bin/" + name}
	}
	join := func(parts ...[]string) []string {
		var out []string
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	restart := []string{"systemctl daemon-reload", "systemctl restart kubelet"}
	for _, tc := range []struct {
		name, node string
		upgrade    func(*Driver, *cluster.Cluster) error
		want       []string
	}{
		{"first control plane", plane, func(d *Driver, c *cluster.Cluster) error {
			return d.UpgradeControlPlane(t.Context(), c, plane, target, true)
		}, join(put("kubeadm"), []string{"kubeadm upgrade apply v1.35.4 --yes --ignore-preflight-errors=SystemVerification"})},
		{"further control plane", plane, func(d *Driver, c *cluster.Cluster) error {
			return d.UpgradeControlPlane(t.Context(), c, plane, target, false)
		}, join(put("kubeadm"), []string{"kubeadm upgrade node --ignore-preflight-errors=SystemVerification"})},
		{"control plane's node", plane, func(d *Driver, c *cluster.Cluster) error {
			return d.UpgradeNode(t.Context(), c, plane, target)
		}, join(put("kubelet"), put("kubectl"), restart)},
		{"worker", worker, func(d *Driver, c *cluster.Cluster) error {
			return d.UpgradeNode(t.Context(), c, worker, target)
		}, join(put("kubeadm"), []string{"kubeadm upgrade node --ignore-preflight-errors=SystemVerification"}, put("kubelet"), put("kubectl"), restart)},
		{"worker rolled back", worker, func(d *Driver, c *cluster.Cluster) error {
			return d.RollbackNode(t.Context(), c, worker, target)
		}, join(put("kubeadm"), put("kubelet"), put("kubectl"), restart)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeDocker(t, threeNodes()...)
			c := theCluster()
			c.Client = fake.NewClientset(componentPods(plane, target)...)
			if err := tc.upgrade(newDriver(f, nil), c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, commands(f, tc.node)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUpgradeRefusesTheWrongNode(t *testing.T) {
	f := newFakeDocker(t, threeNodes()...)
	d := newDriver(f, nil)
	for _, tc := range []struct {
		node, want string
	}{
		{testName + "-worker", "node " + testName + "-worker is a worker, it has no control plane to upgrade"},
		{"other", "cluster " + testName + ` has no node "other"; it has ` + testName + "-control-plane, " + testName + "-worker, " + testName + "-worker2"},
	} {
		if err := d.UpgradeControlPlane(t.Context(), theCluster(), tc.node, target, true); err == nil || err.Error() != tc.want {
			t.Errorf("\n got %v\nwant %s", err, tc.want)
		}
	}
	const want = "node " + testName + "-control-plane is a control plane: Kubernetes supports no way back for it"
	if err := d.RollbackNode(t.Context(), theCluster(), testName+"-control-plane", target); err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if got := f.with("exec"); len(got) > 0 {
		t.Errorf("ran %q", got)
	}
}

func TestUpgradeWithoutStagingSaysSo(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(), answer{match: `*"test -x"*`, exit: 1})...)
	err := newDriver(f, nil).UpgradeNode(t.Context(), theCluster(), testName+"-worker", target)
	const want = "node rehearse-test-4f2a91-worker has no staged kubeadm v1.35.4: stage the version before the upgrade: "
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want the prefix %s", err, want)
	}
	if got := f.with("ln --force"); len(got) > 0 {
		t.Errorf("replaced something all the same: %q", got)
	}
}

func TestKubeadmIsRunAgainForReasonsThatPassAndTheLogTellsOfIt(t *testing.T) {
	const refused = `error: nodes "x" is forbidden: User "system:node:x" cannot get resource`
	for _, tc := range []struct {
		name, output string
		runs         int
		err          string
	}{
		{"passes never", refused, kubeadmAttempts, "node n, attempt 6 of 6: "},
		{"is no reason to try again", "error: unknown flag", 1, "node n, attempt 1 of 6: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeDocker(t, answer{match: `*"kubeadm upgrade"*`, stdout: tc.output, exit: 1})
				var log bytes.Buffer
				err := newDriver(f, nil).kubeadm(cluster.WithLog(t.Context(), nil, &log), "n", "kubeadm", "upgrade", "node")
				if err == nil || !strings.HasPrefix(err.Error(), tc.err) || !strings.Contains(err.Error(), tc.output) {
					t.Errorf("got %v", err)
				}
				if got := len(f.calls()); got != tc.runs {
					t.Errorf("ran %d times, want %d", got, tc.runs)
				}
				if got := strings.Count(log.String(), `"forbidden" passes`); got != tc.runs-1 {
					t.Errorf("the log tells of %d retries, want %d:\n%s", got, tc.runs-1, log.String())
				}
			})
		})
	}
}

func TestPassing(t *testing.T) {
	for _, tc := range []struct{ message, want string }{
		{"exit status 1\n  error: Get \"https://x:6443\": dial tcp: connect: connection refused", "connection refused"},
		{"exit status 1\n  error: configmaps \"kubeadm-config\" is Forbidden", "forbidden"},
		{"exit status 1\n  \t[ERROR CreateJob]: Job \"upgrade-health-check-1\" did not complete in 15s: no condition of type Complete", "did not complete in 15s"},
		// etcd's client warns like this in every upgrade.
		{"exit status 1\n  W1121 18:37:03.604280    2180 logging.go:55] [core] grpc: connection refused\n  error: unknown flag: --x", ""},
		{"exit status 1\n  error: this version of kubeadm only supports deploying clusters with the control plane version >= 1.34.0", ""},
	} {
		if got, ok := passing(tc.message); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%q: got %q, %t; want %q", tc.message, got, ok, tc.want)
		}
	}
}

func TestWaitComponentsSaysWhatStillRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := theCluster()
		pods := componentPods("n", target)
		pods[1].(*corev1.Pod).Spec.Containers[0].Image = "registry.k8s.io/kube-controller-manager:v1.34.4"
		c.Client = fake.NewClientset(pods...)
		err := waitComponents(t.Context(), c, "n", target, time.Minute)
		const want = "the control plane of node n was not Ready at v1.35.4 after 1m0s: " +
			"pod kube-controller-manager-n: runs registry.k8s.io/kube-controller-manager:v1.34.4"
		if err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
	})
}

func TestStageSendsOnlyWhatIsMissingAndWhatTheRoleNeeds(t *testing.T) {
	const kubeadmImages = "W1121 could not fetch a version\nregistry.k8s.io/kube-apiserver:v1.35.4\nregistry.k8s.io/kube-controller-manager:v1.35.4\n" +
		"registry.k8s.io/kube-scheduler:v1.35.4\nregistry.k8s.io/kube-proxy:v1.35.4\nregistry.k8s.io/coredns/coredns:v1.13.1\n" +
		"registry.k8s.io/pause:3.10.1\nregistry.k8s.io/etcd:3.6.6-0\n"
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"images list --kubernetes-version"*`, stdout: kubeadmImages},
		answer{match: `*"images list --quiet"`, stdout: "registry.k8s.io/pause:3.10.1\nregistry.k8s.io/kube-proxy:v1.34.4\n"},
		answer{match: `*"version --output short"`, stdout: "v1.35.4\n"},
		answer{match: `"cp "*`, stdout: tarOf(t, "x")})...)
	if err := newDriver(f, nil).Stage(t.Context(), theCluster(), target); err != nil {
		t.Fatal(err)
	}
	const export = `ctr --namespace=k8s.io images export /rehearse/images-`
	wantExports := []string{
		export + "1.tar registry.k8s.io/kube-apiserver:v1.35.4 registry.k8s.io/kube-controller-manager:v1.35.4 registry.k8s.io/kube-scheduler:v1.35.4 " +
			"registry.k8s.io/kube-proxy:v1.35.4 registry.k8s.io/coredns/coredns:v1.13.1 registry.k8s.io/etcd:3.6.6-0",
		export + "2.tar registry.k8s.io/kube-proxy:v1.35.4 registry.k8s.io/coredns/coredns:v1.13.1",
	}
	var exports []string
	for _, c := range commands(f, testName+"-stage") {
		if strings.HasPrefix(c, export) {
			exports = append(exports, c)
		}
	}
	if diff := cmp.Diff(wantExports, exports); diff != "" {
		t.Errorf("exports (-want +got):\n%s", diff)
	}
	const from = "cp " + testName + "-stage:/rehearse/"
	wantSent := []string{
		from + "images-1.tar -", from + "commands.tar -",
		from + "images-2.tar -", from + "commands.tar -",
		from + "images-2.tar -", from + "commands.tar -",
	}
	if diff := cmp.Diff(wantSent, f.with(from)); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	var into []string
	for _, c := range f.with("exec --interactive") {
		into = append(into, strings.Fields(c)[2]+" "+strings.Fields(c)[3])
	}
	wantInto := []string{
		testName + "-control-plane ctr", testName + "-control-plane sh",
		testName + "-worker ctr", testName + "-worker sh", testName + "-worker2 ctr", testName + "-worker2 sh",
	}
	if diff := cmp.Diff(wantInto, into); diff != "" {
		t.Errorf("into (-want +got):\n%s", diff)
	}
	if got := len(f.with("cp --archive")); got != 2 {
		t.Errorf("the commands of before were kept on %d nodes, want the 2 workers", got)
	}
	calls := f.calls()
	if first, want := f.with("run --detach")[0], "run --detach --name "+testName+"-stage --label io.rehearse.run=4f2a91 --label io.rehearse.role=stage "+
		"--network none --entrypoint containerd rehearse/node:v1.35.4"; first != want {
		t.Errorf("\n got %s\nwant %s", first, want)
	}
	if last, want := calls[len(calls)-1], "rm --force --volumes "+testName+"-stage"; last != want {
		t.Errorf("the last call is %q, want %q", last, want)
	}
}

func TestStageFailsWhenTheImageIsOfAnotherVersion(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"images list --kubernetes-version"*`, stdout: "registry.k8s.io/pause:3.10.1\n"},
		answer{match: `"cp "*`, stdout: tarOf(t, "x")},
		answer{match: `*"version --output short"`, stdout: "v1.35.3\n"})...)
	err := newDriver(f, nil).Stage(t.Context(), theCluster(), target)
	want := "stage v1.35.4: commands for node " + testName + "-control-plane: the staged kubeadm says that it is \"v1.35.3\", want v1.35.4: is the node image mislabelled?"
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if got := f.with("rm --force --volumes " + testName + "-stage"); len(got) != 1 {
		t.Error("the stage container was left behind")
	}
}

// tarOf is what docker cp prints for a file.
func tarOf(t *testing.T, content string) string {
	t.Helper()
	r, err := oneFile("file", 0o644, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSendFileSendsTheContentWhole(t *testing.T) {
	f := newFakeDocker(t, answer{match: `"cp "*`, stdout: tarOf(t, "hello")})
	received := filepath.Join(f.dir, "received")
	d := newDriver(f, nil)
	d.docker = &docker.Client{Binary: filepath.Join(f.dir, "docker2")}
	f.write("docker2", "#!/bin/sh\ncase \"$1\" in cp) exec "+f.dir+"/docker \"$@\";; *) cat >"+received+";; esac\n")
	if err := os.Chmod(d.docker.Binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.sendFile(t.Context(), "stage", "/file", "exec", "node", "cat"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(received); err != nil || string(got) != "hello" {
		t.Errorf("received %q, %v", got, err)
	}
}

func TestSendFileFailsWhenEitherSideDoes(t *testing.T) {
	whole := tarOf(t, strings.Repeat("x", 100_000))
	for _, tc := range []struct {
		name    string
		answers []answer
		want    []string
	}{
		{"the source before it began", []answer{{match: `"cp "*`, stderr: "boom\n", exit: 1}}, []string{"read /file of container stage", "boom"}},
		{"the source in between", []answer{{match: `"cp "*`, stdout: whole[:50_000], stderr: "boom\n", exit: 1}}, []string{"boom"}},
		{"the stream, silently", []answer{{match: `"cp "*`, stdout: whole[:50_000]}}, []string{"unexpected EOF"}},
		{"the target", []answer{{match: `"cp "*`, stdout: whole}, {match: `"target"`, stderr: "boom\n", exit: 1}}, []string{"target: exit status 1", "boom"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := newDriver(newFakeDocker(t, tc.answers...), nil).sendFile(t.Context(), "stage", "/file", "target")
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to contain %q", err, want)
				}
			}
		})
	}
}

func TestQueryAsksAgainWhenNothingCame(t *testing.T) {
	f := newFakeDocker(t)
	_, err := newDriver(f, nil).query(t.Context(), "n", "curl", "x")
	if want := "curl x in container n printed nothing, 3 times"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := len(f.calls()); got != 3 {
		t.Errorf("asked %d times, want 3", got)
	}
}

func TestExposeBalancesOverTheWorkers(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `"container inspect ` + testName + `-balancer"`, stdout: `[{"Name":"/b","State":{"Status":"exited"}}]`},
		answer{match: `"logs "*`, stdout: "cannot bind\n"})...)
	_, err := newDriver(f, nil).Expose(t.Context(), theCluster(), cluster.Service{Namespace: "rehearse", Name: "canary", NodePort: 30080, HealthPath: "/readyz"})
	want := "expose service rehearse/canary: balancer " + testName + `-balancer is "exited" and publishes no port; it printed: cannot bind`
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	created := "create --name " + testName + "-balancer --hostname " + testName + "-balancer --label io.rehearse.run=4f2a91 --label io.rehearse.role=balancer " +
		"--label io.rehearse.node-port=30080 --network " + testName + " --cpu-shares 4096 --publish 127.0.0.1::8080/tcp --publish 127.0.0.1::9999/tcp --entrypoint haproxy kindest/haproxy:v1 -W -db -f /usr/local/etc/haproxy/haproxy.cfg"
	if diff := cmp.Diff([]string{created}, f.with("create --name")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	copied, err := os.ReadFile(filepath.Join(f.dir, "copied"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"server worker 172.20.0.3:30080\n", "server worker2 172.20.0.4:30080\n"} {
		if !strings.Contains(string(copied), want) {
			t.Errorf("the configuration lacks %q", want)
		}
	}
	if strings.Contains(string(copied), "172.20.0.2") {
		t.Error("the control plane is among the servers")
	}
}

func TestEtcdMembers(t *testing.T) {
	const members = `{"header":{},"members":[{"ID":"1","name":"a","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["https://10.0.0.1:2379"]},
		{"ID":"2","name":"b","clientURLs":["https://10.0.0.2:2379"]},{"ID":"3","name":"c","clientURLs":["https://10.0.0.3:2379"]},
		{"ID":"4","peerURLs":["https://10.0.0.4:2380"]},{"ID":"5","name":"e","clientURLs":["https://10.0.0.5:2379"],"isLearner":true}]}`
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"/v3/cluster/member/list"`, stdout: members},
		answer{match: `*"10.0.0.1:2379/health"`, stdout: `{"health":"true","reason":""}`},
		answer{match: `*"10.0.0.2:2379/health"`, stdout: `{"health":"false","reason":"RAFT NO LEADER"}`},
		answer{match: `*"10.0.0.3:2379/health"`, stderr: "curl: (7) connection refused\n", exit: 7})...)
	got, err := newDriver(f, nil).EtcdMembers(t.Context(), theCluster())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 5 || !strings.HasSuffix(got[2].Detail, "curl: (7) connection refused") {
		t.Fatalf("got %+v", got)
	}
	got[2].Detail = "refused"
	want := []record.Named{
		{Name: "a", OK: true}, {Name: "b", Detail: "RAFT NO LEADER"}, {Name: "c", Detail: "refused"},
		{Name: "https://10.0.0.4:2380", Detail: "added, but never started"}, {Name: "e", Detail: "still a learner, it has no vote"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEtcdThatCannotBeAskedIsAnError(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(), answer{match: `*"member/list"`, stderr: "curl: (7) connection refused\n", exit: 7})...)
	_, err := newDriver(f, nil).EtcdMembers(t.Context(), theCluster())
	if err == nil || !strings.HasPrefix(err.Error(), "ask etcd for its members: etcd on node "+testName+"-control-plane: ") {
		t.Errorf("got %v", err)
	}
}

func TestCollectLogsGoesOnWhereOneFails(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"-worker journalctl"*"--unit kubelet"`, stderr: "no journal\n", exit: 1},
		answer{match: `*journalctl*`, stdout: "a line\n"},
		answer{match: `"ps "*"label=io.rehearse.run="*`, stdout: ""})...)
	dir := filepath.Join(t.TempDir(), "logs")
	err := newDriver(f, nil).CollectLogs(t.Context(), theCluster(), dir)
	if err == nil || !strings.Contains(err.Error(), "no journal") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"-worker2/kubelet.log", "-worker/containerd.log", "-control-plane/kubelet.log"} {
		b, err := os.ReadFile(filepath.Join(dir, testName+name))
		if err != nil || string(b) != "a line\n" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestCommandOutputGoesToTheStepsLog(t *testing.T) {
	f := newFakeDocker(t, answer{match: `*"echo hello"`, stdout: "hello\n"})
	var log bytes.Buffer
	out, err := newDriver(f, nil).on(cluster.WithLog(t.Context(), nil, &log), "n", "echo", "hello")
	if err != nil || out != "hello" {
		t.Errorf("got %q, %v", out, err)
	}
	if want := "n$ echo hello\nhello\n"; log.String() != want {
		t.Errorf("log %q, want %q", log.String(), want)
	}
}
