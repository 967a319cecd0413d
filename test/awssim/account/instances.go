package account

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"k8s.io/kops/cloudmock/aws/mockautoscaling"

	"github.com/kube-rehearse/rehearse/test/awssim/wire"
)

// state of an instance, in the words of EC2.
type state string

const (
	pending  state = "pending"
	running  state = "running"
	stopping state = "shutting-down"
	ended    state = "terminated"
)

type instance struct {
	id, ip, zone, subnet, vpc, kind string
	template, templateName          string
	version                         int
	userData                        string
	group                           string // that it was launched for
	detached, healthy               bool
	state                           state
	since                           time.Time // of the state
	launched                        time.Time
	tags                            map[string]string
}

func (i *instance) alive() bool { return i.state == pending || i.state == running }

func (i *instance) machine() Machine {
	return Machine{ID: i.id, IP: i.ip, Zone: i.zone, Type: i.kind, UserData: i.userData, Tags: i.tags}
}

// step moves instances on in time.
func (a *Account) step(now time.Time) (started, stopped []Machine) {
	for _, i := range a.instances {
		switch {
		case i.state == pending && now.Sub(i.since) >= a.o.Boot:
			i.state, i.since = running, now
			started = append(started, i.machine())
		case i.state == stopping && now.Sub(i.since) >= a.o.Stop:
			i.state, i.since = ended, now
			stopped = append(stopped, i.machine())
		}
	}
	a.reconcile()
	return started, stopped
}

// reconcile makes every group have as many instances as it wants, and shows them
// in the group.
func (a *Account) reconcile() {
	var names []string
	for name := range a.groups.Groups {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		g := a.groups.Groups[name]
		members := a.members(name)
		for n := len(members); n < int(aws.ToInt32(g.DesiredCapacity)); n++ {
			i, err := a.launch(g)
			if err != nil {
				a.o.Log.Error("launch", "group", name, "error", err)
				break
			}
			members = append(members, i)
		}
		for n := len(members); n > int(aws.ToInt32(g.DesiredCapacity)); n-- {
			a.stop(members[0])
			members = members[1:]
		}
		g.Instances = nil
		for _, i := range members {
			life := astypes.LifecycleStatePending
			if i.state == running {
				life = astypes.LifecycleStateInService
			}
			g.Instances = append(g.Instances, astypes.Instance{
				InstanceId: &i.id, AvailabilityZone: &i.zone, HealthStatus: aws.String("Healthy"), InstanceType: &i.kind, LifecycleState: life,
				LaunchTemplate: &astypes.LaunchTemplateSpecification{LaunchTemplateId: &i.template, LaunchTemplateName: &i.templateName, Version: aws.String(fmt.Sprint(i.version))},
			})
		}
	}
}

// members are the instances of a group, oldest first.
func (a *Account) members(group string) []*instance {
	var all []*instance
	for _, i := range a.instances {
		if i.group == group && !i.detached && i.alive() {
			all = append(all, i)
		}
	}
	sort.Slice(all, func(x, y int) bool { return all[x].id < all[y].id })
	return all
}

func (a *Account) launch(g *astypes.AutoScalingGroup) (*instance, error) {
	spec := g.LaunchTemplate
	if spec == nil && g.MixedInstancesPolicy != nil && g.MixedInstancesPolicy.LaunchTemplate != nil {
		spec = g.MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification
	}
	if spec == nil {
		return nil, &wire.Gap{What: "a group without a launch template"}
	}
	t := a.ec2.find(aws.ToString(spec.LaunchTemplateId), aws.ToString(spec.LaunchTemplateName))
	if t == nil {
		return nil, fmt.Errorf("no launch template %s", aws.ToString(spec.LaunchTemplateId))
	}
	v := t.version(aws.ToString(spec.Version))
	if v == nil {
		return nil, fmt.Errorf("launch template %s has no version %s", t.id, aws.ToString(spec.Version))
	}
	subnets := strings.Split(aws.ToString(g.VPCZoneIdentifier), ",")
	subnet := subnets[a.launched%len(subnets)]
	out, err := a.ec2.MockEC2.DescribeSubnets(context.TODO(), &ec2.DescribeSubnetsInput{SubnetIds: []string{subnet}})
	if err != nil || len(out.Subnets) != 1 {
		return nil, fmt.Errorf("subnet %q: %w", subnet, err)
	}
	a.launched++
	now := time.Now()
	i := &instance{
		id: fmt.Sprintf("i-%017x", 0xa000000+a.launched), ip: fmt.Sprintf("172.20.%d.%d", 32+a.launched/250, 1+a.launched%250),
		zone: aws.ToString(out.Subnets[0].AvailabilityZone), subnet: subnet, vpc: aws.ToString(out.Subnets[0].VpcId),
		kind: string(v.InstanceType), template: t.id, templateName: t.name, version: v.number, userData: aws.ToString(v.UserData),
		group: aws.ToString(g.AutoScalingGroupName), state: pending, since: now, launched: now, tags: map[string]string{},
	}
	for _, s := range v.TagSpecifications {
		if s.ResourceType == types.ResourceTypeInstance {
			for _, tag := range s.Tags {
				i.tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
			}
		}
	}
	for _, tag := range g.Tags {
		if aws.ToBool(tag.PropagateAtLaunch) {
			i.tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	i.tags["aws:autoscaling:groupName"] = i.group
	a.instances[i.id] = i
	a.o.Log.Info("launched", "instance", i.id, "group", i.group, "template", i.template, "version", i.version)
	return i, nil
}

func (a *Account) stop(i *instance) {
	if i.alive() {
		i.state, i.since, i.healthy = stopping, time.Now(), false
		a.o.Log.Info("terminating", "instance", i.id, "group", i.group)
	}
}

// DescribeInstances lists instances, ended ones too, as EC2 does for an hour.
func (e *ec2API) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	out := &ec2.DescribeInstancesOutput{}
	var ids []string
	for id := range e.a.instances {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		i := e.a.instances[id]
		if len(in.InstanceIds) > 0 && !slices.Contains(in.InstanceIds, id) {
			continue
		}
		if ok, err := matches(in.Filters, i.tags, map[string]string{"instance-id": i.id, "instance-state-name": string(i.state), "vpc-id": i.vpc, "subnet-id": i.subnet, "private-ip-address": i.ip}); err != nil {
			return nil, err
		} else if ok {
			out.Reservations = append(out.Reservations, types.Reservation{ReservationId: aws.String("r-" + i.id[2:]), OwnerId: aws.String(Number), Instances: []types.Instance{i.describe()}})
		}
	}
	return out, nil
}

func (i *instance) describe() types.Instance {
	return types.Instance{
		InstanceId: &i.id, InstanceType: types.InstanceType(i.kind), SubnetId: &i.subnet, VpcId: &i.vpc, LaunchTime: &i.launched,
		PrivateIpAddress: &i.ip, PrivateDnsName: aws.String(i.id + ".ec2.internal"), Architecture: types.ArchitectureValuesX8664, Hypervisor: types.HypervisorTypeXen,
		Placement: &types.Placement{AvailabilityZone: &i.zone}, State: &types.InstanceState{Name: types.InstanceStateName(i.state), Code: aws.Int32(codes[i.state])},
		Tags: sorted(i.tags),
	}
}

var codes = map[state]int32{pending: 0, running: 16, stopping: 32, ended: 48}

// TerminateInstances ends instances; their groups start others.
func (e *ec2API) TerminateInstances(_ context.Context, in *ec2.TerminateInstancesInput, _ ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	out := &ec2.TerminateInstancesOutput{}
	for _, id := range in.InstanceIds {
		i := e.a.instances[id]
		if i == nil {
			return nil, wire.Fail("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
		before := i.state
		e.a.stop(i)
		out.TerminatingInstances = append(out.TerminatingInstances, types.InstanceStateChange{
			InstanceId: &i.id, PreviousState: &types.InstanceState{Name: types.InstanceStateName(before)}, CurrentState: &types.InstanceState{Name: types.InstanceStateName(i.state)},
		})
	}
	return out, nil
}

// groupsAPI is the auto-scaling service.
type groupsAPI struct {
	*mockautoscaling.MockAutoscaling
	a *Account
}

func (s *groupsAPI) group(name *string) (*astypes.AutoScalingGroup, error) {
	if g := s.Groups[aws.ToString(name)]; g != nil {
		return g, nil
	}
	return nil, wire.Fail("ValidationError", "AutoScalingGroup name not found - %s", aws.ToString(name))
}

// CreateAutoScalingGroup makes a group that wants as many instances as it must
// have at least, where the request does not say.
func (s *groupsAPI) CreateAutoScalingGroup(ctx context.Context, in *autoscaling.CreateAutoScalingGroupInput, _ ...func(*autoscaling.Options)) (*autoscaling.CreateAutoScalingGroupOutput, error) {
	out, err := s.MockAutoscaling.CreateAutoScalingGroup(ctx, in)
	if err != nil {
		return nil, err
	}
	g := s.Groups[aws.ToString(in.AutoScalingGroupName)]
	g.AutoScalingGroupARN = aws.String(arn("autoscaling", "autoScalingGroup:awssim:autoScalingGroupName/"+*in.AutoScalingGroupName))
	g.MixedInstancesPolicy = in.MixedInstancesPolicy
	if g.DesiredCapacity == nil {
		g.DesiredCapacity = g.MinSize
	}
	for n := range g.Tags {
		g.Tags[n].ResourceId, g.Tags[n].ResourceType = in.AutoScalingGroupName, aws.String("auto-scaling-group")
	}
	return out, nil
}

// UpdateAutoScalingGroup keeps what is wanted within its bounds.
func (s *groupsAPI) UpdateAutoScalingGroup(ctx context.Context, in *autoscaling.UpdateAutoScalingGroupInput, _ ...func(*autoscaling.Options)) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
	out, err := s.MockAutoscaling.UpdateAutoScalingGroup(ctx, in)
	if err != nil {
		return nil, err
	}
	g := s.Groups[aws.ToString(in.AutoScalingGroupName)]
	g.DesiredCapacity = aws.Int32(min(max(aws.ToInt32(g.DesiredCapacity), aws.ToInt32(g.MinSize)), aws.ToInt32(g.MaxSize)))
	return out, nil
}

// DeleteAutoScalingGroup ends the group's instances too.
func (s *groupsAPI) DeleteAutoScalingGroup(ctx context.Context, in *autoscaling.DeleteAutoScalingGroupInput, _ ...func(*autoscaling.Options)) (*autoscaling.DeleteAutoScalingGroupOutput, error) {
	if _, err := s.group(in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	for _, i := range s.a.members(*in.AutoScalingGroupName) {
		s.a.stop(i)
	}
	for key, hook := range s.LifecycleHooks {
		if aws.ToString(hook.AutoScalingGroupName) == *in.AutoScalingGroupName {
			delete(s.LifecycleHooks, key)
		}
	}
	return s.MockAutoscaling.DeleteAutoScalingGroup(ctx, in)
}

// DetachInstances takes instances out of their group, which starts others unless
// what it wants is lowered too.
func (s *groupsAPI) DetachInstances(_ context.Context, in *autoscaling.DetachInstancesInput, _ ...func(*autoscaling.Options)) (*autoscaling.DetachInstancesOutput, error) {
	g, err := s.group(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	for _, id := range in.InstanceIds {
		i := s.a.instances[id]
		if i == nil || i.group != *in.AutoScalingGroupName || i.detached {
			return nil, wire.Fail("ValidationError", "The instance %s is not part of Auto Scaling group %s.", id, *in.AutoScalingGroupName)
		}
		i.detached = true
		if aws.ToBool(in.ShouldDecrementDesiredCapacity) {
			g.DesiredCapacity = aws.Int32(aws.ToInt32(g.DesiredCapacity) - 1)
		}
	}
	return &autoscaling.DetachInstancesOutput{}, nil
}

// DescribeTags filters by key, value and group.
func (s *groupsAPI) DescribeTags(_ context.Context, in *autoscaling.DescribeTagsInput, _ ...func(*autoscaling.Options)) (*autoscaling.DescribeTagsOutput, error) {
	out := &autoscaling.DescribeTagsOutput{}
	for name, g := range s.Groups {
		for _, t := range g.Tags {
			ok := true
			for _, f := range in.Filters {
				has, known := map[string]string{"key": aws.ToString(t.Key), "value": aws.ToString(t.Value), "auto-scaling-group": name}[aws.ToString(f.Name)]
				if !known {
					return nil, &wire.Gap{What: "autoscaling DescribeTags by " + aws.ToString(f.Name)}
				}
				ok = ok && slices.Contains(f.Values, has)
			}
			if ok {
				out.Tags = append(out.Tags, t)
			}
		}
	}
	return out, nil
}

// CreateOrUpdateTags sets tags of groups.
func (s *groupsAPI) CreateOrUpdateTags(_ context.Context, in *autoscaling.CreateOrUpdateTagsInput, _ ...func(*autoscaling.Options)) (*autoscaling.CreateOrUpdateTagsOutput, error) {
	for _, t := range in.Tags {
		g, err := s.group(t.ResourceId)
		if err != nil {
			return nil, err
		}
		g.Tags = slices.DeleteFunc(g.Tags, func(d astypes.TagDescription) bool { return aws.ToString(d.Key) == aws.ToString(t.Key) })
		g.Tags = append(g.Tags, astypes.TagDescription{Key: t.Key, Value: t.Value, PropagateAtLaunch: t.PropagateAtLaunch, ResourceId: t.ResourceId, ResourceType: aws.String("auto-scaling-group")})
	}
	return &autoscaling.CreateOrUpdateTagsOutput{}, nil
}
