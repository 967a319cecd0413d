package kind

import (
	"context"
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// What a node takes, measured with flannel and no workload but the canary, and
// rounded up: the /var of each node is a copy of its image's.
const (
	controlPlaneMemory = 900 << 20
	workerMemory       = 350 << 20
	otherMemory        = 700 << 20 // balancers, twin, rehearse itself
	nodeDisk           = 3 << 30
	// inotify instances of systemd, containerd, kubelet and kube-proxy, and those
	// of the components of a control plane, counted at v1.34 with half as many again.
	nodeInotify         = 22
	controlPlaneInotify = 20
)

// Preflight implements cluster.Preflighter: it looks at Docker and at the
// machine's room for the cluster.
func (d *Driver) Preflight(ctx context.Context, s cluster.Spec, _ cluster.Version) ([]record.Finding, error) {
	if s.RunID == "" {
		s.RunID = "none" // there may be no run: nothing is created here
	}
	if _, err := clusterName(s); err != nil {
		return nil, fmt.Errorf("preflight: %w", err)
	}
	workers := max(s.Workers, s.MostWorkers)
	checks := docker.HostChecks(ctx, docker.Checks{
		Client:        d.docker,
		MemoryNeeded:  int64(s.ControlPlanes)*controlPlaneMemory + int64(workers)*workerMemory + otherMemory,
		DiskNeeded:    int64(s.ControlPlanes+workers) * nodeDisk,
		InotifyNeeded: (s.ControlPlanes+workers)*nodeInotify + s.ControlPlanes*controlPlaneInotify,
	})
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("preflight: %w", err)
	}
	var findings []record.Finding
	for _, c := range checks {
		if c.OK {
			continue
		}
		severity := record.SeverityWarn
		if c.Needed {
			severity = record.SeverityBlock
		}
		findings = append(findings, record.Finding{
			ID: strings.ReplaceAll(strings.ToLower(c.Name), " ", "-"), Severity: severity,
			Object: "this machine", Cause: c.Name + ": " + c.Detail, Remedy: c.Remedy,
		})
	}
	return findings, nil
}

// Prepare implements cluster.Preparer: node images of both versions, the
// balancer's and the canary's.
func (d *Driver) Prepare(ctx context.Context, s cluster.Spec, to cluster.Version) error {
	for _, v := range []cluster.Version{s.Version, to} {
		ref, err := d.images.Node(ctx, v)
		if err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		cluster.Logger(ctx).Info("node image ready", "version", v.String(), "image", ref)
	}
	if _, err := d.images.Balancer(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	ref, err := d.canaryImage(ctx)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	cluster.Logger(ctx).Info("canary image ready", "image", ref)
	return nil
}
