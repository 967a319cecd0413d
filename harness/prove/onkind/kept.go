package onkind

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// kept is a kind driver whose first cluster stays and serves every rehearsal
// that follows: it is created, prepared, staged and exposed once, and what an
// earlier rehearsal has upgraded is not upgraded again.
type kept struct {
	*kind.Driver
	cleanup *cleanup.Stack
	undo    func(context.Context) error // deletes the cluster; nil before there may be one

	spec    cluster.Spec     // of the first rehearsal, and so of the cluster
	cluster *cluster.Cluster // nil before the first Create has succeeded
	plane   cluster.Version  // of the control plane, once it was upgraded
	image   string           // of the canary
	front   cluster.Endpoint
	twin    cluster.Endpoint
	staged  map[cluster.Version]bool
}

// Preflight implements cluster.Preflighter; a cluster that stands needs no room.
func (k *kept) Preflight(ctx context.Context, s cluster.Spec, to cluster.Version) ([]record.Finding, error) {
	if k.cluster != nil {
		return nil, nil
	}
	return k.Driver.Preflight(ctx, s, to)
}

// Leftovers implements cluster.LeftoverFinder: the kept cluster is none.
func (k *kept) Leftovers(ctx context.Context) ([]cluster.Leftover, error) {
	if k.cluster != nil {
		return nil, nil // the first rehearsal has looked
	}
	return k.Driver.Leftovers(ctx)
}

// Prepare implements cluster.Preparer.
func (k *kept) Prepare(ctx context.Context, s cluster.Spec, to cluster.Version) error {
	if k.cluster != nil {
		return nil
	}
	return k.Driver.Prepare(ctx, s, to)
}

// Create implements cluster.Driver: it returns the kept cluster, made ready for
// another upgrade.
func (k *kept) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	if k.cluster != nil {
		if err := k.reset(ctx, s.Version); err != nil {
			return nil, fmt.Errorf("make the cluster of the earlier rehearsals ready for another: %w", err)
		}
		again := *k.cluster
		again.ControlPlane = k.plane
		return &again, nil
	}
	k.spec = s
	k.undo = k.cleanup.Add(cleanup.Entry{
		What: "cluster " + s.Name, How: k.DeleteCommand(s),
		Undo: func(ctx context.Context) error { return k.Driver.Delete(ctx, s) },
	})
	c, err := k.Driver.Create(ctx, s)
	if err == nil {
		k.cluster = c
	}
	return c, err
}

// Delete implements cluster.Driver. The cluster goes when the proof is over; one
// that was never whole goes now.
func (k *kept) Delete(ctx context.Context, s cluster.Spec) error {
	if k.cluster != nil {
		return nil
	}
	return k.Driver.Delete(ctx, s)
}

// Stage implements cluster.Stager.
func (k *kept) Stage(ctx context.Context, c *cluster.Cluster, v cluster.Version) error {
	if k.staged[v] {
		return nil
	}
	if err := k.Driver.Stage(ctx, c, v); err != nil {
		return err
	}
	if k.staged == nil {
		k.staged = map[cluster.Version]bool{}
	}
	k.staged[v] = true
	return nil
}

// UpgradeControlPlane implements cluster.ControlPlaneUpgrader.
func (k *kept) UpgradeControlPlane(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version, first bool) error {
	if k.plane == to {
		return nil
	}
	if err := k.Driver.UpgradeControlPlane(ctx, c, node, to, first); err != nil {
		return err
	}
	k.plane = to
	return nil
}

// UpgradeNode implements cluster.NodeUpgrader.
func (k *kept) UpgradeNode(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version) error {
	n, err := c.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", node, err)
	}
	if n.Status.NodeInfo.KubeletVersion == to.String() {
		return nil // the control plane's, in every rehearsal but the first
	}
	return k.Driver.UpgradeNode(ctx, c, node, to)
}

// CollectLogs implements cluster.LogCollector: the cluster stays, and the fault
// in it is known.
func (k *kept) CollectLogs(context.Context, *cluster.Cluster, string) error { return nil }

// CanaryImage implements cluster.CanaryImager.
func (k *kept) CanaryImage(ctx context.Context, c *cluster.Cluster) (string, error) {
	var err error
	if k.image == "" {
		k.image, err = k.Driver.CanaryImage(ctx, c)
	}
	return k.image, err
}

// Expose implements cluster.Exposer: the Service has the same port each time.
func (k *kept) Expose(ctx context.Context, c *cluster.Cluster, svc cluster.Service) (cluster.Endpoint, error) {
	var err error
	if k.front.URL == "" {
		k.front, err = k.Driver.Expose(ctx, c, svc)
	}
	return k.front, err
}

// StartTwin implements cluster.TwinHost.
func (k *kept) StartTwin(ctx context.Context, c *cluster.Cluster, w cluster.Workload) (cluster.Endpoint, error) {
	var err error
	if k.twin.URL == "" {
		k.twin, err = k.Driver.StartTwin(ctx, c, w)
	}
	return k.twin, err
}
