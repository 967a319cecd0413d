package kind

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

const (
	// idleTimeout bounds the wait for what a killed process had started in the
	// nodes; kubeadm takes minutes on a control plane.
	idleTimeout = 10 * time.Minute
	idlePoll    = 2 * time.Second
)

// Attach implements cluster.Attacher. A worker that the earlier process was
// about to add is removed: nobody was told of it.
func (d *Driver) Attach(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	name, err := clusterName(s)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	halfMade := func(what string) error {
		return fmt.Errorf("attach: cluster %s was never whole: %s; delete it with `%s` and rehearse anew", name, what, d.DeleteCommand(s))
	}
	containers, err := d.docker.Containers(ctx, labelKindCluster+"="+name)
	if err != nil {
		return nil, fmt.Errorf("attach to cluster %s: %w", name, err)
	}
	if len(containers) == 0 {
		networks, err := d.docker.Networks(ctx, cluster.LabelRun+"="+s.RunID)
		if err != nil {
			return nil, fmt.Errorf("attach to cluster %s: %w", name, err)
		}
		if len(networks) > 0 {
			return nil, halfMade("it has a network but no node")
		}
		return nil, fmt.Errorf("attach: there is no cluster %s any more: nothing in Docker has its name; rehearse anew", name)
	}
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return nil, halfMade("it has no node")
	}
	if got := len(nodes.withRole(roleControlPlane)); got != s.ControlPlanes {
		return nil, halfMade(fmt.Sprintf("it has %d of %d control planes", got, s.ControlPlanes))
	}
	for _, n := range nodes {
		if n.State != running {
			return nil, fmt.Errorf("attach: node %s of cluster %s is %q, it does not run: look at `docker logs %s`, or delete the cluster with `%s` and rehearse anew",
				n.Name, name, n.State, n.Name, d.DeleteCommand(s))
		}
	}
	// What stages images holds nothing that is not made again.
	if err := d.docker.RemoveContainer(ctx, stageContainer(name)); err != nil {
		return nil, fmt.Errorf("attach to cluster %s: %w", name, err)
	}
	for _, n := range nodes {
		if err := d.awaitIdle(ctx, n.Name, idleTimeout); err != nil {
			return nil, fmt.Errorf("attach to cluster %s: %w", name, err)
		}
	}
	c, err := d.connect(ctx, d.newProvider(kindLogger{cluster.Output(ctx)}), name, s)
	if err != nil {
		if context.Cause(ctx) != nil {
			return nil, context.Cause(ctx)
		}
		return nil, halfMade(err.Error())
	}
	if err := d.takeStock(ctx, c, nodes, halfMade); err != nil {
		return nil, err
	}
	return c, nil
}

// takeStock compares the containers with the Nodes of the API, and removes the
// workers that are not whole.
func (d *Driver) takeStock(ctx context.Context, c *cluster.Cluster, nodes nodeList, halfMade func(string) error) error {
	added := map[string]bool{} // of every Node: that AddNode has returned it
	err := untilAPI(ctx, "its API did not answer", func(ctx context.Context) error {
		list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, n := range list.Items {
			added[n.Name] = n.Annotations[annotationAdded] == c.Spec.RunID
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("attach to cluster %s: %w", c.Spec.Name, err)
	}
	var absent []string
	for _, n := range nodes {
		whole, joined := added[n.Name]
		switch {
		case n.Labels[labelRole] == roleNode && !whole:
			cluster.Logger(ctx).Warn("removing a worker that the earlier process was adding when it ended", "node", n.Name)
			if err := d.RemoveNode(ctx, c, n.Name); err != nil {
				return fmt.Errorf("attach to cluster %s: %w", c.Spec.Name, err)
			}
		case n.Labels[labelRole] != roleNode && !joined:
			absent = append(absent, n.Name)
		}
	}
	if len(absent) > 0 {
		return halfMade("nodes that never joined: " + strings.Join(absent, ", "))
	}
	return nil
}

// awaitIdle waits until none of the programs that this package starts in a node
// and that take long is at work there.
func (d *Driver) awaitIdle(ctx context.Context, node string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for told := false; ; told = true {
		// The last line tells an empty list from output that was lost.
		out, err := d.query(ctx, node, "sh", "-c", `pgrep --exact --list-full 'kubeadm|ctr|tar'; echo .`)
		if err != nil {
			return fmt.Errorf("look for programs at work on node %s: %w", node, err)
		}
		busy := strings.TrimSpace(strings.TrimSuffix(out, "."))
		if busy == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("on node %s programs of the earlier process are still at work after %s: %s; end them with `docker exec %s pkill --exact kubeadm`",
				node, timeout, strings.ReplaceAll(busy, "\n", ", "), node)
		}
		if !told {
			cluster.Logger(ctx).Info("waiting for what the earlier process had started", "node", node, "programs", busy)
		}
		if err := pause.For(ctx, idlePoll); err != nil {
			return err
		}
	}
}
