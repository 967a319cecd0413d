// Package eks drives clusters of Amazon's managed Kubernetes: a cluster that is
// made for the rehearsal in subnets and with roles that exist, or one that exists
// already. It upgrades the control plane, the add-ons and the managed node
// groups, in that order, and polls each update to its end.
//
// EKS has limits that no option changes, and that a rehearsal shows as they are:
// one minor version a step, managed groups at the cluster's version before the
// control plane moves on, evictions given up after about fifteen minutes unless
// forced, no interval between the nodes of a group, a way back of one minor
// version within seven days, and no update that can be cancelled.
package eks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// Options configure a Driver.
type Options struct {
	// Clients are those of the account; EKS, EC2 and STS are used.
	Clients *aws.Clients
	// Existing names a cluster that exists: it is upgraded and never deleted. Empty
	// makes one, which needs the next four.
	Existing                     string
	Subnets                      []string // at least two, in different zones
	ClusterRole, NodeRole        string   // ARNs
	InstanceTypes                []string
	AMIType                      string            // empty is EKS' default
	Addons                       map[string]string // versions; empty is EKS' default
	MaxUnavailable, MaxUnavailPC int               // of each group, at most one of the two; 0 leaves it alone
	Strategy                     string            // DEFAULT (surge) or MINIMAL; empty leaves it alone
	// Force lets EKS delete pods that a budget keeps from being evicted, and go on
	// although insights warn. It hides what a rehearsal looks for: a choice to be
	// made knowingly.
	Force bool
	// LaunchTemplates are the versions for groups with an image of one's own, by the
	// group's name: EKS cannot choose an image for them.
	LaunchTemplates map[string]string
	// KeepAddons leaves add-ons as they are.
	KeepAddons bool
	// Rollback tells that the cluster may be taken back to the version of before, so
	// that Preflight looks for what would keep it from that.
	Rollback bool
	// Namespace is the canary's, which carries the run's label and is deleted, with
	// its balancer, before anything else.
	Namespace   string
	CanaryImage string
	Annotations map[string]string // of the canary's Service, over those of cloud.Annotations
	Every       time.Duration     // between two looks at an update; 0 is 15s

	// Connect makes clients of a cluster; nil does so with tokens of the account.
	Connect func(cluster.Spec, *rest.Config) (*cluster.Cluster, error)
}

// Driver drives clusters of EKS.
type Driver struct {
	o    Options
	api  *eks.Client
	twin cloud.Twin
}

var (
	_ cluster.Driver         = (*Driver)(nil)
	_ cluster.Preflighter    = (*Driver)(nil)
	_ cluster.Examiner       = (*Driver)(nil)
	_ cluster.RollReverser   = (*Driver)(nil)
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
	if o.Every == 0 {
		o.Every = 15 * time.Second
	}
	if o.Namespace == "" {
		o.Namespace = "rehearse"
	}
	if o.Connect == nil {
		o.Connect = cloud.Connect
	}
	return &Driver{o: o, api: o.Clients.EKS}
}

// name is the cluster's name.
func (d *Driver) name(s cluster.Spec) string {
	if d.o.Existing != "" {
		return d.o.Existing
	}
	return s.Name
}

// minor is how EKS writes a version: 1.35. It chooses the patch itself.
func minor(v cluster.Version) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(v.String(), "v"), ".")
	m, _, _ := strings.Cut(rest, ".")
	return major + "." + m
}

// runsMinor tells whether a version that a component reports, such as
// v1.35.2-eks-ab12cd, is of to's minor.
func runsMinor(to cluster.Version) func(string) bool {
	return func(got string) bool { return strings.HasPrefix(got, "v"+minor(to)+".") }
}

// CanaryImage implements cluster.CanaryImager: the nodes pull it themselves.
func (d *Driver) CanaryImage(context.Context, *cluster.Cluster) (string, error) {
	if d.o.CanaryImage == "" {
		return "", errors.New("no image given: nodes in AWS cannot take one from this machine, so push the canary's image to a registry and name it in canary.image")
	}
	return d.o.CanaryImage, nil
}

// Expose implements cluster.Exposer with a network load balancer.
func (d *Driver) Expose(ctx context.Context, c *cluster.Cluster, s cluster.Service) (cluster.Endpoint, error) {
	return cloud.Balancer{Annotations: cloud.Annotations(d.o.Annotations), Timeout: 10 * time.Minute, Every: 5 * time.Second}.Expose(ctx, c, s)
}

// StartTwin implements cluster.TwinHost on this machine.
func (d *Driver) StartTwin(ctx context.Context, _ *cluster.Cluster, w cluster.Workload) (cluster.Endpoint, error) {
	return d.twin.Start(ctx, w)
}

// DeleteCommand implements cluster.Describer.
func (d *Driver) DeleteCommand(s cluster.Spec) string {
	if d.o.Existing != "" {
		return d.deleteNamespace(s.RunID)
	}
	return fmt.Sprintf("aws eks delete-nodegroup --region %s --cluster-name %[2]s --nodegroup-name %[3]s && aws eks wait nodegroup-deleted --region %[1]s --cluster-name %[2]s --nodegroup-name %[3]s && aws eks delete-cluster --region %[1]s --name %[2]s",
		d.o.Clients.Region, d.name(s), groupName)
}

// deleteNamespace is the command that deletes the canary of a run from a cluster
// that stays.
func (d *Driver) deleteNamespace(run string) string {
	return fmt.Sprintf("aws eks update-kubeconfig --region %s --name %s && kubectl delete namespace -l %s=%s", d.o.Clients.Region, d.o.Existing, cluster.LabelRun, run)
}

// Estimate implements cluster.Estimator with what AWS documents and users report.
func (d *Driver) Estimate(op cluster.Operation) time.Duration {
	if d.o.Existing != "" && (op == cluster.OpCreate || op == cluster.OpDelete) {
		return time.Minute // the canary's namespace and its balancer
	}
	return map[cluster.Operation]time.Duration{
		cluster.OpPreflight: 5 * time.Second, cluster.OpCreate: 15 * time.Minute, cluster.OpDeploy: 4 * time.Minute,
		cluster.OpUpgradeControlPlane: 10 * time.Minute, cluster.OpUpgradeNode: 5 * time.Minute, cluster.OpValidate: 15 * time.Second, cluster.OpDelete: 12 * time.Minute,
	}[op]
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
