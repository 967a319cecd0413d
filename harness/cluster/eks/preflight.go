package eks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// Preflight implements cluster.Preflighter: credentials, the cluster or what one
// is to be made of, groups, subnets, insights, quotas and permissions. Nothing is
// created.
func (d *Driver) Preflight(ctx context.Context, s cluster.Spec, to cluster.Version) ([]record.Finding, error) {
	who, err := aws.WhoAmI(ctx, d.o.Clients.STS)
	if err != nil {
		return nil, err
	}
	findings := d.options()
	name := d.name(s)
	now, err := d.describe(ctx, name)
	if d.o.Existing == "" {
		switch {
		case err == nil:
			findings = append(findings, block("cluster-exists", "cluster/"+name, "EKS has a cluster of this name already, in state "+string(now.Status), "wait until it is gone, or name it in cluster.eks.existing to upgrade it"))
		case !errors.Is(err, errNoCluster):
			return findings, err
		}
		var all checks
		all.add(d.checkAddons(ctx, s.Version))
		all.add(d.canGoBack(s.Version, to, nil), nil)
		if len(d.o.Subnets) > 0 {
			all.add(d.accountToMake(ctx, who, s))
		}
		more, err := all.result()
		return append(findings, more...), err
	}
	if errors.Is(err, errNoCluster) {
		return append(findings, block("cluster-missing", "cluster/"+name, "region "+d.o.Clients.Region+" has no EKS cluster of this name", "check name, region and account")), nil
	}
	if err != nil {
		return findings, err
	}
	more, err := d.existing(ctx, who, s, to, now)
	return append(findings, more...), err
}

// existing checks a cluster that is there, and the account for its upgrade.
func (d *Driver) existing(ctx context.Context, who aws.Identity, s cluster.Spec, to cluster.Version, now *types.Cluster) ([]record.Finding, error) {
	name := d.name(s)
	var all checks
	if now.Status != types.ClusterStatusActive {
		all.add([]record.Finding{block("cluster-busy", "cluster/"+name, "its state is "+string(now.Status), "wait until it is ACTIVE")}, nil)
	}
	if got := value(now.Version); got != minor(s.Version) {
		all.add([]record.Finding{block("cluster-version", "cluster/"+name, fmt.Sprintf("it runs %s, the scenario starts from %s", got, minor(s.Version)), "correct versions.from")}, nil)
	}
	groups, err := d.groups(ctx, name)
	if err != nil {
		all.add(nil, err)
		return all.result()
	}
	all.add(d.checkGroups(groups, value(now.Version)), nil)
	all.add(d.canGoBack(s.Version, to, groups), nil)
	if auto := now.ComputeConfig; auto != nil && value(auto.Enabled) {
		all.add([]record.Finding{{ID: "auto-mode", Severity: record.SeverityWarn, Object: "cluster/" + name, Cause: "EKS runs it in auto mode: it moves the nodes of that mode in its own time after the control plane, and this driver does not wait for them", Remedy: "expect the roll to fail with their names, or rehearse with managed groups alone"}}, nil)
	}
	all.add(d.workers(s, groups), nil)
	if vpc := now.ResourcesVpcConfig; vpc != nil {
		all.add(aws.Subnets(ctx, d.o.Clients.EC2, aws.SubnetNeeds{IDs: vpc.SubnetIds, Least: 2, Free: 5}))
	}
	for _, v := range minors(cluster.Version("v"+value(now.Version)+".0"), to) {
		all.add(d.Insights(ctx, name, v))
	}
	all.add(d.accountOfExisting(ctx, who, groups))
	all.add(d.reach(ctx, s))
	return all.result()
}

func block(id, object, cause, remedy string) record.Finding {
	return record.Finding{ID: id, Severity: record.SeverityBlock, Object: object, Cause: cause, Remedy: remedy}
}

// options finds what is missing or contradicts itself in the scenario.
func (d *Driver) options() []record.Finding {
	var all []record.Finding
	bad := func(field, cause, remedy string) {
		all = append(all, block("eks-options", "cluster.eks."+field, cause, remedy))
	}
	if d.o.CanaryImage == "" {
		all = append(all, block("eks-options", "canary.image", "nodes in AWS cannot take the canary's image from this machine", "push it to a registry that the nodes can pull from and name it"))
	}
	if d.o.MaxUnavailable > 0 && d.o.MaxUnavailPC > 0 {
		bad("maxUnavailable", "both a number and a percentage are given", "give one of the two")
	}
	switch d.o.Strategy {
	case "", string(types.NodegroupUpdateStrategiesDefault), string(types.NodegroupUpdateStrategiesMinimal):
	default:
		bad("strategy", fmt.Sprintf("%q is unknown", d.o.Strategy), "use DEFAULT, which surges, or MINIMAL, which removes first")
	}
	if d.o.Existing == "" {
		if len(d.o.Subnets) < 2 {
			bad("subnets", fmt.Sprintf("%d subnets are given", len(d.o.Subnets)), "name at least two, in different zones, or name a cluster in cluster.eks.existing")
		}
		if d.o.ClusterRole == "" || d.o.NodeRole == "" {
			bad("clusterRole", "a cluster needs the ARNs of two roles, clusterRole and nodeRole", "make them with the policies that docs/guides/eks.md lists, or name a cluster in cluster.eks.existing")
		}
	}
	if d.o.Force {
		all = append(all, record.Finding{ID: "eks-force", Severity: record.SeverityWarn, Object: "cluster.eks.force", Cause: "EKS will delete pods that a budget keeps from being evicted, so a blocked drain will not show", Remedy: "leave it out unless production is upgraded with it too"})
	}
	return all
}

// checkAddons finds add-ons that EKS has not, or not in that version for the
// cluster's: it would say so only once the cluster costs money.
func (d *Driver) checkAddons(ctx context.Context, v cluster.Version) ([]record.Finding, error) {
	var all []record.Finding
	for _, addon := range slices.Sorted(maps.Keys(d.o.Addons)) {
		have, err := d.addonVersions(ctx, addon, v)
		if err != nil {
			return all, err
		}
		if want := d.o.Addons[addon]; len(have) == 0 || want != "" && !slices.Contains(have, want) {
			all = append(all, block("addon-version", "addon/"+addon, fmt.Sprintf("EKS has no %s of it for Kubernetes %s", orAny(want), minor(v)),
				fmt.Sprintf("aws eks describe-addon-versions --region %s --addon-name %s --kubernetes-version %s lists what there is; correct cluster.eks.addons", d.o.Clients.Region, addon, minor(v))))
		}
	}
	return all, nil
}

func orAny(version string) string {
	if version == "" {
		return "version"
	}
	return "version " + version
}

func (d *Driver) checkGroups(groups []types.Nodegroup, version string) []record.Finding {
	var all []record.Finding
	if len(groups) == 0 {
		all = append(all, block("no-managed-groups", "cluster", "the cluster has no managed node group, and this driver rolls no other nodes", "roll them with the driver existing and a command of your own"))
	}
	if err := groupsBehind(groups, version); err != nil {
		all = append(all, block("groups-behind", "cluster", err.Error(), "aws eks update-nodegroup-version for each of them"))
	}
	for _, g := range groups {
		gn := value(g.NodegroupName)
		if g.Status != types.NodegroupStatusActive {
			all = append(all, block("group-state", "nodegroup/"+gn, "its state is "+string(g.Status), "bring it to ACTIVE first: EKS refuses to update it"))
		}
		if h := g.Health; h != nil {
			for _, i := range h.Issues {
				all = append(all, record.Finding{ID: "group-health", Severity: record.SeverityWarn, Object: "nodegroup/" + gn, Cause: fmt.Sprintf("%s: %s", i.Code, value(i.Message)), Remedy: "mend it first, or the update may end with it"})
			}
		}
		if g.AmiType == types.AMITypesCustom && d.o.LaunchTemplates[gn] == "" {
			all = append(all, block("custom-image", "nodegroup/"+gn, "it has an image of its own, which EKS cannot replace", "make a version of its launch template with an image for the target and name it in cluster.eks.launchTemplates"))
		}
	}
	return all
}

// maxInsightAge is how old EKS's own look at the cluster may be: it looks once a
// day.
const maxInsightAge = 24 * time.Hour

// Insights reads EKS's findings on the readiness for a version: ERROR blocks,
// WARNING and UNKNOWN warn, and so do insights that are old or absent, which
// must not pass for readiness.
func (d *Driver) Insights(ctx context.Context, name string, to cluster.Version) ([]record.Finding, error) {
	return d.insights(ctx, name, types.CategoryUpgradeReadiness, []string{minor(to)})
}

// insights are those of a category, for some versions or, with none, for all.
func (d *Driver) insights(ctx context.Context, name string, category types.Category, versions []string) ([]record.Finding, error) {
	var all []record.Finding
	seen := 0
	pages := eks.NewListInsightsPaginator(d.api, &eks.ListInsightsInput{ClusterName: &name, Filter: &types.InsightsFilter{
		Categories: []types.Category{category}, KubernetesVersions: versions,
	}})
	refresh := fmt.Sprintf("aws eks start-insights-refresh --region %s --cluster-name %s, and start again", d.o.Clients.Region, name)
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return all, aws.Explain("eks:ListInsights "+name, err)
		}
		for _, i := range p.Insights {
			seen++
			f, err := d.insight(ctx, name, i)
			if err != nil {
				return all, err
			}
			all = append(all, f...)
			if age := time.Since(value(i.LastRefreshTime)); age > maxInsightAge {
				all = append(all, record.Finding{ID: "insight-old", Severity: record.SeverityWarn, Object: "insight/" + value(i.Name), Cause: fmt.Sprintf("EKS looked %s ago: what was done since is not in it", age.Round(time.Hour)), Remedy: refresh})
			}
		}
	}
	if seen == 0 && category == types.CategoryUpgradeReadiness {
		all = append(all, record.Finding{ID: "insights-none", Severity: record.SeverityWarn, Object: "cluster/" + name, Cause: "EKS has no insights on the upgrade to " + strings.Join(versions, ", ") + ": it may not have looked yet", Remedy: refresh})
	}
	return all, nil
}

func (d *Driver) insight(ctx context.Context, name string, i types.InsightSummary) ([]record.Finding, error) {
	status := types.InsightStatusValueUnknown
	reason := ""
	if i.InsightStatus != nil {
		status, reason = i.InsightStatus.Status, value(i.InsightStatus.Reason)
	}
	if status == types.InsightStatusValuePassing {
		return nil, nil
	}
	f := record.Finding{ID: "insight", Severity: record.SeverityWarn, Object: "insight/" + value(i.Name), Cause: fmt.Sprintf("%s: %s", status, reason)}
	if status == types.InsightStatusValueError && !d.o.Force {
		f.Severity = record.SeverityBlock
	}
	out, err := d.api.DescribeInsight(ctx, &eks.DescribeInsightInput{ClusterName: &name, Id: awssdk.String(value(i.Id))})
	if err != nil {
		return nil, aws.Explain("eks:DescribeInsight "+value(i.Id), err)
	}
	f.Remedy = value(out.Insight.Recommendation)
	if f.Remedy == "" {
		f.Remedy = "look at it in the console of EKS"
	}
	var on []string
	for _, r := range out.Insight.Resources {
		on = append(on, value(r.KubernetesResourceUri)+value(r.Arn))
	}
	if len(on) > 0 {
		f.Cause += " (" + join(on) + ")"
	}
	return []record.Finding{f}, nil
}
