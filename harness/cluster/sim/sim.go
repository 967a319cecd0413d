// Package sim is the embedded cluster: a Kubernetes cluster inside the process,
// for rehearsals that need nothing but Go. The harness runs unchanged against
// it, with client-go's fake clientsets in place of a connection.
//
// What is simulated: the objects and the controllers that act on them, nodes
// and kubelets, kubeadm, the pod network's routes. What is real: every canary
// is an HTTP server on loopback, every balancer a TCP proxy with health checks,
// every API server an HTTP listener, and every request that is measured. Time
// inside the cluster runs faster than in a real one, see Options.Scale.
//
// Where sim and a real cluster differ, sim is wrong.
package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Driver makes simulated clusters. It remembers those that run, by run id.
type Driver struct {
	opt Options

	mu       sync.Mutex
	clusters map[string]*simulation
}

var (
	_ cluster.Driver               = (*Driver)(nil)
	_ cluster.Preflighter          = (*Driver)(nil)
	_ cluster.Preparer             = (*Driver)(nil)
	_ cluster.Stager               = (*Driver)(nil)
	_ cluster.ControlPlaneUpgrader = (*Driver)(nil)
	_ cluster.NodeUpgrader         = (*Driver)(nil)
	_ cluster.NodeRollbacker       = (*Driver)(nil)
	_ cluster.NodeProvisioner      = (*Driver)(nil)
	_ cluster.Exposer              = (*Driver)(nil)
	_ cluster.TwinHost             = (*Driver)(nil)
	_ cluster.CanaryImager         = (*Driver)(nil)
	_ cluster.EtcdProber           = (*Driver)(nil)
	_ cluster.LogCollector         = (*Driver)(nil)
	_ cluster.LeftoverFinder       = (*Driver)(nil)
)

// New returns a driver; see Options for what the zero value means.
func New(opt Options) *Driver {
	if opt.Scale <= 0 {
		opt.Scale = DefaultScale
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	return &Driver{opt: opt, clusters: map[string]*simulation{}}
}

// Preflight implements cluster.Preflighter: it finds what the simulation cannot
// do.
func (d *Driver) Preflight(_ context.Context, s cluster.Spec, to cluster.Version) ([]record.Finding, error) {
	var out []record.Finding
	block := func(id, cause, remedy string) {
		out = append(out, record.Finding{ID: id, Severity: record.SeverityBlock, Object: "cluster/" + s.Name, Cause: cause, Remedy: remedy})
	}
	if s.ControlPlanes < 1 || s.Workers < 1 {
		block("sim-size", fmt.Sprintf("the simulated cluster has %d control planes and %d workers", s.ControlPlanes, s.Workers),
			"declare at least one of each: the canary runs on workers")
	}
	if !slices.Contains(networks, s.Network) {
		block("sim-network", fmt.Sprintf("the simulated cluster knows no network %q", s.Network), "use one of: "+strings.Join(networks[1:], ", "))
	}
	if to != "" && s.Version != "" {
		switch skip := to.Minor() - s.Version.Minor(); {
		case to.Less(s.Version):
			block("version-downgrade", fmt.Sprintf("%s is older than %s", to, s.Version), "kubeadm does not go back; choose a newer target")
		case skip > 1:
			block("version-skip", fmt.Sprintf("from %s to %s are %d minor versions", s.Version, to, skip), "upgrade one minor version at a time")
		}
	}
	return out, nil
}

var networks = []string{"", "flannel", "default"}

// Prepare implements cluster.Preparer: there is nothing to fetch.
func (d *Driver) Prepare(ctx context.Context, _ cluster.Spec, _ cluster.Version) error {
	return ctx.Err()
}

// Create implements cluster.Driver. The cluster outlives ctx: it runs until
// Delete.
func (d *Driver) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	if s.ControlPlanes < 1 || s.Workers < 1 {
		return nil, fmt.Errorf("create simulated cluster %s: %d control planes and %d workers: want at least one of each", s.Name, s.ControlPlanes, s.Workers)
	}
	if _, err := cluster.ParseVersion(s.Version.String()); err != nil {
		return nil, fmt.Errorf("create simulated cluster %s: %w", s.Name, err)
	}
	c := newSimulation(context.WithoutCancel(ctx), s, d.opt)
	d.mu.Lock()
	if _, exists := d.clusters[s.RunID]; exists {
		d.mu.Unlock()
		return nil, fmt.Errorf("create simulated cluster %s: run %s has a cluster already; delete it first", s.Name, s.RunID)
	}
	d.clusters[s.RunID] = c
	d.mu.Unlock()
	if err := c.start(); err != nil {
		return nil, fmt.Errorf("create simulated cluster %s: %w", s.Name, err)
	}
	if err := c.awaitNodes(ctx); err != nil {
		return nil, fmt.Errorf("create simulated cluster %s: %w", s.Name, err)
	}
	return c.cluster(), nil
}

// Delete implements cluster.Driver. It returns when nothing of the cluster runs
// any more.
func (d *Driver) Delete(_ context.Context, s cluster.Spec) error {
	d.mu.Lock()
	c := d.clusters[s.RunID]
	delete(d.clusters, s.RunID)
	d.mu.Unlock()
	if c != nil {
		c.stop()
	}
	return nil
}

func (d *Driver) simulation(c *cluster.Cluster) (*simulation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.clusters[c.Spec.RunID]
	if s == nil {
		return nil, fmt.Errorf("run %s has no simulated cluster: it was deleted or made by another driver", c.Spec.RunID)
	}
	return s, nil
}

// node returns the simulation and checks that a node is one of its own.
func (d *Driver) node(c *cluster.Cluster, node string) (*simulation, error) {
	s, err := d.simulation(c)
	if err != nil {
		return nil, err
	}
	if s.kubelet(node) == nil {
		return nil, fmt.Errorf("no node %q; the simulated cluster has %s", node, strings.Join(s.nodeNames(), ", "))
	}
	return s, nil
}

// Stage implements cluster.Stager: loading the images takes its time on each
// node, and touches nothing.
func (d *Driver) Stage(ctx context.Context, c *cluster.Cluster, _ cluster.Version) error {
	s, err := d.simulation(c)
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return s.clock.sleep(ctx, 20*time.Second)
}

// UpgradeControlPlane implements cluster.ControlPlaneUpgrader.
func (d *Driver) UpgradeControlPlane(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version, first bool) error {
	s, err := d.node(c, node)
	if err == nil && s.servers[node] == nil {
		err = errors.New("it is not a control plane")
	}
	switch {
	case err != nil:
	case first && s.opt.Faults.PlanesTogether:
		err = s.upgradeTogether(ctx, to)
	default:
		err = s.upgradeControlPlane(ctx, node, to)
	}
	if err != nil {
		return fmt.Errorf("upgrade control plane %s to %s: %w", node, to, err)
	}
	return nil
}

// UpgradeNode implements cluster.NodeUpgrader.
func (d *Driver) UpgradeNode(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version) error {
	s, err := d.node(c, node)
	if err == nil {
		err = s.upgradeNode(ctx, node, to)
	}
	if err != nil {
		return fmt.Errorf("upgrade node %s to %s: %w", node, to, err)
	}
	return nil
}

// Expose implements cluster.Exposer.
func (d *Driver) Expose(_ context.Context, c *cluster.Cluster, svc cluster.Service) (cluster.Endpoint, error) {
	s, err := d.simulation(c)
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("expose %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	return s.expose(svc)
}

// StartTwin implements cluster.TwinHost. The twin ends with the cluster.
func (d *Driver) StartTwin(_ context.Context, c *cluster.Cluster, w cluster.Workload) (cluster.Endpoint, error) {
	s, err := d.simulation(c)
	if err != nil {
		return cluster.Endpoint{}, fmt.Errorf("start twin: %w", err)
	}
	return s.twin(w)
}

// CanaryImage implements cluster.CanaryImager.
func (d *Driver) CanaryImage(context.Context, *cluster.Cluster) (string, error) {
	return CanaryImage, nil
}

// EtcdMembers implements cluster.EtcdProber: one member a control plane.
func (d *Driver) EtcdMembers(_ context.Context, c *cluster.Cluster) ([]record.Named, error) {
	s, err := d.simulation(c)
	if err != nil {
		return nil, fmt.Errorf("list etcd members: %w", err)
	}
	var out []record.Named
	for _, n := range s.plane.nodes {
		m := record.Named{Name: n, OK: s.plane.isUp(n, compEtcd), Detail: "etcd " + s.plane.tag(n, compEtcd)}
		if !m.OK {
			m.Detail = "connection refused"
		}
		out = append(out, m)
	}
	return out, nil
}

// CollectLogs implements cluster.LogCollector: it writes the cluster's events
// and the state of every pod, which is all the log that a simulation has.
func (d *Driver) CollectLogs(_ context.Context, c *cluster.Cluster, dir string) error {
	s, err := d.simulation(c)
	if err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	var events, pods strings.Builder
	for _, e := range list[*corev1.Event](s.store, resEvents, "") {
		fmt.Fprintf(&events, "%s %s %s/%s %s x%d: %s\n", e.LastTimestamp.UTC().Format(time.RFC3339), e.Type, e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Reason, e.Count, e.Message)
	}
	for _, p := range list[*corev1.Pod](s.store, resPods, "") {
		fmt.Fprintf(&pods, "%s/%s on %s: %s, ready %t, deleting %t\n", p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase, isReady(p), p.DeletionTimestamp != nil)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "events.log"), []byte(events.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "pods.log"), []byte(pods.String()), 0o644),
	)
}

// Leftovers implements cluster.LeftoverFinder: a simulated cluster ends with
// its process.
func (d *Driver) Leftovers(context.Context) ([]cluster.Leftover, error) { return nil, nil }
