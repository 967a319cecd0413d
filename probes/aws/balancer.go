package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// BalancerReader reads load balancers of the second generation.
type BalancerReader interface {
	// DescribeLoadBalancers tells state, scheme and subnets.
	DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error)
	// DescribeListeners tells ports and where they forward to.
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
	// DescribeTargetGroups tells health checks and what kind of targets there are.
	DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error)
	// DescribeTargetHealth tells the targets and whether each is sent to.
	DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error)
}

// BalancerNeeds says what the API's balancer must be like.
type BalancerNeeds struct {
	Name string
	Port int32 // that must be listened on, 443
	// Members are the instances that its targets must be, no more and no fewer:
	// the control planes.
	Members []string
}

// BalancersNamed are the names of the balancers that begin so, as a tool that adds
// a hash to its names makes them.
func BalancersNamed(ctx context.Context, c BalancerReader, prefix string) ([]string, error) {
	var names []string
	pages := elb.NewDescribeLoadBalancersPaginator(c, &elb.DescribeLoadBalancersInput{})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, Explain("elasticloadbalancing:DescribeLoadBalancers", err)
		}
		for i := range p.LoadBalancers {
			if n := value(p.LoadBalancers[i].LoadBalancerName); strings.HasPrefix(n, prefix) {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// Balancer checks the state of the balancer before the API servers, its listener,
// and that its targets are exactly the control planes, all healthy: with one
// missing already, an upgrade may empty it (kubernetes/kops 5211, 6349).
func Balancer(ctx context.Context, c BalancerReader, n BalancerNeeds) ([]record.Finding, error) {
	object := "balancer/" + n.Name
	out, err := c.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{n.Name}})
	if code := Code(err); code == "LoadBalancerNotFound" || code == "LoadBalancerNotFoundException" || err == nil && len(out.LoadBalancers) == 0 {
		return []record.Finding{finding("balancer-missing", record.SeverityBlock, object, "the API's balancer does not exist in this region", "check its name and the region: without it nobody reaches the API")}, nil
	}
	if err != nil {
		return nil, Explain("elasticloadbalancing:DescribeLoadBalancers "+n.Name, err)
	}
	lb := out.LoadBalancers[0]
	var found []record.Finding
	if lb.State != nil && lb.State.Code != types.LoadBalancerStateEnumActive {
		found = append(found, finding("balancer-state", record.SeverityBlock, object, "its state is "+string(lb.State.Code), "wait until it is active; "+string(types.LoadBalancerStateEnumActiveImpaired)+" means that it lacks addresses or capacity"))
	}
	listens := false
	listeners := elb.NewDescribeListenersPaginator(c, &elb.DescribeListenersInput{LoadBalancerArn: lb.LoadBalancerArn})
	for listeners.HasMorePages() {
		p, err := listeners.NextPage(ctx)
		if err != nil {
			return found, Explain("elasticloadbalancing:DescribeListeners "+n.Name, err)
		}
		for _, l := range p.Listeners {
			listens = listens || value(l.Port) == n.Port
		}
	}
	if !listens {
		found = append(found, finding("listener-missing", record.SeverityBlock, object, fmt.Sprintf("nothing listens on port %d", n.Port), "add the listener, or let the tool that made the cluster update it"))
	}
	groups, err := c.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{LoadBalancerArn: lb.LoadBalancerArn})
	if err != nil {
		return found, Explain("elasticloadbalancing:DescribeTargetGroups "+n.Name, err)
	}
	if len(groups.TargetGroups) == 0 {
		found = append(found, finding("no-target-group", record.SeverityBlock, object, "it has no target group", "let the tool that made the cluster update it"))
	}
	for _, g := range groups.TargetGroups {
		more, err := targets(ctx, c, g, n.Members)
		found = append(found, more...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

func targets(ctx context.Context, c BalancerReader, g types.TargetGroup, members []string) ([]record.Finding, error) {
	object := "target-group/" + value(g.TargetGroupName)
	out, err := c.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn})
	if err != nil {
		return nil, Explain("elasticloadbalancing:DescribeTargetHealth "+value(g.TargetGroupName), err)
	}
	var found []record.Finding
	var have []string
	healthy := 0
	for _, t := range out.TargetHealthDescriptions {
		id := value(t.Target.Id)
		have = append(have, id)
		if t.TargetHealth != nil && t.TargetHealth.State == types.TargetHealthStateEnumHealthy {
			healthy++
			continue
		}
		state := "unknown"
		if t.TargetHealth != nil {
			state = string(t.TargetHealth.State)
			if d := value(t.TargetHealth.Description); d != "" {
				state += ": " + d
			}
		}
		found = append(found, finding("target-unhealthy", record.SeverityBlock, object, id+" is "+state, "look at the API server on it, and at the security groups between it and the balancer"))
	}
	if healthy == 0 {
		found = append(found, finding("balancer-empty", record.SeverityBlock, object, "no target is healthy: the API cannot be reached through it", "look at the API servers first"))
	}
	if len(members) == 0 {
		return found, nil
	}
	if missing := without(members, have); len(missing) > 0 {
		found = append(found, finding("member-missing", record.SeverityBlock, object, strings.Join(missing, ", ")+" of the control planes gets no traffic: fewer are left than it seems while one is upgraded", "register it, or let the tool that made the cluster do so"))
	}
	if strange := without(have, members); len(strange) > 0 {
		found = append(found, finding("member-strange", record.SeverityBlock, object, strings.Join(strange, ", ")+" gets the API's traffic and is no control plane", "deregister it: it may be what an earlier upgrade left"))
	}
	return found, nil
}

// without are the elements of a that b lacks.
func without(a, b []string) []string {
	var out []string
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
