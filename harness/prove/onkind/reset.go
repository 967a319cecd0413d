package onkind

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

// How long what is left of one rehearsal may take to be gone before the next.
const (
	goneTimeout  = 2 * time.Minute
	readyTimeout = 3 * time.Minute
)

// roleLabel marks control planes (kubeadm).
const roleLabel = "node-role.kubernetes.io/control-plane"

// reset removes the canary and takes the workers back to the version from.
func (k *kept) reset(ctx context.Context, from cluster.Version) error {
	if err := k.removeCanary(ctx); err != nil {
		return err
	}
	if err := k.Stage(ctx, k.cluster, from); err != nil {
		return err
	}
	nodes, err := k.cluster.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for i := range nodes.Items {
		if err := k.resetNode(ctx, &nodes.Items[i], from); err != nil {
			return err
		}
	}
	return k.awaitNodes(ctx, from)
}

func (k *kept) resetNode(ctx context.Context, n *corev1.Node, from cluster.Version) error {
	if n.Spec.Unschedulable {
		n.Spec.Unschedulable = false
		if _, err := k.cluster.Client.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("uncordon node %s: %w", n.Name, err)
		}
	}
	if _, plane := n.Labels[roleLabel]; plane || n.Status.NodeInfo.KubeletVersion == from.String() {
		return nil
	}
	return k.RollbackNode(ctx, k.cluster, n.Name, from)
}

// removeCanary deletes the canary's namespace, and its pods without the grace
// that they ask for: nobody is served any more.
func (k *kept) removeCanary(ctx context.Context) error {
	api := k.cluster.Client.CoreV1()
	if err := api.Namespaces().Delete(ctx, deploy.DefaultNamespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete namespace %s: %w", deploy.DefaultNamespace, err)
	}
	err := wait.For(func(ctx context.Context) (bool, error) {
		err := api.Pods(deploy.DefaultNamespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}, metav1.ListOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // tried again
		}
		_, err = api.Namespaces().Get(ctx, deploy.DefaultNamespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	}, wait.WithContext(ctx), wait.WithTimeout(goneTimeout), wait.WithInterval(time.Second), wait.WithImmediate())
	if err != nil {
		return fmt.Errorf("namespace %s was not gone within %s: %w", deploy.DefaultNamespace, goneTimeout, err)
	}
	return nil
}

// awaitNodes waits until every node is Ready and every worker at the version.
func (k *kept) awaitNodes(ctx context.Context, from cluster.Version) error {
	last := errors.New("nothing was seen")
	err := wait.For(func(ctx context.Context) (bool, error) {
		nodes, err := k.cluster.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			last = err
			return false, nil
		}
		for i := range nodes.Items {
			if last = notReset(&nodes.Items[i], from); last != nil {
				return false, nil
			}
		}
		return true, nil
	}, wait.WithContext(ctx), wait.WithTimeout(readyTimeout), wait.WithInterval(time.Second), wait.WithImmediate())
	if err != nil {
		return fmt.Errorf("the nodes were not as before within %s: %w", readyTimeout, last)
	}
	return nil
}

func notReset(n *corev1.Node, from cluster.Version) error {
	if _, plane := n.Labels[roleLabel]; !plane && n.Status.NodeInfo.KubeletVersion != from.String() {
		return fmt.Errorf("the kubelet of node %s reports %s, want %s", n.Name, n.Status.NodeInfo.KubeletVersion, from)
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("node %s is not Ready", n.Name)
}

// hands are what a fault is planted with.
type hands struct {
	docker *docker.Client
	kept   *kept
}

func (h *hands) chosen() string { return h.kept.cluster.Spec.Name + chosen }

func (h *hands) plane() string { return h.kept.cluster.Spec.Name + "-control-plane" }

// on runs a program on a node.
func (h *hands) on(ctx context.Context, node string, args ...string) error {
	if _, err := h.docker.Exec(ctx, node, args...); err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	return nil
}
