package aws

import (
	"context"
	"maps"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// MachineReader reads the account's machines, what their types are like, and its
// networks: what quotas count.
type MachineReader interface {
	VPCReader
	// DescribeInstances tells state, type, place and CPUs of machines.
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	// DescribeInstanceTypes tells the CPUs of types.
	DescribeInstanceTypes(context.Context, *ec2.DescribeInstanceTypesInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceTypesOutput, error)
}

// standardFamilies count together towards QuotaStandardVCPUs:
// https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html.
var standardFamilies = []string{"a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"}

// Standard tells whether a type counts towards QuotaStandardVCPUs.
func Standard(instanceType string) bool {
	family := instanceType[:max(strings.IndexAny(instanceType, "0123456789"), 0)]
	return slices.Contains(standardFamilies, family)
}

// running are the machines of the ids; without any, all that run or are about to.
func running(ctx context.Context, c MachineReader, ids []string) ([]types.Instance, error) {
	in := &ec2.DescribeInstancesInput{InstanceIds: ids}
	if len(ids) == 0 {
		in.Filters = []types.Filter{{Name: awssdk.String("instance-state-name"), Values: []string{"pending", "running"}}}
	}
	var all []types.Instance
	pages := ec2.NewDescribeInstancesPaginator(c, in)
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, Explain("ec2:DescribeInstances", err)
		}
		for _, r := range p.Reservations {
			all = append(all, r.Instances...)
		}
	}
	return all, nil
}

// UsedVCPUs are the virtual CPUs of the account's machines that count towards
// QuotaStandardVCPUs. Spot machines have a quota of their own.
func UsedVCPUs(ctx context.Context, c MachineReader) (float64, error) {
	all, err := running(ctx, c, nil)
	if err != nil {
		return 0, err
	}
	used := 0.0
	unknown := map[string]float64{} // machines of types whose CPUs are not told
	for i := range all {
		m := &all[i]
		switch {
		case !Standard(string(m.InstanceType)) || m.InstanceLifecycle == types.InstanceLifecycleTypeSpot:
		case m.CpuOptions != nil && m.CpuOptions.CoreCount != nil:
			used += float64(value(m.CpuOptions.CoreCount) * max(value(m.CpuOptions.ThreadsPerCore), 1))
		default:
			unknown[string(m.InstanceType)]++
		}
	}
	if len(unknown) == 0 {
		return used, nil
	}
	per, err := VCPUs(ctx, c, slices.Sorted(maps.Keys(unknown)))
	if err != nil {
		return 0, err
	}
	for t, n := range unknown {
		used += n * per[t]
	}
	return used, nil
}

// VCPUs of types, by name. A type that the region does not have is left out:
// Machines finds it.
func VCPUs(ctx context.Context, c MachineReader, names []string) (map[string]float64, error) {
	per := map[string]float64{}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		out, err := c.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(name)}})
		if Code(err) == "InvalidInstanceType" {
			continue
		}
		if err != nil {
			return nil, Explain("ec2:DescribeInstanceTypes "+name, err)
		}
		for i := range out.InstanceTypes {
			if v := out.InstanceTypes[i].VCpuInfo; v != nil {
				per[name] = float64(value(v.DefaultVCpus))
			}
		}
	}
	return per, nil
}

// UsedVPCs is how many networks the region has.
func UsedVPCs(ctx context.Context, c VPCReader) (float64, error) {
	n := 0
	pages := ec2.NewDescribeVpcsPaginator(c, &ec2.DescribeVpcsInput{})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return 0, Explain("ec2:DescribeVpcs", err)
		}
		n += len(p.Vpcs)
	}
	return float64(n), nil
}

// QuotaVPCs limits the networks of a region.
func QuotaVPCs(used, more float64) Quota {
	return Quota{"vpc", "L-F678F1CE", "VPCs in a region", used, more}
}

// Place is where machines are.
type Place struct{ VPCs, Subnets []string }

// PlaceOf tells in which networks machines are, each once, sorted.
func PlaceOf(ctx context.Context, c MachineReader, ids []string) (Place, error) {
	all, err := running(ctx, c, ids)
	if err != nil {
		return Place{}, err
	}
	vpcs, subnets := map[string]bool{}, map[string]bool{}
	for i := range all {
		if id := value(all[i].VpcId); id != "" {
			vpcs[id] = true
		}
		if id := value(all[i].SubnetId); id != "" {
			subnets[id] = true
		}
	}
	return Place{slices.Sorted(maps.Keys(vpcs)), slices.Sorted(maps.Keys(subnets))}, nil
}
