// Package kops drives clusters that kops makes in AWS: create from flags or from
// a manifest of production, roll to a new version in kops' own way, delete.
//
// It runs the kops command, found on PATH or named, since kops has no library
// with a stable interface. Every call gets a private kubeconfig and a timeout,
// and is killed with all its children when the context ends. What kops prints
// goes to the step's log as it is, and while it rolls, line by line into the
// timeline. Only clusters that carry the run's label are ever rolled or deleted.
package kops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/command"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// Options configure a Driver. StateStore and CanaryImage are required, and Zones
// unless Manifest is given.
type Options struct {
	Path       string // the kops command; empty is kops on PATH
	StateStore string // s3://BUCKET[/PREFIX]
	// Name of the cluster, with its domain: gossip or no DNS at all where it ends
	// in .k8s.local. Empty is the run's name with .k8s.local.
	Name    string
	Channel string // empty is kops' default
	// Manifest is a file in the form of "kops get all -o yaml", which is renamed and
	// freed of what binds it to the cluster it was read from; see Render. Zones,
	// sizes, image, topology, DNS and network are its own then.
	Manifest                           string
	Zones                              []string
	ControlPlaneSize, NodeSize         string // instance types; empty is kops' default
	Image, Topology, DNS, NetworkCIDRs string
	// Networking goes before the spec's network. Where neither names one it is cilium.
	Networking   string
	AdminAccess  []string // CIDRs; empty is everywhere, kops' default
	SSHPublicKey string   // a file; empty is none
	// CanaryImage is where the nodes pull the canary from.
	CanaryImage string
	// Annotations of the canary's Service, over those of cloud.Annotations.
	Annotations map[string]string
	// IgnoreDrainErrors goes on with a node that could not be drained.
	IgnoreDrainErrors bool
	// Clients of the account that kops works in, with which it is looked at before
	// and after the cluster is made; nil leaves that out.
	Clients  *aws.Clients
	Timeouts Timeouts

	// Run runs a command to its end; nil is command.Run.
	Run func(context.Context, command.Cmd) error
	// Connect makes clients of a kubeconfig; nil does so with client-go.
	Connect func(cluster.Spec, []byte) (*cluster.Cluster, error)
}

// Timeouts bound single calls of kops. Zero values are the defaults.
type Timeouts struct {
	Query    time.Duration // that ask the state store; 2m
	Update   time.Duration // 20m
	Validate time.Duration // of a new cluster; 20m
	Roll     time.Duration // where the caller's context has no end; 24h
	Delete   time.Duration // 30m
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&t.Query, 2 * time.Minute}, {&t.Update, 20 * time.Minute}, {&t.Validate, 20 * time.Minute}, {&t.Roll, 24 * time.Hour}, {&t.Delete, 30 * time.Minute}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return t
}

// Driver drives clusters through kops. It keeps nothing in memory that Delete or
// Leftovers would need.
type Driver struct {
	o    Options
	twin cloud.Twin

	mu  sync.Mutex
	dir string // private, for kubeconfig and manifest; made when needed
}

var (
	_ cluster.Driver         = (*Driver)(nil)
	_ cluster.Preflighter    = (*Driver)(nil)
	_ cluster.Examiner       = (*Driver)(nil)
	_ cluster.Roller         = (*Driver)(nil)
	_ cluster.Attacher       = (*Driver)(nil)
	_ cluster.Exposer        = (*Driver)(nil)
	_ cluster.TwinHost       = (*Driver)(nil)
	_ cluster.CanaryImager   = (*Driver)(nil)
	_ cluster.LeftoverFinder = (*Driver)(nil)
	_ cluster.Describer      = (*Driver)(nil)
	_ cluster.Estimator      = (*Driver)(nil)
)

// New returns a driver. It touches nothing yet.
func New(o Options) *Driver {
	if o.Path == "" {
		o.Path = "kops"
	}
	if o.Run == nil {
		o.Run = command.Run
	}
	if o.Connect == nil {
		o.Connect = connect
	}
	o.Timeouts = o.Timeouts.withDefaults()
	return &Driver{o: o}
}

func connect(s cluster.Spec, kubeconfig []byte) (*cluster.Cluster, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig that kops exported: %w", err)
	}
	c, err := cloud.Connect(s, config)
	if err != nil {
		return nil, err
	}
	c.Kubeconfig = kubeconfig
	return c, nil
}

// name is the cluster's whole name.
func (d *Driver) name(s cluster.Spec) string {
	if d.o.Name != "" {
		return d.o.Name
	}
	return s.Name + ".k8s.local"
}

// private returns a path in a directory that only this user can read.
func (d *Driver) private(file string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == "" {
		dir, err := os.MkdirTemp("", "rehearse-kops-")
		if err != nil {
			return "", fmt.Errorf("make a directory for the kubeconfig: %w", err)
		}
		d.dir = dir
	}
	return filepath.Join(d.dir, file), nil
}

// forget removes the private directory, with the credentials in it.
func (d *Driver) forget() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.dir
	d.dir = ""
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// Expose implements cluster.Exposer with a network load balancer.
func (d *Driver) Expose(ctx context.Context, c *cluster.Cluster, s cluster.Service) (cluster.Endpoint, error) {
	return cloud.Balancer{Annotations: cloud.Annotations(d.o.Annotations), Timeout: 10 * time.Minute, Every: 5 * time.Second}.Expose(ctx, c, s)
}

// StartTwin implements cluster.TwinHost on this machine.
func (d *Driver) StartTwin(ctx context.Context, _ *cluster.Cluster, w cluster.Workload) (cluster.Endpoint, error) {
	return d.twin.Start(ctx, w)
}

// CanaryImage implements cluster.CanaryImager: the nodes pull it themselves.
func (d *Driver) CanaryImage(context.Context, *cluster.Cluster) (string, error) {
	if d.o.CanaryImage == "" {
		return "", errors.New("no image given: nodes in AWS cannot take one from this machine, so push the canary's image to a registry and name it in canary.image")
	}
	return d.o.CanaryImage, nil
}

// DeleteCommand implements cluster.Describer.
func (d *Driver) DeleteCommand(s cluster.Spec) string {
	return command.Quote(d.deleteArgs(d.name(s), true))
}

// Estimate implements cluster.Estimator: what kops in AWS was seen to need.
func (d *Driver) Estimate(op cluster.Operation) time.Duration {
	return map[cluster.Operation]time.Duration{
		cluster.OpPreflight: 5 * time.Second, cluster.OpCreate: 12 * time.Minute, cluster.OpDeploy: 4 * time.Minute,
		cluster.OpUpgradeControlPlane: 7 * time.Minute, cluster.OpUpgradeNode: 5 * time.Minute,
		cluster.OpValidate: 15 * time.Second, cluster.OpDelete: 6 * time.Minute,
	}[op]
}
