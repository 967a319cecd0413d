// Package fromeks tells facts of a production cluster from EKS, and what the
// driver eks needs to make a mirror of it.
//
// It calls operations that describe and list, and no other: the interfaces have
// none, and a client made with aws.ReadOnly refuses the rest. Of an add-on's
// configuration only that there is one is kept, since it may hold secrets.
package fromeks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/kube-rehearse/rehearse/harness/mirror"
	"github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Reader is what is asked of EKS.
type Reader interface {
	eks.DescribeClusterAPIClient
	eks.ListNodegroupsAPIClient
	eks.DescribeNodegroupAPIClient
	eks.ListAddonsAPIClient
	eks.DescribeAddonAPIClient
}

// Source is one cluster of EKS.
type Source struct {
	eks          Reader
	ec2          aws.SubnetReader
	region, name string

	cluster *types.Cluster
	groups  []types.Nodegroup
	addons  []types.Addon
	zones   map[string]string // of subnets; nil where they cannot be read
	zoneErr error
}

var _ mirror.Source = (*Source)(nil)

// Read reads the cluster. What is not there or cannot be read at all is an error
// with its remedy; subnets that cannot be read are an unknown fact.
func Read(ctx context.Context, reader Reader, subnets aws.SubnetReader, region, name string) (*Source, error) {
	s := &Source{eks: reader, ec2: subnets, region: region, name: name}
	out, err := reader.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if aws.Code(err) == "ResourceNotFoundException" {
		return nil, fmt.Errorf("region %s has no EKS cluster %s; check name, region and account", region, name)
	}
	if err != nil {
		return nil, aws.Explain("eks:DescribeCluster "+name, err)
	}
	s.cluster = out.Cluster
	if err := s.readGroups(ctx); err != nil {
		return nil, err
	}
	if err := s.readAddons(ctx); err != nil {
		return nil, err
	}
	s.readZones(ctx)
	return s, nil
}

func (s *Source) readGroups(ctx context.Context) error {
	pages := eks.NewListNodegroupsPaginator(s.eks, &eks.ListNodegroupsInput{ClusterName: &s.name})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return aws.Explain("eks:ListNodegroups "+s.name, err)
		}
		for _, n := range p.Nodegroups {
			out, err := s.eks.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &s.name, NodegroupName: &n})
			if err != nil {
				return aws.Explain("eks:DescribeNodegroup "+n, err)
			}
			s.groups = append(s.groups, *out.Nodegroup)
		}
	}
	slices.SortFunc(s.groups, func(a, b types.Nodegroup) int { return strings.Compare(value(a.NodegroupName), value(b.NodegroupName)) })
	return nil
}

func (s *Source) readAddons(ctx context.Context) error {
	pages := eks.NewListAddonsPaginator(s.eks, &eks.ListAddonsInput{ClusterName: &s.name})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return aws.Explain("eks:ListAddons "+s.name, err)
		}
		for _, n := range p.Addons {
			out, err := s.eks.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: &s.name, AddonName: &n})
			if err != nil {
				return aws.Explain("eks:DescribeAddon "+n, err)
			}
			s.addons = append(s.addons, *out.Addon)
		}
	}
	slices.SortFunc(s.addons, func(a, b types.Addon) int { return strings.Compare(value(a.AddonName), value(b.AddonName)) })
	return nil
}

func (s *Source) readZones(ctx context.Context) {
	ids := s.allSubnets()
	if len(ids) == 0 {
		return
	}
	zones := map[string]string{}
	pages := ec2.NewDescribeSubnetsPaginator(s.ec2, &ec2.DescribeSubnetsInput{SubnetIds: ids})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			s.zoneErr = aws.Explain("ec2:DescribeSubnets", err)
			return
		}
		for _, n := range p.Subnets {
			zones[value(n.SubnetId)] = value(n.AvailabilityZone)
		}
	}
	s.zones = zones
}

// allSubnets are the cluster's and its groups', each once.
func (s *Source) allSubnets() []string {
	var all []string
	if vpc := s.cluster.ResourcesVpcConfig; vpc != nil {
		all = append(all, vpc.SubnetIds...)
	}
	return unique(append(all, s.groupSubnets()...))
}

func (s *Source) groupSubnets() []string {
	var all []string
	for _, g := range s.groups {
		all = append(all, g.Subnets...)
	}
	return unique(all)
}

func unique(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return slices.Compact(all)
}

// Name implements mirror.Source.
func (s *Source) Name() string { return "EKS cluster " + s.name + " in " + s.region }

// Groups are the names of the managed node groups.
func (s *Source) Groups() []string {
	names := make([]string, len(s.groups))
	for i := range s.groups {
		names[i] = value(s.groups[i].NodegroupName)
	}
	return names
}

// Block is what the driver eks needs to make a cluster like it. The mirror's
// machines go into the subnets of production's groups, which lead to where nodes
// have to go; the cluster's own may be public ones for balancers alone.
func (s *Source) Block(profile string) *scenarios.EKS {
	e := &scenarios.EKS{Region: s.region, Profile: profile, ClusterRole: value(s.cluster.RoleArn), Addons: map[string]string{}}
	if e.Subnets = s.groupSubnets(); len(s.zonesOf(e.Subnets)) < 2 && s.cluster.ResourcesVpcConfig != nil {
		e.Subnets = unique(s.cluster.ResourcesVpcConfig.SubnetIds)
	}
	images := map[types.AMITypes]bool{}
	for i := range s.groups {
		g := &s.groups[i]
		if e.NodeRole == "" {
			e.NodeRole = value(g.NodeRole)
		}
		e.InstanceTypes = append(e.InstanceTypes, g.InstanceTypes...)
		images[g.AmiType] = true
	}
	e.InstanceTypes = unique(e.InstanceTypes)
	for image := range images {
		if len(images) == 1 && image != types.AMITypesCustom {
			e.AMIType = string(image)
		}
	}
	for _, a := range s.addons {
		e.Addons[value(a.AddonName)] = value(a.AddonVersion)
	}
	return e
}

// zonesOf are the zones of subnets; each counts as one of its own where zones
// could not be read.
func (s *Source) zonesOf(subnets []string) map[string]bool {
	in := map[string]bool{}
	for _, id := range subnets {
		if z := s.zones[id]; z != "" {
			id = z
		}
		in[id] = true
	}
	return in
}

// Facts implements mirror.Source. It asks nothing: Read has done so.
func (s *Source) Facts(context.Context) ([]mirror.Fact, error) {
	f := &facts{}
	c := s.cluster
	const describe = "eks:DescribeCluster"
	f.observed(mirror.FactPlatform, mirror.PlatformEKS, describe)
	f.observed(mirror.FactSpecVersion, joined(value(c.Version), "platform", value(c.PlatformVersion)), describe)
	if p := c.UpgradePolicy; p != nil {
		f.observed("support", string(p.SupportType), describe)
	}
	if vpc := c.ResourcesVpcConfig; vpc != nil {
		f.observed(mirror.FactVPC, value(vpc.VpcId), describe)
		f.observed(mirror.FactAPIAccess, access(vpc), describe)
	}
	if n := c.KubernetesNetworkConfig; n != nil {
		f.observed(mirror.FactServiceCIDR, value(n.ServiceIpv4Cidr)+value(n.ServiceIpv6Cidr), describe)
	}
	if a := c.AccessConfig; a != nil {
		f.observed("authentication", string(a.AuthenticationMode), describe)
	}
	s.subnets(f)
	s.roles(f)
	types := map[string]int{}
	for i := range s.groups {
		g := &s.groups[i]
		f.observed(mirror.GroupPrefix+value(g.NodegroupName), group(g), "eks:DescribeNodegroup")
		for _, t := range g.InstanceTypes {
			types[t] += int(value(value(g.ScalingConfig).DesiredSize))
		}
	}
	if len(s.groups) == 0 {
		f.unknown("managed-node-groups", "eks:ListNodegroups names none: the nodes are run by something else")
	}
	f.add(mirror.FactInstanceTypes, mirror.Tally(types), mirror.Inferred, "instance types and desired sizes of the groups, eks:DescribeNodegroup")
	for i := range s.addons {
		a := &s.addons[i]
		f.observed(mirror.EKSAddonPrefix+value(a.AddonName), value(a.AddonVersion), "eks:DescribeAddon")
	}
	f.observed(mirror.FactTies, s.ties(), describe+", eks:DescribeNodegroup and eks:DescribeAddon")
	return f.all, nil
}

func access(vpc *types.VpcConfigResponse) string {
	var ways []string
	if vpc.EndpointPublicAccess {
		ways = append(ways, "public from "+strings.Join(vpc.PublicAccessCidrs, " "))
	}
	if vpc.EndpointPrivateAccess {
		ways = append(ways, "private")
	}
	return strings.Join(ways, ", ")
}

func (s *Source) subnets(f *facts) {
	all := s.allSubnets()
	if s.zones == nil && len(all) > 0 {
		f.observed(mirror.FactSubnets, strings.Join(all, ", "), "eks:DescribeCluster and eks:DescribeNodegroup")
		f.unknown("subnet-zones", "%v", s.zoneErr)
		return
	}
	for i, id := range all {
		if z := s.zones[id]; z != "" {
			all[i] = id + " in " + z
		}
	}
	f.observed(mirror.FactSubnets, strings.Join(all, ", "), "eks:DescribeCluster, eks:DescribeNodegroup and ec2:DescribeSubnets")
}

func (s *Source) roles(f *facts) {
	nodes := map[string]bool{}
	for _, g := range s.groups {
		nodes[value(g.NodeRole)] = true
	}
	delete(nodes, "")
	f.observed(mirror.FactRoles, joined("of the cluster", value(s.cluster.RoleArn)+",", "of nodes", strings.Join(slices.Sorted(maps.Keys(nodes)), " and ")), "eks:DescribeCluster and eks:DescribeNodegroup")
}

// group words what a group is like.
func group(g *types.Nodegroup) string {
	var parts []string
	part := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if z := g.ScalingConfig; z != nil {
		part("%d of %d to %d", value(z.DesiredSize), value(z.MinSize), value(z.MaxSize))
	}
	if len(g.InstanceTypes) > 0 {
		part("%s", strings.Join(g.InstanceTypes, " or "))
	}
	part("%s %s", g.AmiType, value(g.ReleaseVersion))
	if g.CapacityType != "" && g.CapacityType != types.CapacityTypesOnDemand {
		part("%s", g.CapacityType)
	}
	if g.DiskSize != nil {
		part("%d GiB", *g.DiskSize)
	}
	if t := g.LaunchTemplate; t != nil {
		part(mirror.LaunchTemplate+" %s version %s", value(t.Id), value(t.Version))
	}
	if u := g.UpdateConfig; u != nil {
		switch {
		case u.MaxUnavailablePercentage != nil:
			part("updated %d%% at once", *u.MaxUnavailablePercentage)
		case u.MaxUnavailable != nil:
			part("updated %d at once", *u.MaxUnavailable)
		}
		if u.UpdateStrategy != "" {
			part("%s", u.UpdateStrategy)
		}
	}
	if n := len(g.Taints); n > 0 {
		part("%s", mirror.Count(n, "taint"))
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, ", ")
}

// ties are what a mirror of the driver eks does not take over.
func (s *Source) ties() string {
	var all []string
	c := s.cluster
	if len(c.EncryptionConfig) > 0 {
		all = append(all, "secrets encrypted with a key of KMS")
	}
	if p := c.ComputeConfig; p != nil && value(p.Enabled) {
		all = append(all, "auto mode")
	}
	if v := c.ResourcesVpcConfig; v != nil && len(v.SecurityGroupIds) > 0 {
		all = append(all, "security groups of its own")
	}
	if v := c.ResourcesVpcConfig; v != nil && !v.EndpointPublicAccess {
		all = append(all, "a private API only")
	}
	if slices.ContainsFunc(s.groups, func(g types.Nodegroup) bool { return g.LaunchTemplate != nil }) {
		all = append(all, "launch templates")
	}
	if slices.ContainsFunc(s.groups, func(g types.Nodegroup) bool { return len(g.Taints) > 0 || len(g.Labels) > 0 }) {
		all = append(all, "labels and taints of groups")
	}
	if slices.ContainsFunc(s.groups, func(g types.Nodegroup) bool { return g.CapacityType == types.CapacityTypesSpot }) {
		all = append(all, "spot capacity")
	}
	for _, x := range []struct {
		what string
		has  func(types.Addon) bool
	}{
		{"configuration of", func(a types.Addon) bool { return value(a.ConfigurationValues) != "" }},
		{"roles of", func(a types.Addon) bool {
			return value(a.ServiceAccountRoleArn) != "" || len(a.PodIdentityAssociations) > 0
		}},
	} {
		var names []string
		for _, a := range s.addons {
			if x.has(a) {
				names = append(names, value(a.AddonName))
			}
		}
		if len(names) > 0 {
			all = append(all, x.what+" the add-ons "+strings.Join(names, " and "))
		}
	}
	return strings.Join(all, ", ")
}

type facts struct{ all []mirror.Fact }

func (f *facts) add(name, value string, c mirror.Certainty, evidence string) {
	if value != "" {
		f.all = append(f.all, mirror.Fact{Name: name, Value: value, Certainty: c, Evidence: evidence})
	}
}

func (f *facts) observed(name, value, evidence string) { f.add(name, value, mirror.Observed, evidence) }

func (f *facts) unknown(name, format string, args ...any) {
	f.all = append(f.all, mirror.Fact{Name: name, Certainty: mirror.Unknown, Evidence: fmt.Sprintf(format, args...)})
}

// joined puts words together, and is empty where the last is.
func joined(words ...string) string {
	if words[len(words)-1] == "" {
		words = words[:max(len(words)-2, 0)]
	}
	return strings.Join(words, " ")
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
