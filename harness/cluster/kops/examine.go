package kops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/record"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// Examine implements cluster.Examiner: the API's balancer and that its members
// are the control planes, machines and their status checks, auto-scaling groups,
// VPC and subnets with addresses for the surge.
func (d *Driver) Examine(ctx context.Context, c *cluster.Cluster, _ cluster.Version) ([]record.Finding, error) {
	a := d.o.Clients
	if a == nil {
		return nil, nil
	}
	m, err := d.machines(ctx, c)
	if err != nil {
		return nil, err
	}
	var found findings
	if len(m.all) == 0 {
		return nil, errors.New("no node tells which machine it is (spec.providerID)")
	}
	place, err := aws.PlaceOf(ctx, a.EC2, m.all)
	if err != nil {
		return nil, err
	}
	errs := []error{
		found.add(d.balancer(ctx, d.name(c.Spec), m.planes)),
		found.add(aws.Instances(ctx, a.EC2, m.all)),
		found.add(aws.ScalingGroups(ctx, a.AutoScaling, m.groups)),
		found.add(aws.Subnets(ctx, a.EC2, aws.SubnetNeeds{IDs: place.Subnets, Least: 1, Free: 1 + len(m.all)})),
	}
	for _, id := range place.VPCs {
		errs = append(errs, found.add(aws.VPC(ctx, a.EC2, id)))
	}
	return found, errors.Join(errs...)
}

// machines are the instances behind the nodes, and the auto-scaling groups of
// their instance groups, as kops names them.
type machines struct{ all, planes, groups []string }

func (d *Driver) machines(ctx context.Context, c *cluster.Cluster) (machines, error) {
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return machines{}, fmt.Errorf("ask every node for its machine: %w", err)
	}
	var m machines
	groups := map[string]bool{}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		id := n.Spec.ProviderID[strings.LastIndexByte(n.Spec.ProviderID, '/')+1:]
		if id == "" {
			continue
		}
		m.all = append(m.all, id)
		_, plane := n.Labels[cloud.LabelControlPlane]
		if plane {
			m.planes = append(m.planes, id)
		}
		if g := n.Labels["kops.k8s.io/instancegroup"]; g != "" {
			if plane {
				g += ".masters"
			}
			groups[g+"."+d.name(c.Spec)] = true
		}
	}
	m.groups = slices.Sorted(maps.Keys(groups))
	return m, nil
}

// balancer checks the balancer before the API servers, where there is one: a
// cluster with a public zone may be reached by DNS alone.
func (d *Driver) balancer(ctx context.Context, name string, planes []string) ([]record.Finding, error) {
	// "api-", the name with dashes and a hash of six, 32 characters at most
	// (GetResourceName32 in kops' upup/pkg/fi/cloudup/awsup).
	stem := "api-" + strings.ReplaceAll(name, ".", "-")
	stem = stem[:min(len(stem), 25)] + "-"
	names, err := aws.BalancersNamed(ctx, d.o.Clients.Balancers, stem)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && (strings.HasSuffix(name, ".k8s.local") || d.o.DNS == "none") {
		names = []string{stem + "..."}
	}
	var found []record.Finding
	for _, n := range names {
		more, err := aws.Balancer(ctx, d.o.Clients.Balancers, aws.BalancerNeeds{Name: n, Port: 443, Members: planes})
		found = append(found, more...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}
