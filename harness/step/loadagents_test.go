package step

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/load/agentjob"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// kubeSystem tells one cluster from another.
func kubeSystem(uid string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: types.UID(uid)}}
}

func agentsIn(c *fake.Clientset) LoadAgents {
	return LoadAgents{Count: 3, Image: "canary:1", Rate: 600, In: AgentsCluster{Kubeconfig: "load.kubeconfig", Context: "load", Connect: func() (*agentjob.Cluster, error) {
		return &agentjob.Cluster{Client: c, Config: &rest.Config{Host: "http://127.0.0.1:1"}, Kubeconfig: "load.kubeconfig", Context: "load"}, nil
	}}}
}

func TestAgentsAreNotPutIntoTheClusterUnderTestUnasked(t *testing.T) {
	env, _ := newEnv(driver{}, kubeSystem("one"))
	env.Spec = cluster.Spec{RunID: "4f2a91"}
	same := fake.NewClientset(kubeSystem("one"))
	err := agentsIn(same).Run(t.Context(), env)
	want := "load.agentsKubeconfig names the cluster under test: its upgrade would drain the agents and take their CPU, and what they measure would say little; name another cluster, or say load.agentsInTarget: true"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	for _, a := range same.Actions() {
		if a.GetVerb() != "get" {
			t.Errorf("%s %s", a.GetVerb(), a.GetResource().Resource)
		}
	}
}

// TestInterruptedAgentsAreRemoved interrupts the wait for the pods.
func TestInterruptedAgentsAreRemoved(t *testing.T) {
	for _, x := range []struct {
		uid      string
		inTarget bool
		findings []string
	}{{"two", false, nil}, {"one", true, []string{record.FindingAgentsInTarget}}} {
		synctest.Test(t, func(t *testing.T) {
			env, _ := newEnv(driver{}, kubeSystem("one"))
			env.Spec = cluster.Spec{RunID: "4f2a91"}
			there := fake.NewClientset(kubeSystem(x.uid))
			s := agentsIn(there)
			s.InTarget = x.inTarget
			stopped := errors.New("SIGINT")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(10*time.Second, func() { cancel(stopped) })
			if err := s.Run(ctx, env); !errors.Is(err, stopped) {
				t.Errorf("it ended with %v", err)
			}
			jobs, err := there.BatchV1().Jobs("rehearse-agents-4f2a91").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(jobs.Items) != 1 {
				t.Fatalf("%d jobs, %v", len(jobs.Items), err)
			}
			left := env.Cleanup.Left()
			if len(left) != 1 || left[0].What != "load agents in context load" || left[0].How != "kubectl --kubeconfig load.kubeconfig --context load delete namespace rehearse-agents-4f2a91" {
				t.Errorf("left: %+v", left)
			}
			if err := env.Cleanup.Run(ctx, time.Minute); err != nil {
				t.Error(err)
			}
			if _, err := there.CoreV1().Namespaces().Get(t.Context(), "rehearse-agents-4f2a91", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("the namespace: %v", err)
			}
			var ids []string
			for _, f := range env.Run.Findings {
				ids = append(ids, f.ID)
			}
			if diff := cmp.Diff(x.findings, ids); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
