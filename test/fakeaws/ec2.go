package fakeaws

import (
	"net/http"
	"net/url"
)

// EC2 is the state of that service, of auto scaling and of the balancers.
type EC2 struct {
	VPCs      []VPC
	Subnets   []Subnet
	Instances []Instance
	Types     []InstanceType
	Images    []Image
	Groups    []ScalingGroup
	Balancers []Balancer
	Addresses []string // Elastic IPs
	NATs      []NAT
}

// NAT is a NAT gateway.
type NAT struct{ ID, Subnet, State string }

// VPC is a network.
type VPC struct{ ID, State, CIDR string }

// Subnet is part of one.
type Subnet struct {
	ID, VPC, Zone, State, CIDR string
	Free                       int
}

// Instance is a machine; its status checks are ok unless they say otherwise.
type Instance struct {
	ID, Type, State, Zone, Image string
	VPC, Subnet                  string
	Cores, Threads               int // threads of each core; CPUs are not told where there are no cores
	System, Reachable            string
	Tags                         map[string]string
}

// InstanceType and Image are what must fit together.
type InstanceType struct {
	Name           string
	Architectures  []string
	ENA            string // required, supported, unsupported
	NVMe           string
	Zones          []string // in which it is offered
	VCPUs          int
	BootModes      []string
	Virtualization []string
}

// Image is a machine image.
type Image struct {
	ID, State, Architecture, BootMode string
	ENA                               bool
}

// ScalingGroup is an auto-scaling group.
type ScalingGroup struct {
	Name              string
	Min, Max, Desired int
	Zones             []string
	Instances         []GroupInstance
	Suspended         []string
	Tags              map[string]string
}

// GroupInstance is one of its machines.
type GroupInstance struct{ ID, State, Health string }

// Balancer is a load balancer.
type Balancer struct {
	Name, State string
	Listeners   []int
	Targets     []Target
}

// Target is one of its targets.
type Target struct{ ID, Health, Reason string }

func tags(name, item string, m map[string]string) string {
	s := ""
	for k, v := range m {
		s += el(item, text(pick(item, "key", "Key"), k), text(pick(item, "value", "Value"), v))
	}
	return el(name, s)
}

func pick(item, lower, upper string) string {
	if item == "item" {
		return lower
	}
	return upper
}

// queries are the operations of the query protocol.
var queries = map[string]func(*call, url.Values){
	"sts:GetCallerIdentity": func(c *call, _ url.Values) {
		c.result("GetCallerIdentity", text("Arn", c.a.Caller), text("Account", c.a.Account), text("UserId", "AIDA"))
	},
	"iam:SimulatePrincipalPolicy": func(c *call, q url.Values) {
		actions := listed(q, "ActionNames")
		from, to, next := c.page(len(actions), q.Get("Marker"))
		more := text("IsTruncated", next != "")
		if next != "" {
			more += text("Marker", next)
		}
		c.result("SimulatePrincipalPolicy", el("EvaluationResults", each("member", actions[from:to], func(a string) string {
			decision := "allowed"
			for _, d := range c.a.Denied {
				if d == a {
					decision = "implicitDeny"
				}
			}
			return text("EvalActionName", a) + text("EvalDecision", decision)
		})), more)
	},
	"ec2:DescribeVpcs": func(c *call, q url.Values) {
		ids := listed(q, "VpcId")
		var all []VPC
		if len(ids) == 0 {
			from, to, next := c.page(len(c.a.EC2.VPCs), q.Get("NextToken"))
			c.result("DescribeVpcs", el("vpcSet", each("item", c.a.EC2.VPCs[from:to], func(v VPC) string { return text("vpcId", v.ID) })), text("nextToken", next))
			return
		}
		for _, v := range c.a.EC2.VPCs {
			if wanted(ids, v.ID) {
				all = append(all, v)
			}
		}
		if len(ids) > len(all) {
			c.fail(http.StatusBadRequest, "InvalidVpcID.NotFound", "The vpc ID '"+ids[0]+"' does not exist")
			return
		}
		c.result("DescribeVpcs", el("vpcSet", each("item", all, func(v VPC) string {
			return text("vpcId", v.ID) + text("state", v.State) + text("cidrBlock", v.CIDR)
		})))
	},
	"ec2:DescribeSubnets": func(c *call, q url.Values) {
		ids, f := listed(q, "SubnetId"), filters(q)
		var all []Subnet
		for _, s := range c.a.EC2.Subnets {
			if wanted(ids, s.ID) && wanted(f["vpc-id"], s.VPC) {
				all = append(all, s)
			}
		}
		if len(ids) > len(all) {
			c.fail(http.StatusBadRequest, "InvalidSubnetID.NotFound", "The subnet ID '"+ids[len(ids)-1]+"' does not exist")
			return
		}
		from, to, next := c.page(len(all), q.Get("NextToken"))
		c.result("DescribeSubnets", el("subnetSet", each("item", all[from:to], func(s Subnet) string {
			return text("subnetId", s.ID) + text("vpcId", s.VPC) + text("availabilityZone", s.Zone) + text("state", s.State) + text("cidrBlock", s.CIDR) + text("availableIpAddressCount", s.Free)
		})), text("nextToken", next))
	},
	"ec2:DescribeAddresses": func(c *call, _ url.Values) {
		c.result("DescribeAddresses", el("addressesSet", each("item", c.a.EC2.Addresses, func(ip string) string {
			return text("publicIp", ip) + text("domain", "vpc")
		})))
	},
	"ec2:DescribeNatGateways": func(c *call, q url.Values) {
		var all []NAT
		for _, n := range c.a.EC2.NATs {
			if wanted(filters(q)["state"], n.State) {
				all = append(all, n)
			}
		}
		from, to, next := c.page(len(all), q.Get("NextToken"))
		c.result("DescribeNatGateways", el("natGatewaySet", each("item", all[from:to], func(n NAT) string {
			return text("natGatewayId", n.ID) + text("subnetId", n.Subnet) + text("state", n.State)
		})), text("nextToken", next))
	},
	"ec2:DescribeInstances": func(c *call, q url.Values) {
		all := c.instances(q)
		from, to, next := c.page(len(all), q.Get("NextToken"))
		c.result("DescribeInstances", el("reservationSet", each("item", all[from:to], func(i Instance) string {
			return text("reservationId", "r-"+i.ID) + el("instancesSet", el("item", text("instanceId", i.ID), text("instanceType", i.Type), text("imageId", i.Image), text("vpcId", i.VPC), text("subnetId", i.Subnet), i.cpus(),
				el("instanceState", text("name", i.State)), el("placement", text("availabilityZone", i.Zone)), tags("tagSet", "item", i.Tags)))
		})), text("nextToken", next))
	},
	"ec2:DescribeInstanceStatus": func(c *call, q url.Values) {
		all := c.instances(q)
		from, to, next := c.page(len(all), q.Get("NextToken"))
		ok := func(s string) string {
			if s == "" {
				return "ok"
			}
			return s
		}
		c.result("DescribeInstanceStatus", el("instanceStatusSet", each("item", all[from:to], func(i Instance) string {
			return text("instanceId", i.ID) + el("instanceState", text("name", i.State)) + el("systemStatus", text("status", ok(i.System))) + el("instanceStatus", text("status", ok(i.Reachable)))
		})), text("nextToken", next))
	},
	"ec2:DescribeInstanceTypes": func(c *call, q url.Values) {
		ids := listed(q, "InstanceType")
		var all []InstanceType
		for _, t := range c.a.EC2.Types {
			if wanted(ids, t.Name) {
				all = append(all, t)
			}
		}
		if len(all) < len(ids) {
			c.fail(http.StatusBadRequest, "InvalidInstanceType", "The following supplied instance types do not exist: ["+ids[0]+"]")
			return
		}
		c.result("DescribeInstanceTypes", el("instanceTypeSet", each("item", all, func(t InstanceType) string {
			return text("instanceType", t.Name) + el("processorInfo", el("supportedArchitectures", textList("item", t.Architectures))) +
				el("networkInfo", text("enaSupport", t.ENA)) + el("ebsInfo", text("nvmeSupport", t.NVMe)) + el("vCpuInfo", text("defaultVCpus", t.VCPUs)) +
				el("supportedBootModes", textList("item", t.BootModes))
		})))
	},
	"ec2:DescribeInstanceTypeOfferings": func(c *call, q url.Values) {
		type offer struct{ name, zone string }
		var all []offer
		for _, t := range c.a.EC2.Types {
			if !wanted(filters(q)["instance-type"], t.Name) {
				continue
			}
			for _, z := range t.Zones {
				all = append(all, offer{t.Name, z})
			}
		}
		from, to, next := c.page(len(all), q.Get("NextToken"))
		c.result("DescribeInstanceTypeOfferings", el("instanceTypeOfferingSet", each("item", all[from:to], func(o offer) string {
			return text("instanceType", o.name) + text("location", o.zone) + text("locationType", "availability-zone")
		})), text("nextToken", next))
	},
	"ec2:DescribeImages": func(c *call, q url.Values) {
		ids := listed(q, "ImageId")
		var all []Image
		for _, i := range c.a.EC2.Images {
			if wanted(ids, i.ID) {
				all = append(all, i)
			}
		}
		if len(all) < len(ids) {
			c.fail(http.StatusBadRequest, "InvalidAMIID.NotFound", "The image id '["+ids[0]+"]' does not exist")
			return
		}
		c.result("DescribeImages", el("imagesSet", each("item", all, func(i Image) string {
			return text("imageId", i.ID) + text("imageState", i.State) + text("architecture", i.Architecture) + text("enaSupport", i.ENA) + text("bootMode", i.BootMode)
		})))
	},
	"ec2:RunInstances": func(c *call, q url.Values) {
		if q.Get("DryRun") != "true" {
			c.fail(http.StatusBadRequest, "Unsupported", "fakeaws starts no instance")
			return
		}
		c.fail(http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	},
	"autoscaling:DescribeAutoScalingGroups": func(c *call, q url.Values) {
		names := listed(q, "AutoScalingGroupNames")
		var all []ScalingGroup
		for _, g := range c.a.EC2.Groups {
			if wanted(names, g.Name) {
				all = append(all, g)
			}
		}
		from, to, next := c.page(len(all), q.Get("NextToken"))
		more := ""
		if next != "" {
			more = text("NextToken", next)
		}
		c.result("DescribeAutoScalingGroups", el("AutoScalingGroups", each("member", all[from:to], func(g ScalingGroup) string {
			return text("AutoScalingGroupName", g.Name) + text("MinSize", g.Min) + text("MaxSize", g.Max) + text("DesiredCapacity", g.Desired) +
				el("AvailabilityZones", textList("member", g.Zones)) +
				el("Instances", each("member", g.Instances, func(i GroupInstance) string {
					return text("InstanceId", i.ID) + text("LifecycleState", i.State) + text("HealthStatus", i.Health)
				})) +
				el("SuspendedProcesses", each("member", g.Suspended, func(s string) string { return text("ProcessName", s) })) + tags("Tags", "member", g.Tags)
		})), more)
	},
	"elasticloadbalancing:DescribeLoadBalancers": func(c *call, q url.Values) {
		names := listed(q, "Names")
		var all []Balancer
		for _, b := range c.a.EC2.Balancers {
			if wanted(names, b.Name) {
				all = append(all, b)
			}
		}
		if len(all) < len(names) {
			c.fail(http.StatusBadRequest, "LoadBalancerNotFound", "Load balancers '["+names[0]+"]' not found")
			return
		}
		c.result("DescribeLoadBalancers", el("LoadBalancers", each("member", all, func(b Balancer) string {
			return text("LoadBalancerArn", "arn:"+b.Name) + text("LoadBalancerName", b.Name) + el("State", text("Code", b.State)) + text("Type", "network")
		})))
	},
	"elasticloadbalancing:DescribeListeners": func(c *call, q url.Values) {
		b := c.balancer(q.Get("LoadBalancerArn"))
		c.result("DescribeListeners", el("Listeners", each("member", b.Listeners, func(p int) string {
			return text("Port", p) + text("Protocol", "TCP") + el("DefaultActions", el("member", text("Type", "forward"), text("TargetGroupArn", "arn:"+b.Name+"/tg")))
		})))
	},
	"elasticloadbalancing:DescribeTargetGroups": func(c *call, q url.Values) {
		b := c.balancer(q.Get("LoadBalancerArn"))
		c.result("DescribeTargetGroups", el("TargetGroups", el("member", text("TargetGroupArn", "arn:"+b.Name+"/tg"), text("TargetGroupName", b.Name+"-tg"), text("TargetType", "instance"))))
	},
	"elasticloadbalancing:DescribeTargetHealth": func(c *call, q url.Values) {
		arn := q.Get("TargetGroupArn")
		b := c.balancer(arn[:max(len(arn)-len("/tg"), 0)])
		c.result("DescribeTargetHealth", el("TargetHealthDescriptions", each("member", b.Targets, func(t Target) string {
			s := el("Target", text("Id", t.ID), text("Port", 443))
			h := text("State", t.Health)
			if t.Reason != "" {
				h += text("Reason", "Target.FailedHealthChecks") + text("Description", t.Reason)
			}
			return s + el("TargetHealth", h)
		})))
	},
}

func (i Instance) cpus() string {
	if i.Cores == 0 {
		return ""
	}
	return el("cpuOptions", text("coreCount", i.Cores), text("threadsPerCore", max(i.Threads, 1)))
}

func (c *call) balancer(arn string) Balancer {
	for _, b := range c.a.EC2.Balancers {
		if "arn:"+b.Name == arn {
			return b
		}
	}
	return Balancer{}
}

func (c *call) instances(q url.Values) []Instance {
	ids, f := listed(q, "InstanceId"), filters(q)
	var all []Instance
	for _, i := range c.a.EC2.Instances {
		if wanted(ids, i.ID) && wanted(f["instance-state-name"], i.State) {
			all = append(all, i)
		}
	}
	return all
}
