package step

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// nodesOf lists the cluster's control planes or workers in upgrade order.
func nodesOf(ctx context.Context, env *Env, controlPlane bool) ([]corev1.Node, error) {
	var list *corev1.NodeList
	err := retryAPI(ctx, env, "list nodes", func() (err error) {
		list, err = env.client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	byName := map[string]corev1.Node{}
	var names []string
	for _, n := range list.Items {
		if _, is := n.Labels[controlPlaneLabel]; is == controlPlane {
			byName[n.Name] = n
			names = append(names, n.Name)
		}
	}
	byNumber(names)
	out := make([]corev1.Node, len(names))
	for i, name := range names {
		out[i] = byName[name]
	}
	return out, nil
}

// nth returns the n-th node (from 0) of its role.
func nth(ctx context.Context, env *Env, controlPlane bool, n int) (*corev1.Node, error) {
	nodes, err := nodesOf(ctx, env, controlPlane)
	if err != nil {
		return nil, err
	}
	if n >= len(nodes) {
		return nil, fmt.Errorf("the cluster has %d nodes of this role, the plan counted on at least %d: was one removed?", len(nodes), n+1)
	}
	return &nodes[n], nil
}

// waitNode waits until the node is Ready and its kubelet reports the version.
func waitNode(ctx context.Context, env *Env, name, version string, timeout time.Duration) error {
	var last string
	err := wait.For(func(ctx context.Context) (bool, error) {
		node, err := env.client().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			last = "the API answers: " + err.Error()
			return false, nil
		}
		switch got := node.Status.NodeInfo.KubeletVersion; {
		case got != version:
			last = fmt.Sprintf("its kubelet reports %s", got)
			if newerThan(got, version) {
				last += ", which is newer than its API server's " + version
			}
			if !ready(node) {
				last += ", and it is not Ready: " + notReadyReason(node)
			}
		case !ready(node):
			last = "it is not Ready: " + notReadyReason(node)
		default:
			return true, nil
		}
		return false, nil
	}, wait.WithContext(ctx), wait.WithTimeout(timeout), wait.WithInterval(time.Second), wait.WithImmediate())
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("node %s is not Ready at %s after %s: %s; look at its kubelet's log under logs/", name, version, timeout, last)
	}
	return nil
}

// newerThan reports whether version a is above b, where both can be read.
func newerThan(a, b string) bool {
	x, err := cluster.ParseVersion(a)
	if err != nil {
		return false
	}
	y, err := cluster.ParseVersion(b)
	return err == nil && y.Less(x)
}

func ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func notReadyReason(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return fmt.Sprintf("%s: %s", c.Reason, c.Message)
		}
	}
	return "it has no Ready condition"
}
