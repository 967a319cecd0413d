package step

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// driver is a driver that does nothing; tests embed it.
type driver struct{}

func (driver) Create(context.Context, cluster.Spec) (*cluster.Cluster, error) { return nil, nil }
func (driver) Delete(context.Context, cluster.Spec) error                     { return nil }

// newEnv returns an Env on the fake API, and what its timeline received.
func newEnv(d cluster.Driver, objects ...runtime.Object) (*Env, *bytes.Buffer) {
	var events bytes.Buffer
	return &Env{
		Driver: d, Log: slog.New(slog.DiscardHandler), Run: &record.Run{}, Cleanup: &cleanup.Stack{},
		Timeline: timeline.NewRecorder(timeline.NewClock(time.Now()), &events),
		Cluster:  &cluster.Cluster{Client: fake.NewClientset(objects...)},
	}, &events
}

func node(name, version string, controlPlane, isReady bool) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	if controlPlane {
		n.Labels[controlPlaneLabel] = ""
	}
	n.Status.NodeInfo.KubeletVersion = version
	status := corev1.ConditionFalse
	if isReady {
		status = corev1.ConditionTrue
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Reason: "KubeletNotReady", Message: "container runtime is down"}}
	return n
}

func TestNodesComeInUpgradeOrder(t *testing.T) {
	env, _ := newEnv(driver{}, node("k-worker10", "", false, true), node("k-worker2", "", false, true), node("k-worker", "", false, true), node("k-control-plane", "", true, true))
	nodes, err := nodesOf(t.Context(), env, false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	if diff := cmp.Diff([]string{"k-worker", "k-worker2", "k-worker10"}, names); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
	_, err = nth(t.Context(), env, true, 1)
	want := "the cluster has 1 nodes of this role, the plan counted on at least 2: was one removed?"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWaitNodeSaysWhatItWaitsFor(t *testing.T) {
	for _, tc := range []struct {
		name string
		node *corev1.Node
		want string
	}{
		{"old version", node("w", "v1.34.4", false, true), "node w is not Ready at v1.35.4 after 3s: its kubelet reports v1.34.4; look at its kubelet's log under logs/"},
		{"newer version", node("w", "v1.99.0", false, true), "node w is not Ready at v1.35.4 after 3s: its kubelet reports v1.99.0, which is newer than its API server's v1.35.4; look at its kubelet's log under logs/"},
		{"not Ready", node("w", "v1.35.4", false, false), "node w is not Ready at v1.35.4 after 3s: it is not Ready: KubeletNotReady: container runtime is down; look at its kubelet's log under logs/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env, _ := newEnv(driver{}, tc.node)
				err := waitNode(t.Context(), env, "w", "v1.35.4", 3*time.Second)
				if err == nil || err.Error() != tc.want {
					t.Errorf("got  %v\nwant %s", err, tc.want)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		env, _ := newEnv(driver{}, node("w", "v1.35.4", false, true))
		if err := waitNode(t.Context(), env, "w", "v1.35.4", time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestRetryAPIRepeatsWhatPassesAndRecordsIt(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "w", errors.New("not yet"))
	synctest.Test(t, func(t *testing.T) {
		env, events := newEnv(driver{})
		calls := 0
		err := retryAPI(t.Context(), env, "list nodes", func() error {
			if calls++; calls < 3 {
				return forbidden
			}
			return nil
		})
		if err != nil || calls != 3 || strings.Count(events.String(), `"kind":"retry"`) != 2 {
			t.Errorf("%d calls, error %v, events:\n%s", calls, err, events)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		env, _ := newEnv(driver{})
		calls, begun := 0, time.Now()
		err := retryAPI(t.Context(), env, "x", func() error { calls++; return syscall.ECONNREFUSED })
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(begun) < retryFor {
			t.Errorf("gave up after %s and %d calls with %v", time.Since(begun), calls, err)
		}
	})
	env, _ := newEnv(driver{})
	calls := 0
	if err := retryAPI(t.Context(), env, "x", func() error { calls++; return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) || calls != 1 {
		t.Errorf("an error that does not pass: %d calls, %v", calls, err)
	}
}

// leaves is a driver with something to say before a run.
type leaves struct {
	driver
	findings []record.Finding
}

func (leaves) Leftovers(context.Context) ([]cluster.Leftover, error) {
	return []cluster.Leftover{{Kind: "container", Name: "rehearse-old", Delete: "docker rm -f rehearse-old"}}, nil
}

func (l leaves) Preflight(context.Context, cluster.Spec, cluster.Version) ([]record.Finding, error) {
	return l.findings, nil
}

func TestPreflightReportsLeftoversAndStopsAtWhatBlocks(t *testing.T) {
	env, _ := newEnv(leaves{})
	if err := (Preflight{}).Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	want := []record.Finding{{ID: "leftover", Severity: record.SeverityWarn, Object: "container/rehearse-old",
		Cause: "an earlier run left it behind (one that was killed can be gone on with by rehearse run --resume RUNDIR); this run neither uses nor removes it", Remedy: "docker rm -f rehearse-old"}}
	if diff := cmp.Diff(want, env.Run.Findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	env, _ = newEnv(leaves{findings: []record.Finding{
		{ID: "disk", Severity: record.SeverityBlock, Object: "/var", Cause: "1 GiB is free, 10 GiB are needed", Remedy: "free some"},
		{ID: "memory", Severity: record.SeverityWarn, Object: "host", Cause: "little", Remedy: "add some"},
	}})
	err := (Preflight{}).Run(t.Context(), env)
	if err == nil || err.Error() != "/var: 1 GiB is free, 10 GiB are needed; free some" || len(env.Run.Findings) != 3 {
		t.Errorf("error %v, findings %+v", err, env.Run.Findings)
	}
}

func TestBoundedNamesItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := bounded(t.Context(), time.Minute, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if err == nil || err.Error() != "not done after 1m0s: context deadline exceeded" {
			t.Errorf("got %v", err)
		}
	})
}

func TestDescriptions(t *testing.T) {
	one := 1
	for _, tc := range []struct {
		s    Step
		want string
	}{
		{Canary{Replicas: 1}, "Deploy the canary (1 replica, no budget) behind a balancer, and its twin outside the cluster"},
		{Canary{Replicas: 3, MinAvailable: &one}, "Deploy the canary (3 replicas, budget minAvailable 1) behind a balancer, and its twin outside the cluster"},
		{Validate{What: "Before the load", Consecutive: 2, Every: 10 * time.Second}, "Before the load: validate the cluster 2 times in a row, 10s apart"},
		{UpgradeNode{ControlPlane: true, Index: 1, Of: 3, To: "v1.35.4"}, "Upgrade control plane 2 of 3 to v1.35.4: components, drain, kubelet, uncordon"},
	} {
		if got := tc.s.Describe(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}
