// Package existing is the driver of a cluster that is there already, of any kind.
// It makes and deletes nothing in it but a namespace of its own, which carries
// the run's label; the upgrade is a command of the user's.
package existing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Options of a driver.
type Options struct {
	Kubeconfig, Context string
	Namespace           string // in which the canary is deployed
	Image               string // the canary's, which the nodes can pull
	// URL reaches the canary's Service, of type NodePort, by a way of the user's
	// own. Empty makes the Service one of type LoadBalancer, with the Annotations.
	URL         string
	Annotations map[string]string
	// Connect returns clients of the cluster; nil reads the kubeconfig.
	Connect func(cluster.Spec) (*cluster.Cluster, error)
}

// Driver knows one cluster.
type Driver struct {
	o    Options
	twin cloud.Twin
}

var (
	_ cluster.Driver         = (*Driver)(nil)
	_ cluster.Preflighter    = (*Driver)(nil)
	_ cluster.Exposer        = (*Driver)(nil)
	_ cluster.TwinHost       = (*Driver)(nil)
	_ cluster.CanaryImager   = (*Driver)(nil)
	_ cluster.LeftoverFinder = (*Driver)(nil)
	_ cluster.Describer      = (*Driver)(nil)
	_ cluster.Estimator      = (*Driver)(nil)
)

// New returns the driver of the cluster that the options name. Nothing is asked
// of it.
func New(o Options) (*Driver, error) {
	if o.Connect == nil {
		if o.Kubeconfig == "" {
			return nil, errors.New("the driver existing needs cluster.kubeconfig: nothing is guessed from the environment")
		}
		o.Connect = func(s cluster.Spec) (*cluster.Cluster, error) { return connect(o, s) }
	}
	return &Driver{o: o}, nil
}

func connect(o Options, s cluster.Spec) (*cluster.Cluster, error) {
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: o.Kubeconfig}, &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	cfg, err := loaded.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", o.Kubeconfig, err)
	}
	cfg.QPS = -1 // after an outage everything that watches asks again at once
	return cloud.Connect(s, cfg)
}

// Preflight implements cluster.Preflighter: the cluster must answer, be at the
// version to start from, and have no namespace by our name.
func (d *Driver) Preflight(ctx context.Context, s cluster.Spec, _ cluster.Version) ([]record.Finding, error) {
	c, err := d.o.Connect(s)
	if err != nil {
		return nil, err
	}
	v, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("ask the cluster of kubeconfig %s for its version: %w", d.o.Kubeconfig, err)
	}
	var out []record.Finding
	block := func(id, object, cause, remedy string) {
		out = append(out, record.Finding{ID: id, Severity: record.SeverityBlock, Object: object, Cause: cause, Remedy: remedy})
	}
	if !s.Version.SameRelease(v.GitVersion) {
		block("version-from", "cluster", fmt.Sprintf("the cluster runs %s, and the scenario starts from %s", v.GitVersion, s.Version), "set versions.from to what the cluster runs, or name another cluster")
	}
	found, err := cloud.NamespaceFree(ctx, c.Client, d.o.Namespace, d.deleteCommand)
	if err != nil {
		return nil, err
	}
	return append(out, found...), nil
}

// Create implements cluster.Driver: it makes the run's namespace in the cluster.
func (d *Driver) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	c, err := d.o.Connect(s)
	if err != nil {
		return nil, err
	}
	v, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("ask the cluster for its version: %w", err)
	}
	if !s.Version.SameRelease(v.GitVersion) {
		return nil, fmt.Errorf("the cluster runs %s, and the scenario starts from %s: set versions.from, or name another cluster", v.GitVersion, s.Version)
	}
	c.Spec, c.ControlPlane = s, cluster.Version(v.GitVersion) // a vendor's suffix included
	if err := cloud.Claim(ctx, c.Client, d.o.Namespace, s.RunID); err != nil {
		return nil, err
	}
	return c, nil
}

// Delete implements cluster.Driver: it deletes the namespaces that carry the
// run's label and returns when they are gone, balancers included; and nothing
// else.
func (d *Driver) Delete(ctx context.Context, s cluster.Spec) error {
	stopped := d.twin.Stop()
	c, err := d.o.Connect(s)
	if err != nil {
		return errors.Join(stopped, err)
	}
	return errors.Join(stopped, cloud.Release(ctx, c.Client, s.RunID, d.DeleteCommand(s)))
}

// Expose implements cluster.Exposer.
func (d *Driver) Expose(ctx context.Context, c *cluster.Cluster, s cluster.Service) (cluster.Endpoint, error) {
	if d.o.URL != "" {
		return cluster.Endpoint{URL: strings.TrimSuffix(d.o.URL, "/")}, nil
	}
	b := cloud.Balancer{Annotations: d.o.Annotations, Timeout: 10 * time.Minute, Every: 2 * time.Second}
	return b.Expose(ctx, c, s)
}

// StartTwin implements cluster.TwinHost: the twin is on this machine's loopback,
// so the control lane shows the runner's trouble and not the network's.
func (d *Driver) StartTwin(ctx context.Context, _ *cluster.Cluster, w cluster.Workload) (cluster.Endpoint, error) {
	return d.twin.Start(ctx, w)
}

// CanaryImage implements cluster.CanaryImager.
func (d *Driver) CanaryImage(context.Context, *cluster.Cluster) (string, error) {
	if d.o.Image == "" {
		return "", fmt.Errorf("canary.image: name an image of cmd/canary, listening on port %d, that the nodes can pull", canary.DefaultPort)
	}
	return d.o.Image, nil
}

// Leftovers implements cluster.LeftoverFinder.
func (d *Driver) Leftovers(ctx context.Context) ([]cluster.Leftover, error) {
	c, err := d.o.Connect(cluster.Spec{})
	if err != nil {
		return nil, err
	}
	list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: cluster.LabelRun})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var out []cluster.Leftover
	for i := range list.Items {
		n := &list.Items[i]
		run := n.Labels[cluster.LabelRun]
		out = append(out, cluster.Leftover{Kind: "namespace", Name: n.Name, RunID: run, Created: n.CreationTimestamp.Time, Delete: d.deleteCommand(run)})
	}
	return out, nil
}

// DeleteCommand implements cluster.Describer.
func (d *Driver) DeleteCommand(s cluster.Spec) string { return d.deleteCommand(s.RunID) }

func (d *Driver) deleteCommand(run string) string {
	args := []string{"kubectl", "--kubeconfig", d.o.Kubeconfig}
	if d.o.Context != "" {
		args = append(args, "--context", d.o.Context)
	}
	return command.Quote(append(args, "delete", "namespace", "-l", cluster.LabelRun+"="+run))
}

// Estimate implements cluster.Estimator; how long the command takes nobody knows.
func (d *Driver) Estimate(op cluster.Operation) time.Duration {
	switch op {
	case cluster.OpCreate, cluster.OpPreflight, cluster.OpSnapshot:
		return 5 * time.Second
	case cluster.OpDeploy:
		return 2 * time.Minute // the cloud's balancer
	case cluster.OpValidate:
		return 10 * time.Second
	case cluster.OpDelete:
		return time.Minute
	}
	return 0
}
