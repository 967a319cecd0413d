package eks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/record"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// defaultType is what EKS takes where no type is named.
const defaultType = "t3.medium"

// checks collects the findings of checks, each of which is made whatever the
// others found.
type checks struct {
	found []record.Finding
	errs  []error
}

func (c *checks) add(found []record.Finding, err error) {
	c.found = append(c.found, found...)
	c.errs = append(c.errs, err)
}

func (c *checks) result() ([]record.Finding, error) { return c.found, errors.Join(c.errs...) }

// accountToMake checks the account for a cluster that is to be made.
func (d *Driver) accountToMake(ctx context.Context, who aws.Identity, s cluster.Spec) ([]record.Finding, error) {
	var c checks
	found, err := aws.Subnets(ctx, d.o.Clients.EC2, aws.SubnetNeeds{IDs: d.o.Subnets, Least: 2, Free: 5})
	c.add(found, err)
	if err == nil && !slices.ContainsFunc(found, func(f record.Finding) bool { return f.ID == "subnet-missing" }) {
		c.add(d.offers(ctx))
	}
	kinds := d.o.InstanceTypes
	if len(kinds) == 0 {
		kinds = []string{defaultType}
	}
	// The group that is made lies in the zones of at least two subnets.
	c.add(d.vcpus(ctx, float64(s.Workers), []demand{{types: kinds, machines: float64(2 * len(d.o.Subnets))}}))
	c.add(aws.Permissions(ctx, d.o.Clients.IAM, d.o.Clients.EC2, who, slices.Concat(aws.EKSMakeActions, aws.EKSActions)))
	return c.result()
}

func (d *Driver) offers(ctx context.Context) ([]record.Finding, error) {
	zones, err := aws.ZonesOf(ctx, d.o.Clients.EC2, d.o.Subnets)
	if err != nil {
		return nil, err
	}
	var c checks
	for _, t := range d.o.InstanceTypes {
		c.add(aws.Machines(ctx, d.o.Clients.EC2, aws.Machine{Type: t, Zones: zones}))
	}
	return c.result()
}

// demand is how many machines a group surges by, of the largest of its types.
type demand struct {
	types    []string
	machines float64
}

// vcpus checks the quota: a group's machines, where they are to be made, and the
// largest surge, since groups are updated one after another.
func (d *Driver) vcpus(ctx context.Context, made float64, demands []demand) ([]record.Finding, error) {
	var names []string
	for _, x := range demands {
		names = append(names, x.types...)
	}
	per, err := aws.VCPUs(ctx, d.o.Clients.EC2, names)
	if err != nil {
		return nil, err
	}
	more := 0.0
	for _, x := range demands {
		largest := 0.0
		for _, t := range x.types {
			if aws.Standard(t) {
				largest = max(largest, per[t])
			}
		}
		more = max(more, largest*(made+x.machines))
	}
	if more == 0 {
		return nil, nil
	}
	used, err := aws.UsedVCPUs(ctx, d.o.Clients.EC2)
	if err != nil {
		return nil, err
	}
	return aws.Quotas(ctx, d.o.Clients.Quotas, []aws.Quota{aws.QuotaStandardVCPUs(used, more)})
}

// surge is by how many machines EKS makes a group larger while it is updated: by
// the larger of twice the zones and of what may be unavailable; with MINIMAL by
// none (https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html).
func (d *Driver) surge(g types.Nodegroup) float64 {
	config := types.NodegroupUpdateConfig{}
	if g.UpdateConfig != nil {
		config = *g.UpdateConfig
	}
	if want := d.config(&g); want != nil {
		config = *want
	}
	if config.UpdateStrategy == types.NodegroupUpdateStrategiesMinimal {
		return 0
	}
	desired := 0
	if g.ScalingConfig != nil {
		desired = int(value(g.ScalingConfig.DesiredSize))
	}
	unavailable := max(int(value(config.MaxUnavailable)), desired*int(value(config.MaxUnavailablePercentage))/100)
	return float64(max(2*max(len(g.Subnets), 1), unavailable))
}

// accountOfExisting checks the account for the upgrade of a cluster that is
// there: the groups' auto-scaling groups, machines for the surge, permissions.
func (d *Driver) accountOfExisting(ctx context.Context, who aws.Identity, groups []types.Nodegroup) ([]record.Finding, error) {
	var c checks
	var demands []demand
	for i := range groups {
		g := &groups[i]
		c.add(d.scaling(ctx, g))
		x := demand{types: g.InstanceTypes, machines: d.surge(*g)}
		if len(x.types) == 0 && g.LaunchTemplate == nil {
			x.types = []string{defaultType} // a launch template says its own type
		}
		demands = append(demands, x)
	}
	c.add(d.vcpus(ctx, 0, demands))
	c.add(aws.Permissions(ctx, d.o.Clients.IAM, d.o.Clients.EC2, who, aws.EKSActions))
	return c.result()
}

func (d *Driver) scaling(ctx context.Context, g *types.Nodegroup) ([]record.Finding, error) {
	if g.Resources == nil || len(g.Resources.AutoScalingGroups) == 0 {
		return nil, nil
	}
	var names []string
	for _, a := range g.Resources.AutoScalingGroups {
		names = append(names, value(a.Name))
	}
	return aws.ScalingGroups(ctx, d.o.Clients.AutoScaling, names)
}

// workers checks that the scenario knows how many machines there are: the time
// that their roll is given follows from it.
func (d *Driver) workers(s cluster.Spec, groups []types.Nodegroup) []record.Finding {
	have := 0
	for _, g := range groups {
		if g.ScalingConfig != nil {
			have += int(value(g.ScalingConfig.DesiredSize))
		}
	}
	if have <= s.Workers {
		return nil
	}
	return []record.Finding{block("workers", "cluster/"+d.o.Existing, fmt.Sprintf("its managed groups want %d machines, the scenario says %d workers: the roll would not be given the time that it needs", have, s.Workers),
		fmt.Sprintf("set cluster.workers to %d", have))}
}

// reach checks that the API server of a cluster that is there answers the caller,
// and that nobody uses the canary's namespace.
func (d *Driver) reach(ctx context.Context, s cluster.Spec) ([]record.Finding, error) {
	c, err := d.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	found, err := cloud.NamespaceFree(ctx, c.Client, d.o.Namespace, d.deleteNamespace)
	if err != nil {
		return nil, fmt.Errorf("%w; the caller needs an access entry of cluster %s, and a route to its endpoint", err, d.o.Existing)
	}
	return found, nil
}

// Examine implements cluster.Examiner: what was not there before the cluster was
// made, and EKS' own insights.
func (d *Driver) Examine(ctx context.Context, c *cluster.Cluster, to cluster.Version) ([]record.Finding, error) {
	if d.o.Existing != "" {
		return nil, nil // the preflight has looked
	}
	name := d.name(c.Spec)
	groups, err := d.groups(ctx, name)
	if err != nil {
		return nil, err
	}
	var all checks
	all.add(d.checkGroups(groups, minor(c.Spec.Version)), nil)
	for i := range groups {
		all.add(d.scaling(ctx, &groups[i]))
	}
	all.add(d.Insights(ctx, name, to))
	return all.result()
}

// minors are those that lie between two versions, the last one included.
func minors(from, to cluster.Version) []cluster.Version {
	var all []cluster.Version
	for m := from.Minor() + 1; m < to.Minor(); m++ {
		all = append(all, cluster.Version(fmt.Sprintf("v1.%d.0", m)))
	}
	return append(all, to)
}
