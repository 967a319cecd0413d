package drivers

import (
	"context"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster/eks"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// needs is the error of a driver that a flag has put in the place of the
// scenario's, which lacks what it needs.
func needs(s *scenarios.Scenario, field string) error {
	return fmt.Errorf("the driver %s needs %s, and scenario %s has none: give it there (docs/scenarios.md), or leave the driver as the scenario has it", s.Cluster.Driver, field, s.Name)
}

// newKops maps the scenario to the driver's options.
func newKops(ctx context.Context, s *scenarios.Scenario) (*kops.Driver, error) {
	k := s.Cluster.Kops
	switch {
	case k == nil:
		return nil, needs(s, "cluster.kops")
	case s.Canary.Image == "":
		return nil, needs(s, "canary.image")
	}
	region, err := kops.Region(k.Zones, k.Manifest)
	if err != nil {
		return nil, fmt.Errorf("cluster.kops.manifest: %w", err)
	}
	clients, err := aws.Connect(ctx, aws.Options{Region: region})
	if err != nil {
		return nil, fmt.Errorf("cluster.kops: %w", err)
	}
	return kops.New(kops.Options{
		Path: k.Path, StateStore: k.StateStore, Name: k.Name, Channel: k.Channel, Manifest: k.Manifest, Zones: k.Zones,
		ControlPlaneSize: k.ControlPlaneSize, NodeSize: k.NodeSize, Image: k.Image, Topology: k.Topology, DNS: k.DNS, NetworkCIDRs: k.NetworkCIDR,
		Networking: k.Networking, AdminAccess: k.AdminAccess, SSHPublicKey: k.SSHPublicKey, IgnoreDrainErrors: k.IgnoreDrainErrors,
		CanaryImage: s.Canary.Image, Annotations: s.Canary.ServiceAnnotations, Clients: clients,
	}), nil
}

// newEKS maps the scenario to the driver's options. Credentials are looked for by
// the SDK; AWS is not asked anything.
func newEKS(ctx context.Context, s *scenarios.Scenario) (*eks.Driver, error) {
	e := s.Cluster.EKS
	switch {
	case e == nil:
		return nil, needs(s, "cluster.eks")
	case s.Canary.Image == "":
		return nil, needs(s, "canary.image")
	}
	clients, err := aws.Connect(ctx, aws.Options{Region: e.Region, Profile: e.Profile})
	if err != nil {
		return nil, fmt.Errorf("cluster.eks: %w", err)
	}
	return eks.New(eks.Options{
		Clients: clients, Existing: e.Existing, Subnets: e.Subnets, ClusterRole: e.ClusterRole, NodeRole: e.NodeRole, InstanceTypes: e.InstanceTypes,
		AMIType: e.AMIType, Addons: e.Addons,
		MaxUnavailable: e.MaxUnavailable, MaxUnavailPC: e.MaxUnavailablePercentage, Strategy: e.UpdateStrategy, Force: e.Force,
		LaunchTemplates: e.LaunchTemplates, KeepAddons: e.KeepAddons, Rollback: s.Upgrade.Rollback != nil,
		CanaryImage: s.Canary.Image, Annotations: s.Canary.ServiceAnnotations, Namespace: deploy.DefaultNamespace,
	}), nil
}
