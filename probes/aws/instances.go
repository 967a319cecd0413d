package aws

import (
	"context"
	"fmt"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// VPCReader reads networks.
type VPCReader interface {
	DescribeVpcs(context.Context, *ec2.DescribeVpcsInput, ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error)
}

// VPC checks that the network exists and is available.
func VPC(ctx context.Context, c VPCReader, id string) ([]record.Finding, error) {
	out, err := c.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
	if Code(err) == "InvalidVpcID.NotFound" || err == nil && len(out.Vpcs) == 0 {
		return []record.Finding{finding("vpc-missing", record.SeverityBlock, "vpc/"+id, "it does not exist in this region", "check its id and the region")}, nil
	}
	if err != nil {
		return nil, Explain("ec2:DescribeVpcs "+id, err)
	}
	if s := out.Vpcs[0].State; s != types.VpcStateAvailable {
		return []record.Finding{finding("vpc-state", record.SeverityBlock, "vpc/"+id, "its state is "+string(s), "wait until it is available")}, nil
	}
	return nil, nil
}

// StatusReader reads the state and the status checks of instances.
type StatusReader interface {
	DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error)
}

// Instances checks that each instance runs and passes both of EC2's checks.
func Instances(ctx context.Context, c StatusReader, ids []string) ([]record.Finding, error) {
	var found []record.Finding
	var seen []string
	pages := ec2.NewDescribeInstanceStatusPaginator(c, &ec2.DescribeInstanceStatusInput{InstanceIds: ids, IncludeAllInstances: awssdk.Bool(true)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return found, Explain("ec2:DescribeInstanceStatus", err)
		}
		for _, s := range p.InstanceStatuses {
			id := value(s.InstanceId)
			seen = append(seen, id)
			if s.InstanceState != nil && s.InstanceState.Name != types.InstanceStateNameRunning {
				found = append(found, finding("instance-state", record.SeverityBlock, "instance/"+id, "it is "+string(s.InstanceState.Name), "find out what stopped it, or take its node out of the cluster"))
				continue
			}
			for _, check := range []struct {
				name, remedy string
				status       *types.InstanceStatusSummary
			}{
				{"system", "the machine beneath it is at fault: stop and start it, or replace it", s.SystemStatus},
				{"instance", "its operating system does not answer: look at its console, or replace it", s.InstanceStatus},
			} {
				if check.status != nil && check.status.Status != types.SummaryStatusOk && check.status.Status != types.SummaryStatusNotApplicable {
					found = append(found, finding("status-check", record.SeverityBlock, "instance/"+id, "its "+check.name+" status check says "+string(check.status.Status), check.remedy))
				}
			}
		}
	}
	for _, id := range without(ids, seen) {
		found = append(found, finding("instance-missing", record.SeverityBlock, "instance/"+id, "it does not exist in this region", "its node's object is stale: delete it"))
	}
	return found, nil
}

// GroupReader reads auto-scaling groups.
type GroupReader interface {
	DescribeAutoScalingGroups(context.Context, *autoscaling.DescribeAutoScalingGroupsInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error)
}

// needed are processes without which a group does not replace a machine.
var needed = []string{"Launch", "Terminate", "ReplaceUnhealthy"}

// ScalingGroups checks that each group exists, has the machines it wants, all in
// service and healthy, and may start and end machines.
func ScalingGroups(ctx context.Context, c GroupReader, names []string) ([]record.Finding, error) {
	var found []record.Finding
	var seen []string
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(c, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: names})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return found, Explain("autoscaling:DescribeAutoScalingGroups", err)
		}
		for _, g := range p.AutoScalingGroups {
			name := value(g.AutoScalingGroupName)
			seen = append(seen, name)
			inService := 0
			for _, i := range g.Instances {
				if string(i.LifecycleState) == "InService" && value(i.HealthStatus) == "Healthy" {
					inService++
					continue
				}
				found = append(found, finding("group-instance", record.SeverityWarn, "scaling-group/"+name, fmt.Sprintf("instance %s is %s and %s", value(i.InstanceId), i.LifecycleState, value(i.HealthStatus)), "wait until it is in service, or let the group replace it"))
			}
			if want := int(value(g.DesiredCapacity)); inService < want {
				found = append(found, finding("group-short", record.SeverityBlock, "scaling-group/"+name, fmt.Sprintf("%d of %d machines are in service", inService, want), "look at the group's activities: capacity, quota or launch template"))
			}
			for _, s := range g.SuspendedProcesses {
				for _, n := range needed {
					if value(s.ProcessName) == n {
						found = append(found, finding("group-suspended", record.SeverityBlock, "scaling-group/"+name, "its process "+n+" is suspended, so no machine is replaced", "aws autoscaling resume-processes --auto-scaling-group-name "+name+" --scaling-processes "+n))
					}
				}
			}
		}
	}
	for _, name := range without(names, seen) {
		found = append(found, finding("group-missing", record.SeverityBlock, "scaling-group/"+name, "it does not exist in this region", "check its name and the region"))
	}
	return found, nil
}

// OfferReader reads which types are offered where, and what types and images are
// like.
type OfferReader interface {
	// DescribeInstanceTypeOfferings tells in which zones a type is to be had.
	DescribeInstanceTypeOfferings(context.Context, *ec2.DescribeInstanceTypeOfferingsInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error)
	// DescribeInstanceTypes tells architecture, network and storage of a type.
	DescribeInstanceTypes(context.Context, *ec2.DescribeInstanceTypesInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceTypesOutput, error)
	// DescribeImages tells architecture and network of an image.
	DescribeImages(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
}

// Machine is a kind of node: every instance type needs the image in every zone.
type Machine struct {
	Type, Image string
	Zones       []string
}

// Machines checks that the type is offered in each zone, and that the image runs
// on it: architecture, enhanced networking and boot mode. A type whose volumes are
// NVMe wants drivers that EC2 does not tell of; it warns.
func Machines(ctx context.Context, c OfferReader, m Machine) ([]record.Finding, error) {
	object := "instance-type/" + m.Type
	types_, err := c.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(m.Type)}})
	if Code(err) == "InvalidInstanceType" || err == nil && len(types_.InstanceTypes) == 0 {
		return []record.Finding{finding("type-unknown", record.SeverityBlock, object, "this region does not have it", "use another type, or another region")}, nil
	}
	if err != nil {
		return nil, Explain("ec2:DescribeInstanceTypes "+m.Type, err)
	}
	var offered []string
	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(c, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{{Name: awssdk.String("instance-type"), Values: []string{m.Type}}},
	})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, Explain("ec2:DescribeInstanceTypeOfferings "+m.Type, err)
		}
		for _, o := range p.InstanceTypeOfferings {
			offered = append(offered, value(o.Location))
		}
	}
	var found []record.Finding
	for _, z := range without(m.Zones, offered) {
		found = append(found, finding("type-not-offered", record.SeverityBlock, object, "it is not offered in zone "+z+"; it is in "+strings.Join(offered, ", "), "use another type there, or leave the zone out"))
	}
	if m.Image == "" {
		return found, nil
	}
	images, err := c.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{m.Image}})
	if code := Code(err); code == "InvalidAMIID.NotFound" || code == "InvalidAMIID.Unavailable" || err == nil && len(images.Images) == 0 {
		return append(found, finding("image-missing", record.SeverityBlock, "image/"+m.Image, "it does not exist in this region, or is not shared with the account", "use one that does: images are per region, and old ones are withdrawn")), nil
	}
	if err != nil {
		return found, Explain("ec2:DescribeImages "+m.Image, err)
	}
	return append(found, fits(types_.InstanceTypes[0], images.Images[0])...), nil
}

func fits(t types.InstanceTypeInfo, i types.Image) []record.Finding {
	object := "image/" + value(i.ImageId)
	var found []record.Finding
	block := func(id, cause, remedy string) {
		found = append(found, finding(id, record.SeverityBlock, object, cause, remedy))
	}
	if i.State != types.ImageStateAvailable {
		block("image-state", "its state is "+string(i.State), "use one that is available")
	}
	if t.ProcessorInfo != nil {
		var have []string
		for _, a := range t.ProcessorInfo.SupportedArchitectures {
			have = append(have, string(a))
		}
		if len(without([]string{string(i.Architecture)}, have)) > 0 {
			block("image-architecture", fmt.Sprintf("it is for %s, %s is %s", i.Architecture, t.InstanceType, strings.Join(have, " or ")), "use the image for that architecture")
		}
	}
	if t.NetworkInfo != nil && t.NetworkInfo.EnaSupport == types.EnaSupportRequired && !value(i.EnaSupport) {
		block("image-ena", fmt.Sprintf("it does not support enhanced networking (ENA), which %s requires", t.InstanceType), "use an image with ENA: the instance would not start")
	}
	if t.EbsInfo != nil && t.EbsInfo.NvmeSupport == types.EbsNvmeSupportRequired {
		// EC2 tells nothing of an image's drivers; one with ENA is recent enough.
		if !value(i.EnaSupport) {
			found = append(found, finding("image-nvme", record.SeverityWarn, object, fmt.Sprintf("%s shows volumes as NVMe, and the image is so old that it may lack the driver", t.InstanceType), "use an image of this decade"))
		}
	}
	if mode := string(i.BootMode); mode != "" && len(t.SupportedBootModes) > 0 {
		var have []string
		for _, b := range t.SupportedBootModes {
			have = append(have, string(b))
		}
		if mode != "uefi-preferred" && len(without([]string{mode}, have)) > 0 {
			block("image-boot", fmt.Sprintf("it boots by %s, %s by %s", mode, t.InstanceType, strings.Join(have, " or ")), "use an image that boots so")
		}
	}
	return found
}
