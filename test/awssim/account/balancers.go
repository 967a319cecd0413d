package account

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"k8s.io/kops/cloudmock/aws/mockelbv2"

	"github.com/kube-rehearse/rehearse/test/awssim/wire"
)

type balancer = types.LoadBalancer

const healthy = types.TargetHealthStateEnumHealthy

// balancersAPI is the service of network balancers.
type balancersAPI struct {
	*mockelbv2.MockELBV2
	a       *Account
	leaving map[string]time.Time // "group target" to when it was deregistered
}

// all are the balancers, in use as soon as they are made.
func (b *balancersAPI) all() []balancer {
	out, err := b.MockELBV2.DescribeLoadBalancers(context.TODO(), &elb.DescribeLoadBalancersInput{})
	if err != nil {
		return nil
	}
	for n := range out.LoadBalancers {
		out.LoadBalancers[n].State = &types.LoadBalancerState{Code: types.LoadBalancerStateEnumActive}
	}
	sort.Slice(out.LoadBalancers, func(i, j int) bool {
		return *out.LoadBalancers[i].LoadBalancerArn < *out.LoadBalancers[j].LoadBalancerArn
	})
	return out.LoadBalancers
}

// DescribeLoadBalancers finds balancers by name too.
func (b *balancersAPI) DescribeLoadBalancers(_ context.Context, in *elb.DescribeLoadBalancersInput, _ ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error) {
	out := &elb.DescribeLoadBalancersOutput{}
	for _, lb := range b.all() {
		if (len(in.LoadBalancerArns) == 0 || slices.Contains(in.LoadBalancerArns, *lb.LoadBalancerArn)) && (len(in.Names) == 0 || slices.Contains(in.Names, *lb.LoadBalancerName)) {
			out.LoadBalancers = append(out.LoadBalancers, lb)
		}
	}
	if len(out.LoadBalancers) == 0 && len(in.LoadBalancerArns)+len(in.Names) > 0 {
		return nil, wire.Fail("LoadBalancerNotFound", "One or more load balancers not found")
	}
	return out, nil
}

// DescribeTargetGroups finds the groups of a balancer too; the mock never does.
func (b *balancersAPI) DescribeTargetGroups(ctx context.Context, in *elb.DescribeTargetGroupsInput, _ ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error) {
	all, err := b.MockELBV2.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{})
	if err != nil {
		return nil, err
	}
	out := &elb.DescribeTargetGroupsOutput{}
	for _, g := range all.TargetGroups {
		if (len(in.TargetGroupArns) == 0 || slices.Contains(in.TargetGroupArns, *g.TargetGroupArn)) && (len(in.Names) == 0 || slices.Contains(in.Names, *g.TargetGroupName)) &&
			(in.LoadBalancerArn == nil || slices.Contains(g.LoadBalancerArns, *in.LoadBalancerArn)) {
			out.TargetGroups = append(out.TargetGroups, g)
		}
	}
	if len(out.TargetGroups) == 0 && len(in.TargetGroupArns)+len(in.Names) > 0 {
		return nil, wire.Fail("TargetGroupNotFound", "One or more target groups not found")
	}
	return out, nil
}

// DeleteListener answers; the mock's answer is nil.
func (b *balancersAPI) DeleteListener(ctx context.Context, in *elb.DeleteListenerInput, _ ...func(*elb.Options)) (*elb.DeleteListenerOutput, error) {
	_, err := b.MockELBV2.DeleteListener(ctx, in)
	return &elb.DeleteListenerOutput{}, err
}

// behind are the target groups that a balancer's listener on a port leads to.
func (b *balancersAPI) behind(balancer string, port int) []string {
	out, err := b.DescribeListeners(context.TODO(), &elb.DescribeListenersInput{LoadBalancerArn: &balancer})
	if err != nil {
		return nil
	}
	var all []string
	for _, l := range out.Listeners {
		if int(aws.ToInt32(l.Port)) != port {
			continue
		}
		for _, action := range l.DefaultActions {
			all = append(all, aws.ToString(action.TargetGroupArn))
		}
	}
	return all
}

// targetGroups are those that an instance is registered with, by its group. One
// that was detached from its group has left them.
func (a *Account) targetGroups(i *instance) []string {
	g := a.groups.Groups[i.group]
	if g == nil || i.detached || !i.alive() {
		return nil
	}
	return g.TargetGroupARNs
}

// health of a target in a group.
func (a *Account) health(group, id string) types.TargetHealthStateEnum {
	i := a.instances[id]
	if i == nil || !slices.Contains(a.targetGroups(i), group) {
		return types.TargetHealthStateEnumUnused
	}
	if since, left := a.balancers.leaving[group+" "+id]; left {
		if time.Since(since) < a.o.Drain {
			return types.TargetHealthStateEnumDraining
		}
		return types.TargetHealthStateEnumUnused
	}
	if i.healthy {
		return healthy
	}
	return types.TargetHealthStateEnumInitial
}

// DescribeTargetHealth answers for the targets that are asked for, or for all.
func (b *balancersAPI) DescribeTargetHealth(_ context.Context, in *elb.DescribeTargetHealthInput, _ ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error) {
	group := aws.ToString(in.TargetGroupArn)
	if b.TargetGroups[group] == nil {
		return nil, wire.Fail("TargetGroupNotFound", "One or more target groups not found")
	}
	var ids []string
	for _, t := range in.Targets {
		ids = append(ids, aws.ToString(t.Id))
	}
	if len(ids) == 0 {
		for id, i := range b.a.instances {
			if slices.Contains(b.a.targetGroups(i), group) {
				ids = append(ids, id)
			}
		}
		sort.Strings(ids)
	}
	out := &elb.DescribeTargetHealthOutput{}
	for _, id := range ids {
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, types.TargetHealthDescription{
			Target: &types.TargetDescription{Id: aws.String(id)}, TargetHealth: &types.TargetHealth{State: b.a.health(group, id)},
		})
	}
	return out, nil
}

// DeregisterTargets begins to drain targets.
func (b *balancersAPI) DeregisterTargets(_ context.Context, in *elb.DeregisterTargetsInput, _ ...func(*elb.Options)) (*elb.DeregisterTargetsOutput, error) {
	for _, t := range in.Targets {
		key := aws.ToString(in.TargetGroupArn) + " " + aws.ToString(t.Id)
		if _, already := b.leaving[key]; !already {
			b.leaving[key] = time.Now()
		}
	}
	return &elb.DeregisterTargetsOutput{}, nil
}
