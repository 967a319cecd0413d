package kind

import (
	"bytes"
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
