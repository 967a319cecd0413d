package kind

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestAttachToWhatIsNotThereSaysSo(t *testing.T) {
	const command = "`docker rm -f -v $(docker ps -aq --filter label=io.x-k8s.kind.cluster=" + testName + ") $(docker ps -aq --filter label=io.rehearse.run=4f2a91); " +
		"docker network rm $(docker network ls -q --filter label=io.rehearse.run=4f2a91)`"
	for _, tc := range []struct {
		name    string
		answers []answer
		want    string
	}{
		{"nothing", nil, "attach: there is no cluster " + testName + " any more: nothing in Docker has its name; rehearse anew"},
		{"a network", []answer{{match: `"network ls "*`, stdout: testName + "\n"}},
			"attach: cluster " + testName + " was never whole: it has a network but no node; delete it with " + command + " and rehearse anew"},
		{"too few control planes", []answer{
			{match: `"ps "*`, stdout: "a\n"}, {match: `"container inspect a"`, stdout: inspected(nodeJSON(testName+"-worker", "worker", "172.20.0.3"))}},
			"attach: cluster " + testName + " was never whole: it has 0 of 1 control planes; delete it with " + command + " and rehearse anew"},
		{"stopped", []answer{
			{match: `"ps "*`, stdout: "a\n"}, {match: `"container inspect a"`, stdout: inspected(
				strings.ReplaceAll(nodeJSON(testName+"-control-plane", "control-plane", "172.20.0.2"), `"running"`, `"exited"`))}},
			"attach: node " + testName + "-control-plane of cluster " + testName + ` is "exited", it does not run: look at ` +
				"`docker logs " + testName + "-control-plane`, or delete the cluster with " + command + " and rehearse anew"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newDriver(newFakeDocker(t, tc.answers...), nil).Attach(t.Context(), spec())
			if err == nil || err.Error() != tc.want {
				t.Errorf("\n got %v\nwant %s", err, tc.want)
			}
		})
	}
}

// stock is takeStock's view of a cluster with these Nodes, and its docker.
func stock(t *testing.T, containers nodeList, names ...string) (*cluster.Cluster, *fakeDocker, error) {
	t.Helper()
	f := newFakeDocker(t, answer{match: `"container inspect "*`, stderr: "Error: No such container: x\n", exit: 1})
	c := theCluster()
	objects := nodeObjects(names...)
	for _, o := range objects {
		if n := o.(*corev1.Node); strings.HasSuffix(n.Name, "-worker3") {
			n.Annotations = map[string]string{annotationAdded: "4f2a91"}
		}
	}
	c.Client = fake.NewClientset(objects...)
	err := newDriver(f, nil).takeStock(t.Context(), c, containers, errors.New)
	return c, f, err
}

func container(name string, added bool) (n nodeList) {
	n = nodeList{{Name: testName + "-" + name, Labels: map[string]string{labelKindRole: roleWorker}}}
	if added {
		n[0].Labels[labelRole] = roleNode
	}
	return n
}

func TestAttachRemovesAWorkerThatWasBeingAdded(t *testing.T) {
	nodes := append(append(container("worker", false), container("worker3", true)...), container("worker4", true)...)
	c, f, err := stock(t, nodes, "worker", "worker3", "worker4")
	if err != nil {
		t.Fatal(err)
	}
	if got := objectNames(t, c); got != "worker worker3" {
		t.Errorf("nodes left: %s", got)
	}
	if got := f.with("container inspect"); len(got) != 1 || got[0] != "container inspect "+testName+"-worker4" {
		t.Errorf("looked at %q, want worker4 alone", got)
	}
}

func TestAttachToAClusterWhoseNodesNeverJoined(t *testing.T) {
	_, _, err := stock(t, append(container("worker", false), container("worker2", false)...), "worker")
	if want := "nodes that never joined: " + testName + "-worker2"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAwaitIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDocker(t, answer{match: `*pgrep*`, stdout: "812 kubeadm upgrade node\n."})
		err := newDriver(f, nil).awaitIdle(t.Context(), "n", time.Minute)
		const want = "on node n programs of the earlier process are still at work after 1m0s: 812 kubeadm upgrade node; end them with `docker exec n pkill --exact kubeadm`"
		if err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
		if got := len(f.calls()); got != 32 {
			t.Errorf("asked %d times in a minute, want 32", got)
		}
	})
	if err := newDriver(newFakeDocker(t, answer{match: `*pgrep*`, stdout: "."}), nil).awaitIdle(t.Context(), "n", time.Minute); err != nil {
		t.Error(err)
	}
}
