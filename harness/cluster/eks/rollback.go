package eks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/record"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// RollBackWorkers implements cluster.RollReverser: managed groups, since EKS
// leaves them to whoever rolls back, and then the add-ons that EKS does not list
// for the version of before. Add-ons that it lists stay as they are
// (https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html).
func (d *Driver) RollBackWorkers(ctx context.Context, c *cluster.Cluster, from cluster.Version, o cluster.RollOptions) error {
	name := d.name(c.Spec)
	groups, err := d.groups(ctx, name)
	if err != nil {
		return err
	}
	for i := range groups {
		if groups[i].AmiType == types.AMITypesCustom {
			return fmt.Errorf("node group %s has an image of its own, and nothing tells which version of its launch template it had: EKS cannot take it back", value(groups[i].NodegroupName))
		}
	}
	if err := d.rollGroups(ctx, name, from, o); err != nil {
		return err
	}
	if err := d.addonsBack(ctx, name, from, o); err != nil {
		return err
	}
	return cloud.AssertKubelets(ctx, c.Client, false, from, runsMinor(from))
}

// RollBackControlPlane implements cluster.RollReverser. EKS grants it within seven
// days of an upgrade in place, by one minor version, and unless an insight of
// rollback readiness is an ERROR. A refusal is told with those insights.
func (d *Driver) RollBackControlPlane(ctx context.Context, c *cluster.Cluster, from cluster.Version, o cluster.RollOptions) error {
	err := d.controlPlane(ctx, c, from, o, func(*types.Cluster) error { return nil })
	if err == nil || ctx.Err() != nil {
		return err
	}
	name := d.name(c.Spec)
	found, lookErr := d.insights(ctx, name, types.CategoryRollbackReadiness, nil)
	if lookErr != nil {
		return fmt.Errorf("%w; what keeps it from going back could not be seen: %w", err, lookErr)
	}
	for _, f := range found {
		if f.Severity == record.SeverityBlock {
			err = fmt.Errorf("%w; %s: %s; %s", err, f.Object, f.Cause, f.Remedy)
		}
	}
	return err
}

// addonsBack takes each add-on that EKS does not list for the version to EKS'
// default for it.
func (d *Driver) addonsBack(ctx context.Context, name string, from cluster.Version, o cluster.RollOptions) error {
	return d.eachAddon(ctx, name, o, func(addon string) (func(string) string, error) {
		listed, err := d.addonVersions(ctx, addon, from)
		if err != nil {
			return nil, err
		}
		def, err := d.addonVersion(ctx, addon, from)
		return func(now string) string {
			if slices.Contains(listed, now) {
				return now
			}
			return def
		}, err
	})
}

// addonVersions are those of an add-on that EKS lists for a version.
func (d *Driver) addonVersions(ctx context.Context, addon string, v cluster.Version) ([]string, error) {
	var have []string
	pages := eks.NewDescribeAddonVersionsPaginator(d.api, &eks.DescribeAddonVersionsInput{AddonName: &addon, KubernetesVersion: awssdk.String(minor(v))})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, aws.Explain("eks:DescribeAddonVersions "+addon, err)
		}
		for _, a := range p.Addons {
			for _, x := range a.AddonVersions {
				have = append(have, value(x.AddonVersion))
			}
		}
	}
	return have, nil
}

// canGoBack finds what would keep a cluster from going back once it is upgraded.
func (d *Driver) canGoBack(from, to cluster.Version, groups []types.Nodegroup) []record.Finding {
	if !d.o.Rollback {
		return nil
	}
	var all []record.Finding
	if to.Minor()-from.Minor() != 1 {
		all = append(all, block("rollback-minors", "upgrade.rollback", fmt.Sprintf("EKS takes a cluster back by one minor version, and the upgrade goes from %s to %s", minor(from), minor(to)), "rehearse one minor version at a time, or leave upgrade.rollback out"))
	}
	var custom []string
	for _, g := range groups {
		if g.AmiType == types.AMITypesCustom {
			custom = append(custom, value(g.NodegroupName))
		}
	}
	if len(custom) > 0 {
		all = append(all, block("rollback-image", "nodegroup/"+strings.Join(custom, ","), "it has an image of its own, which EKS cannot take back to the version of before", "leave upgrade.rollback out"))
	}
	return all
}
