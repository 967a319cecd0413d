package account

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sort"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"k8s.io/kops/cloudmock/aws/mockec2"

	"github.com/kube-rehearse/rehearse/test/awssim/wire"
)

// ec2API is EC2: cloudmock's, and what it lacks.
type ec2API struct {
	*mockec2.MockEC2
	a         *Account
	templates map[string]*template
	made      int // templates
}

// matches tells whether a resource with these tags and properties passes all
// filters. A filter on a property that is not given is a gap.
func matches(filters []types.Filter, tags, properties map[string]string) (bool, error) {
	for _, f := range filters {
		name := aws.ToString(f.Name)
		var has string
		known := true
		switch {
		case strings.HasPrefix(name, "tag:"):
			if has, known = tags[name[len("tag:"):]]; !known {
				return false, nil
			}
		case name == "tag-key":
			if !slices.ContainsFunc(f.Values, func(k string) bool { _, ok := tags[k]; return ok }) {
				return false, nil
			}
			continue
		default:
			if has, known = properties[name]; !known {
				return false, &wire.Gap{What: "a filter by " + name}
			}
		}
		if !slices.Contains(f.Values, has) {
			return false, nil
		}
	}
	return true, nil
}

func sorted(tags map[string]string) []types.Tag {
	var all []types.Tag
	for k, v := range tags {
		all = append(all, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	sort.Slice(all, func(i, j int) bool { return *all[i].Key < *all[j].Key })
	return all
}

// CreateTags tags instances and templates here, all else in the mock.
func (e *ec2API) CreateTags(ctx context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	for _, id := range in.Resources {
		var tags map[string]string
		if i := e.a.instances[id]; i != nil {
			tags = i.tags
		} else if t := e.templates[id]; t != nil {
			tags = t.tags
		} else {
			one := *in
			one.Resources = []string{id}
			e.untag(id, in.Tags)
			if _, err := e.MockEC2.CreateTags(ctx, &one); err != nil {
				return nil, err
			}
			continue
		}
		for _, t := range in.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	return &ec2.CreateTagsOutput{}, nil
}

// untag drops tags that are about to be set anew: the mock would keep both.
func (e *ec2API) untag(id string, tags []types.Tag) {
	e.Tags = slices.DeleteFunc(e.Tags, func(d *types.TagDescription) bool {
		return aws.ToString(d.ResourceId) == id && slices.ContainsFunc(tags, func(t types.Tag) bool { return aws.ToString(t.Key) == aws.ToString(d.Key) })
	})
}

// DescribeTags filters by the resource's id and type and by key, value and tag.
func (e *ec2API) DescribeTags(_ context.Context, in *ec2.DescribeTagsInput, _ ...func(*ec2.Options)) (*ec2.DescribeTagsOutput, error) {
	all := slices.Clone(e.Tags)
	for id, i := range e.a.instances {
		for _, t := range sorted(i.tags) {
			all = append(all, &types.TagDescription{ResourceId: aws.String(id), ResourceType: types.ResourceTypeInstance, Key: t.Key, Value: t.Value})
		}
	}
	for id, t := range e.templates {
		for _, t := range sorted(t.tags) {
			all = append(all, &types.TagDescription{ResourceId: aws.String(id), ResourceType: types.ResourceTypeLaunchTemplate, Key: t.Key, Value: t.Value})
		}
	}
	out := &ec2.DescribeTagsOutput{}
	for _, t := range all {
		ok, err := matches(in.Filters, map[string]string{aws.ToString(t.Key): aws.ToString(t.Value)}, map[string]string{
			"resource-id": aws.ToString(t.ResourceId), "resource-type": string(t.ResourceType), "key": aws.ToString(t.Key), "value": aws.ToString(t.Value),
		})
		if err != nil {
			return nil, err
		}
		if ok {
			out.Tags = append(out.Tags, *t)
		}
	}
	return out, nil
}

// DetachInternetGateway refuses a gateway that is not attached, by which kops
// knows that it is done; the mock compares pointers.
func (e *ec2API) DetachInternetGateway(_ context.Context, in *ec2.DetachInternetGatewayInput, _ ...func(*ec2.Options)) (*ec2.DetachInternetGatewayOutput, error) {
	g := e.InternetGateways[aws.ToString(in.InternetGatewayId)]
	if g == nil {
		return nil, wire.Fail("InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist", aws.ToString(in.InternetGatewayId))
	}
	left := slices.DeleteFunc(slices.Clone(g.Attachments), func(x types.InternetGatewayAttachment) bool {
		return aws.ToString(x.VpcId) == aws.ToString(in.VpcId)
	})
	if len(left) == len(g.Attachments) {
		return nil, wire.Fail("Gateway.NotAttached", "resource %s is not attached to network %s", aws.ToString(in.InternetGatewayId), aws.ToString(in.VpcId))
	}
	g.Attachments = left
	return &ec2.DetachInternetGatewayOutput{}, nil
}

// DescribeVolumes takes ids too, at which the mock ends the process.
func (e *ec2API) DescribeVolumes(ctx context.Context, in *ec2.DescribeVolumesInput, _ ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error) {
	ids := in.VolumeIds
	in.VolumeIds = nil
	out, err := e.MockEC2.DescribeVolumes(ctx, in)
	if err == nil && len(ids) > 0 {
		out.Volumes = slices.DeleteFunc(out.Volumes, func(v types.Volume) bool { return !slices.Contains(ids, aws.ToString(v.VolumeId)) })
	}
	return out, err
}

// DescribeRegions offers one region.
func (e *ec2API) DescribeRegions(context.Context, *ec2.DescribeRegionsInput, ...func(*ec2.Options)) (*ec2.DescribeRegionsOutput, error) {
	return &ec2.DescribeRegionsOutput{Regions: []types.Region{{RegionName: aws.String(Region), OptInStatus: aws.String("opt-in-not-required")}}}, nil
}

// DescribeAvailabilityZones offers the region's zones.
func (e *ec2API) DescribeAvailabilityZones(context.Context, *ec2.DescribeAvailabilityZonesInput, ...func(*ec2.Options)) (*ec2.DescribeAvailabilityZonesOutput, error) {
	out := &ec2.DescribeAvailabilityZonesOutput{}
	for n, z := range Zones {
		out.AvailabilityZones = append(out.AvailabilityZones, types.AvailabilityZone{
			ZoneName: aws.String(z), ZoneId: aws.String(fmt.Sprintf("use1-az%d", n+1)), RegionName: aws.String(Region), State: types.AvailabilityZoneStateAvailable, ZoneType: aws.String("availability-zone"),
		})
	}
	return out, nil
}

// DescribeReservedInstancesOfferings, by which kops asks in which zones there is
// a machine type, offers every type in every zone.
func (e *ec2API) DescribeReservedInstancesOfferings(_ context.Context, in *ec2.DescribeReservedInstancesOfferingsInput, _ ...func(*ec2.Options)) (*ec2.DescribeReservedInstancesOfferingsOutput, error) {
	out := &ec2.DescribeReservedInstancesOfferingsOutput{}
	for _, z := range Zones {
		out.ReservedInstancesOfferings = append(out.ReservedInstancesOfferings, types.ReservedInstancesOffering{InstanceType: in.InstanceType, AvailabilityZone: aws.String(z)})
	}
	return out, nil
}

// DescribeInstanceTypes describes every type alike: two processors, 4 GiB.
func (e *ec2API) DescribeInstanceTypes(_ context.Context, in *ec2.DescribeInstanceTypesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstanceTypesOutput, error) {
	out := &ec2.DescribeInstanceTypesOutput{}
	for _, t := range in.InstanceTypes {
		out.InstanceTypes = append(out.InstanceTypes, types.InstanceTypeInfo{
			InstanceType: t, BareMetal: aws.Bool(false), BurstablePerformanceSupported: aws.Bool(strings.HasPrefix(string(t), "t")), CurrentGeneration: aws.Bool(true),
			SupportedUsageClasses: []types.UsageClassType{types.UsageClassTypeOnDemand, types.UsageClassTypeSpot},
			MemoryInfo:            &types.MemoryInfo{SizeInMiB: aws.Int64(4096)}, VCpuInfo: &types.VCpuInfo{DefaultVCpus: aws.Int32(2), DefaultCores: aws.Int32(1)},
			NetworkInfo:   &types.NetworkInfo{MaximumNetworkInterfaces: aws.Int32(3), Ipv4AddressesPerInterface: aws.Int32(6), EnaSupport: types.EnaSupportRequired},
			ProcessorInfo: &types.ProcessorInfo{SupportedArchitectures: []types.ArchitectureType{types.ArchitectureTypeX8664}},
			Hypervisor:    types.InstanceTypeHypervisorNitro, EbsInfo: &types.EbsInfo{NvmeSupport: types.EbsNvmeSupportRequired},
		})
	}
	return out, nil
}

// DescribeImages has an image of every name that is asked for.
func (e *ec2API) DescribeImages(_ context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	out := &ec2.DescribeImagesOutput{}
	add := func(id, name string) {
		arch := types.ArchitectureValuesX8664
		if strings.Contains(name, "arm64") {
			arch = types.ArchitectureValuesArm64
		}
		out.Images = append(out.Images, types.Image{
			ImageId: aws.String(id), Name: aws.String(name), Architecture: arch, State: types.ImageStateAvailable, RootDeviceName: aws.String("/dev/xvda"),
			CreationDate: aws.String("2026-01-01T00:00:00.000Z"), OwnerId: aws.String("099720109477"), EnaSupport: aws.Bool(true), RootDeviceType: types.DeviceTypeEbs,
		})
	}
	for _, f := range in.Filters {
		if aws.ToString(f.Name) != "name" {
			return nil, &wire.Gap{What: "ec2 DescribeImages by " + aws.ToString(f.Name)}
		}
		for _, name := range f.Values {
			h := fnv.New64a()
			h.Write([]byte(name))
			add(fmt.Sprintf("ami-%017x", h.Sum64()>>4), name)
		}
	}
	for _, id := range in.ImageIds {
		add(id, "image-of-"+id)
	}
	return out, nil
}
