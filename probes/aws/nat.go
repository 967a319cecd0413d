package aws

import (
	"context"
	"maps"
	"slices"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// NATReader reads the account's addresses and NAT gateways, and where they lie.
type NATReader interface {
	SubnetReader
	// DescribeAddresses lists Elastic IPs, in use or not.
	DescribeAddresses(context.Context, *ec2.DescribeAddressesInput, ...func(*ec2.Options)) (*ec2.DescribeAddressesOutput, error)
	// DescribeNatGateways lists NAT gateways, also such as are gone.
	DescribeNatGateways(context.Context, *ec2.DescribeNatGatewaysInput, ...func(*ec2.Options)) (*ec2.DescribeNatGatewaysOutput, error)
}

// NATActions are those by which kops makes the way out of private subnets.
var NATActions = []string{"ec2:AllocateAddress", "ec2:CreateNatGateway", "ec2:ReleaseAddress", "ec2:DeleteNatGateway"}

// QuotaAddresses limits the Elastic IPs of a region.
func QuotaAddresses(used, more float64) Quota {
	return Quota{"ec2", "L-0263D0A3", "Elastic IPs in a region", used, more}
}

// QuotaNATs limits the NAT gateways of each zone.
func QuotaNATs(zone string, used, more float64) Quota {
	return Quota{"vpc", "L-FE5A380F", "NAT gateways in zone " + zone, used, more}
}

// NATs are the quotas that one more NAT gateway in each of the zones, with an
// address for each, counts towards: the addresses of the region, and the gateways
// of the zone that has most.
func NATs(ctx context.Context, c NATReader, zones []string) ([]Quota, error) {
	if len(zones) == 0 {
		return nil, nil
	}
	out, err := c.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	if err != nil {
		return nil, Explain("ec2:DescribeAddresses", err)
	}
	used, err := usedNATs(ctx, c)
	if err != nil {
		return nil, err
	}
	fullest := slices.MaxFunc(slices.Sorted(slices.Values(zones)), func(a, b string) int { return int(used[a] - used[b]) })
	return []Quota{QuotaAddresses(float64(len(out.Addresses)), float64(len(zones))), QuotaNATs(fullest, used[fullest], 1)}, nil
}

// usedNATs is how many NAT gateways each zone has. Those that are being made or
// deleted count, too
// (https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html).
func usedNATs(ctx context.Context, c NATReader) (map[string]float64, error) {
	subnets := map[string]float64{} // how many lie in each
	pages := ec2.NewDescribeNatGatewaysPaginator(c, &ec2.DescribeNatGatewaysInput{
		Filter: []types.Filter{{Name: awssdk.String("state"), Values: []string{"pending", "available", "deleting"}}},
	})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, Explain("ec2:DescribeNatGateways", err)
		}
		for i := range p.NatGateways {
			if id := value(p.NatGateways[i].SubnetId); id != "" { // a regional one is of no zone
				subnets[id]++
			}
		}
	}
	used := map[string]float64{}
	if len(subnets) == 0 {
		return used, nil
	}
	in := ec2.NewDescribeSubnetsPaginator(c, &ec2.DescribeSubnetsInput{SubnetIds: slices.Sorted(maps.Keys(subnets))})
	for in.HasMorePages() {
		p, err := in.NextPage(ctx)
		if err != nil {
			return nil, Explain("ec2:DescribeSubnets", err)
		}
		for i := range p.Subnets {
			used[value(p.Subnets[i].AvailabilityZone)] += subnets[value(p.Subnets[i].SubnetId)]
		}
	}
	return used, nil
}
