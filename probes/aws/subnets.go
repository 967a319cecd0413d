package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// SubnetReader reads subnets.
type SubnetReader interface {
	DescribeSubnets(context.Context, *ec2.DescribeSubnetsInput, ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error)
}

// SubnetNeeds says what subnets must have.
type SubnetNeeds struct {
	IDs []string
	// Least is how many must have Free addresses or more; the rest only warn. EKS
	// wants two with five (its network requirements).
	Least, Free int
	// Zones in which there must be one; none is any.
	Zones []string
}

func finding(id, severity, object, cause, remedy string) record.Finding {
	return record.Finding{ID: id, Severity: severity, Object: object, Cause: cause, Remedy: remedy}
}

// ZonesOf are the zones in which subnets lie, each once, sorted.
func ZonesOf(ctx context.Context, c SubnetReader, ids []string) ([]string, error) {
	zones := map[string]bool{}
	pages := ec2.NewDescribeSubnetsPaginator(c, &ec2.DescribeSubnetsInput{SubnetIds: ids})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, Explain("ec2:DescribeSubnets", err)
		}
		for i := range p.Subnets {
			zones[value(p.Subnets[i].AvailabilityZone)] = true
		}
	}
	return slices.Sorted(maps.Keys(zones)), nil
}

// Subnets checks that the subnets exist, are available, lie in one VPC and in the
// zones wanted, and have addresses free for the machines of an upgrade.
func Subnets(ctx context.Context, c SubnetReader, n SubnetNeeds) ([]record.Finding, error) {
	var all []types.Subnet
	pages := ec2.NewDescribeSubnetsPaginator(c, &ec2.DescribeSubnetsInput{SubnetIds: n.IDs})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if Code(err) == "InvalidSubnetID.NotFound" {
			return []record.Finding{finding("subnet-missing", record.SeverityBlock, "subnets", "one of "+strings.Join(n.IDs, ", ")+" does not exist in this region"+message(err), "correct the subnets, or the region")}, nil
		}
		if err != nil {
			return nil, Explain("ec2:DescribeSubnets", err)
		}
		all = append(all, p.Subnets...)
	}
	var found []record.Finding
	roomy := 0
	vpcs, zones := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		id, free := value(s.SubnetId), int(value(s.AvailableIpAddressCount))
		vpcs[value(s.VpcId)] = true
		zones[value(s.AvailabilityZone)] = true
		switch {
		case s.State != types.SubnetStateAvailable:
			found = append(found, finding("subnet-state", record.SeverityBlock, "subnet/"+id, "its state is "+string(s.State), "wait until it is available, or use another"))
		case free < n.Free:
			found = append(found, finding("subnet-full", record.SeverityWarn, "subnet/"+id, fmt.Sprintf("it has %d free addresses, %d are wanted", free, n.Free), "free addresses (unused network interfaces, old balancers) or add a subnet"))
		default:
			roomy++
		}
	}
	if roomy < n.Least {
		found = append(found, finding("subnets-full", record.SeverityBlock, "subnets", fmt.Sprintf("%d of %d subnets have %d free addresses or more, %d are needed", roomy, len(all), n.Free, n.Least), "free addresses, or add subnets"))
	}
	if len(vpcs) > 1 {
		found = append(found, finding("subnets-apart", record.SeverityBlock, "subnets", fmt.Sprintf("they lie in %d VPCs", len(vpcs)), "name subnets of one VPC"))
	}
	if n.Least > 1 && len(all) > 1 && len(zones) == 1 {
		found = append(found, finding("one-zone", record.SeverityBlock, "subnets", "they all lie in one zone", "name subnets of at least two zones"))
	}
	for _, z := range n.Zones {
		if !zones[z] {
			have := make([]string, 0, len(zones))
			for h := range zones {
				have = append(have, h)
			}
			slices.Sort(have)
			found = append(found, finding("zone-without-subnet", record.SeverityBlock, "zone/"+z, "no subnet lies in it; there are some in "+strings.Join(have, ", "), "add a subnet there, or leave the zone out"))
		}
	}
	return found, nil
}
