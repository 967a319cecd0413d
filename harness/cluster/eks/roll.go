package eks

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// RollControlPlane implements cluster.Roller. A cluster that is at the version
// already is left alone, and an update that is under way is followed to its end,
// so that a roll can be gone on with.
func (d *Driver) RollControlPlane(ctx context.Context, c *cluster.Cluster, to cluster.Version, o cluster.RollOptions) error {
	return d.controlPlane(ctx, c, to, o, func(now *types.Cluster) error {
		groups, err := d.groups(ctx, value(now.Name))
		if err != nil {
			return err
		}
		if behind := groupsBehind(groups, value(now.Version)); behind != nil {
			return fmt.Errorf("cluster %s: %w", value(now.Name), behind)
		}
		return nil
	})
}

// controlPlane takes the control plane to a version, unless ready says why EKS
// would refuse it.
func (d *Driver) controlPlane(ctx context.Context, c *cluster.Cluster, to cluster.Version, o cluster.RollOptions, ready func(*types.Cluster) error) error {
	name := d.name(c.Spec)
	t := target{cluster: name, subject: "control-plane/" + name, what: "control plane of " + name, to: to.String()}
	now, err := d.describe(ctx, name)
	if err == nil && now.Status == types.ClusterStatusUpdating {
		if err := d.goOn(ctx, o, t); err != nil {
			return err
		}
		now, err = d.describe(ctx, name)
	}
	if err != nil {
		return err
	}
	if value(now.Version) != minor(to) {
		if err := ready(now); err != nil {
			return err
		}
		out, err := d.api.UpdateClusterVersion(ctx, &eks.UpdateClusterVersionInput{Name: &name, Version: awssdk.String(minor(to)), Force: d.o.Force})
		if err != nil {
			return aws.Explain("eks:UpdateClusterVersion "+name, err)
		}
		if err := d.follow(ctx, o, t, out.Update); err != nil {
			return err
		}
	}
	v, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("ask the API server for its version: %w", err)
	}
	if !runsMinor(to)(v.GitVersion) {
		return fmt.Errorf("EKS says that the control plane of %s is at %s, and its API server runs %s", name, minor(to), v.GitVersion)
	}
	return nil
}

// groupsBehind names managed groups that are not at the cluster's version, in
// which case EKS refuses to move the control plane on.
func groupsBehind(groups []types.Nodegroup, version string) error {
	var behind []string
	for _, g := range groups {
		if v := value(g.Version); v != version {
			behind = append(behind, fmt.Sprintf("%s is at %s", value(g.NodegroupName), v))
		}
	}
	if len(behind) == 0 {
		return nil
	}
	return fmt.Errorf("its control plane is at %s, and %s: EKS moves a control plane on only when its managed groups match; update them first", version, join(behind))
}

// RollWorkers implements cluster.Roller: add-ons, then each managed group by
// name. EKS knows no interval between nodes, so the interval is kept after each
// group.
func (d *Driver) RollWorkers(ctx context.Context, c *cluster.Cluster, to cluster.Version, o cluster.RollOptions) error {
	name := d.name(c.Spec)
	if err := d.addons(ctx, name, to, o); err != nil {
		return err
	}
	if err := d.rollGroups(ctx, name, to, o); err != nil {
		return err
	}
	return cloud.AssertKubelets(ctx, c.Client, false, to, runsMinor(to))
}

// rollGroups takes each managed group to the version, by name.
func (d *Driver) rollGroups(ctx context.Context, name string, to cluster.Version, o cluster.RollOptions) error {
	groups, err := d.groups(ctx, name)
	if err != nil {
		return err
	}
	for i := range groups {
		g := &groups[i]
		if err := d.group(ctx, name, g, to, o); err != nil {
			return d.withHealth(ctx, name, value(g.NodegroupName), err)
		}
		if o.NodeInterval > 0 {
			o.Tell(timeline.KindWait, "group/"+value(g.NodegroupName), map[string]string{"for": o.NodeInterval.String(), "after": "a node group"})
			if err := pause.For(ctx, o.NodeInterval); err != nil {
				return err
			}
		}
	}
	return nil
}

// group takes one managed group to the version.
func (d *Driver) group(ctx context.Context, name string, g *types.Nodegroup, to cluster.Version, o cluster.RollOptions) error {
	gn := value(g.NodegroupName)
	t := target{cluster: name, group: gn, subject: "group/" + gn, what: "node group " + gn, to: to.String()}
	if g.Status == types.NodegroupStatusUpdating {
		if err := d.goOn(ctx, o, t); err != nil {
			return err
		}
		out, err := d.api.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &name, NodegroupName: &gn})
		if err != nil {
			return aws.Explain("eks:DescribeNodegroup "+gn, err)
		}
		g = out.Nodegroup
	}
	if config := d.config(g); config != nil {
		out, err := d.api.UpdateNodegroupConfig(ctx, &eks.UpdateNodegroupConfigInput{ClusterName: &name, NodegroupName: &gn, UpdateConfig: config})
		if err != nil {
			return aws.Explain("eks:UpdateNodegroupConfig "+gn, err)
		}
		if err := d.follow(ctx, o, t, out.Update); err != nil {
			return err
		}
	}
	custom := g.AmiType == types.AMITypesCustom
	if value(g.Version) == minor(to) && !custom {
		return nil
	}
	in := &eks.UpdateNodegroupVersionInput{ClusterName: &name, NodegroupName: &gn, Force: d.o.Force}
	if v := d.o.LaunchTemplates[gn]; v != "" && g.LaunchTemplate != nil {
		in.LaunchTemplate = &types.LaunchTemplateSpecification{Id: g.LaunchTemplate.Id, Version: &v}
	}
	if !custom {
		in.Version = awssdk.String(minor(to))
	} else if in.LaunchTemplate == nil {
		return fmt.Errorf("node group %s has an image of its own, and cluster.eks.launchTemplates names no version for it: EKS cannot choose one", gn)
	}
	out, err := d.api.UpdateNodegroupVersion(ctx, in)
	if err != nil {
		return aws.Explain("eks:UpdateNodegroupVersion "+gn, err)
	}
	return d.follow(ctx, o, t, out.Update)
}

// config is how the group shall be updated; nil where it is so already.
func (d *Driver) config(g *types.Nodegroup) *types.NodegroupUpdateConfig {
	have := types.NodegroupUpdateConfig{}
	if g.UpdateConfig != nil {
		have = *g.UpdateConfig
	}
	want := have
	if d.o.MaxUnavailable > 0 {
		want.MaxUnavailable, want.MaxUnavailablePercentage = awssdk.Int32(int32(d.o.MaxUnavailable)), nil
	}
	if d.o.MaxUnavailPC > 0 {
		want.MaxUnavailable, want.MaxUnavailablePercentage = nil, awssdk.Int32(int32(d.o.MaxUnavailPC))
	}
	if d.o.Strategy != "" {
		want.UpdateStrategy = types.NodegroupUpdateStrategies(d.o.Strategy)
	}
	if value(have.MaxUnavailable) == value(want.MaxUnavailable) && value(have.MaxUnavailablePercentage) == value(want.MaxUnavailablePercentage) && have.UpdateStrategy == want.UpdateStrategy {
		return nil
	}
	return &want
}

// withHealth adds to a failure what EKS says about the group's health.
func (d *Driver) withHealth(ctx context.Context, name, group string, err error) error {
	var failed *UpdateError
	if !errors.As(err, &failed) {
		return err
	}
	out, describeErr := d.api.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &name, NodegroupName: &group})
	if describeErr != nil {
		return err
	}
	left := []cluster.Leftover{{Kind: "node group", Name: group + " with nodes of two versions", Created: time.Now(), Delete: "aws eks update-nodegroup-version --region " + d.o.Clients.Region + " --cluster-name " + name + " --nodegroup-name " + group}}
	if h := out.Nodegroup.Health; h != nil {
		for _, i := range h.Issues {
			err = fmt.Errorf("%w; group %s: %s: %s", err, group, i.Code, value(i.Message))
		}
	}
	return &cluster.RollError{Err: err, Left: left}
}

// addons takes each add-on to the default version for the target. What is
// configured is preserved; an add-on that EKS has no version of is named.
func (d *Driver) addons(ctx context.Context, name string, to cluster.Version, o cluster.RollOptions) error {
	return d.eachAddon(ctx, name, o, func(addon string) (func(string) string, error) {
		want, err := d.addonVersion(ctx, addon, to)
		return func(string) string { return want }, err
	})
}

// eachAddon takes each add-on to the version that is chosen for it, by the one that
// it has now. Where add-ons are kept it does nothing.
func (d *Driver) eachAddon(ctx context.Context, name string, o cluster.RollOptions, choose func(addon string) (func(now string) string, error)) error {
	if d.o.KeepAddons {
		return nil
	}
	all, err := d.addonNames(ctx, name)
	if err != nil {
		return err
	}
	for _, addon := range all {
		want, err := choose(addon)
		if err != nil {
			return err
		}
		if err := d.addon(ctx, name, addon, o, want); err != nil {
			return err
		}
	}
	return nil
}

// addonNames are a cluster's add-ons, sorted.
func (d *Driver) addonNames(ctx context.Context, name string) ([]string, error) {
	var all []string
	pages := eks.NewListAddonsPaginator(d.api, &eks.ListAddonsInput{ClusterName: &name})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, aws.Explain("eks:ListAddons "+name, err)
		}
		all = append(all, p.Addons...)
	}
	sort.Strings(all)
	return all, nil
}

// addon takes an add-on from the version that it has to the one that is wanted.
func (d *Driver) addon(ctx context.Context, name, addon string, o cluster.RollOptions, wanted func(now string) string) error {
	t := target{cluster: name, addon: addon, subject: "addon/" + addon, what: "add-on " + addon}
	in := &eks.DescribeAddonInput{ClusterName: &name, AddonName: &addon}
	now, err := d.api.DescribeAddon(ctx, in)
	if err == nil && now.Addon.Status == types.AddonStatusUpdating {
		t.to = wanted(value(now.Addon.AddonVersion))
		if err := d.goOn(ctx, o, t); err != nil {
			return err
		}
		now, err = d.api.DescribeAddon(ctx, in)
	}
	if err != nil {
		return aws.Explain("eks:DescribeAddon "+addon, err)
	}
	t.to = wanted(value(now.Addon.AddonVersion))
	if value(now.Addon.AddonVersion) == t.to {
		return nil
	}
	out, err := d.api.UpdateAddon(ctx, &eks.UpdateAddonInput{ClusterName: &name, AddonName: &addon, AddonVersion: &t.to, ResolveConflicts: types.ResolveConflictsPreserve})
	if err != nil {
		return aws.Explain("eks:UpdateAddon "+addon, err)
	}
	return d.follow(ctx, o, t, out.Update)
}

// addonVersion is EKS's default of an add-on for a version of Kubernetes.
func (d *Driver) addonVersion(ctx context.Context, addon string, to cluster.Version) (string, error) {
	pages := eks.NewDescribeAddonVersionsPaginator(d.api, &eks.DescribeAddonVersionsInput{AddonName: &addon, KubernetesVersion: awssdk.String(minor(to))})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return "", aws.Explain("eks:DescribeAddonVersions "+addon, err)
		}
		for _, a := range p.Addons {
			for _, v := range a.AddonVersions {
				for _, c := range v.Compatibilities {
					if c.DefaultVersion && value(c.ClusterVersion) == minor(to) {
						return value(v.AddonVersion), nil
					}
				}
			}
		}
	}
	return "", fmt.Errorf("add-on %s: EKS has no version of it for Kubernetes %s: remove it, or leave add-ons alone with cluster.eks.keepAddons", addon, minor(to))
}

func (d *Driver) describe(ctx context.Context, name string) (*types.Cluster, error) {
	out, err := d.api.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if aws.Code(err) == "ResourceNotFoundException" {
		return nil, fmt.Errorf("%w: region %s has no EKS cluster %s; check name, region and account", errNoCluster, d.o.Clients.Region, name)
	}
	if err != nil {
		return nil, aws.Explain("eks:DescribeCluster "+name, err)
	}
	return out.Cluster, nil
}

var errNoCluster = errors.New("no such cluster")

// groups are all managed node groups, by name.
func (d *Driver) groups(ctx context.Context, name string) ([]types.Nodegroup, error) {
	var all []types.Nodegroup
	pages := eks.NewListNodegroupsPaginator(d.api, &eks.ListNodegroupsInput{ClusterName: &name})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, aws.Explain("eks:ListNodegroups "+name, err)
		}
		for _, gn := range p.Nodegroups {
			out, err := d.api.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &name, NodegroupName: &gn})
			if err != nil {
				return nil, aws.Explain("eks:DescribeNodegroup "+gn, err)
			}
			all = append(all, *out.Nodegroup)
		}
	}
	sort.Slice(all, func(i, j int) bool { return value(all[i].NodegroupName) < value(all[j].NodegroupName) })
	return all, nil
}

func join(all []string) string {
	if len(all) > 5 {
		all = append(all[:5:5], strconv.Itoa(len(all)-5)+" more")
	}
	s := all[0]
	for i, x := range all[1:] {
		if i == len(all)-2 {
			s += " and " + x
		} else {
			s += ", " + x
		}
	}
	return s
}
