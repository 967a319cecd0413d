package eks

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/cloud"
	"github.com/kube-rehearse/rehearse/harness/pause"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// groupName is the node group of a cluster that is made.
const groupName = "workers"

// Create implements cluster.Driver. A cluster that exists is found and looked
// at; one that is to be made takes the network and the roles as they are, with
// public access to its API, and one managed group.
func (d *Driver) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	if d.o.Existing == "" {
		if err := d.make(ctx, s); err != nil {
			return nil, err
		}
	}
	c, err := d.Attach(ctx, s)
	if err != nil {
		return nil, err
	}
	return c, cloud.Claim(ctx, c.Client, d.o.Namespace, s.RunID)
}

func (d *Driver) make(ctx context.Context, s cluster.Spec) error {
	name := d.name(s)
	tags := map[string]string{cluster.LabelRun: s.RunID}
	_, err := d.api.CreateCluster(ctx, &eks.CreateClusterInput{
		Name: &name, Version: awssdk.String(minor(s.Version)), RoleArn: &d.o.ClusterRole, Tags: tags,
		ResourcesVpcConfig: &types.VpcConfigRequest{SubnetIds: d.o.Subnets, EndpointPublicAccess: awssdk.Bool(true), EndpointPrivateAccess: awssdk.Bool(true)},
		AccessConfig:       &types.CreateAccessConfigRequest{AuthenticationMode: types.AuthenticationModeApiAndConfigMap, BootstrapClusterCreatorAdminPermissions: awssdk.Bool(true)},
	})
	if err != nil {
		return aws.Explain("eks:CreateCluster "+name, err)
	}
	err = d.until(ctx, "cluster "+name, func() (string, bool, error) {
		c, err := d.describe(ctx, name)
		if err != nil {
			return "", false, err
		}
		if c.Status == types.ClusterStatusFailed {
			return "", false, errors.New("EKS could not make it: " + health(c))
		}
		return string(c.Status), c.Status == types.ClusterStatusActive, nil
	})
	if err != nil {
		return err
	}
	n := int32(s.Workers)
	in := &eks.CreateNodegroupInput{
		ClusterName: &name, NodegroupName: awssdk.String(groupName), NodeRole: &d.o.NodeRole, Subnets: d.o.Subnets, Tags: tags, InstanceTypes: d.o.InstanceTypes,
		ScalingConfig: &types.NodegroupScalingConfig{MinSize: &n, MaxSize: awssdk.Int32(n + 2), DesiredSize: &n}, AmiType: types.AMITypes(d.o.AMIType),
	}
	if _, err := d.api.CreateNodegroup(ctx, in); err != nil {
		return aws.Explain("eks:CreateNodegroup "+groupName, err)
	}
	err = d.until(ctx, "node group "+groupName, func() (string, bool, error) {
		out, err := d.api.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &name, NodegroupName: awssdk.String(groupName)})
		if err != nil {
			return "", false, aws.Explain("eks:DescribeNodegroup "+groupName, err)
		}
		g := out.Nodegroup
		if g.Status == types.NodegroupStatusCreateFailed {
			why := "EKS does not say why"
			if g.Health != nil && len(g.Health.Issues) > 0 {
				why = fmt.Sprintf("%s: %s", g.Health.Issues[0].Code, value(g.Health.Issues[0].Message))
			}
			return "", false, errors.New("EKS could not make node group " + groupName + ": " + why)
		}
		return string(g.Status), g.Status == types.NodegroupStatusActive, nil
	})
	if err != nil {
		return err
	}
	return d.install(ctx, name)
}

// install adds the add-ons, by name, once there are nodes for their pods. What
// a new cluster brings by itself of the same name is taken over.
func (d *Driver) install(ctx context.Context, name string) error {
	for _, addon := range slices.Sorted(maps.Keys(d.o.Addons)) {
		in := &eks.CreateAddonInput{ClusterName: &name, AddonName: &addon, ResolveConflicts: types.ResolveConflictsOverwrite}
		if v := d.o.Addons[addon]; v != "" {
			in.AddonVersion = &v
		}
		if _, err := d.api.CreateAddon(ctx, in); err != nil {
			return aws.Explain("eks:CreateAddon "+addon, err)
		}
		err := d.until(ctx, "add-on "+addon, func() (string, bool, error) {
			out, err := d.api.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: &name, AddonName: &addon})
			if err != nil {
				return "", false, aws.Explain("eks:DescribeAddon "+addon, err)
			}
			a := out.Addon
			if a.Status == types.AddonStatusCreateFailed || a.Status == types.AddonStatusDegraded {
				why := "EKS does not say why"
				if a.Health != nil && len(a.Health.Issues) > 0 {
					why = fmt.Sprintf("%s: %s", a.Health.Issues[0].Code, value(a.Health.Issues[0].Message))
				}
				return "", false, fmt.Errorf("EKS could not install add-on %s (%s): %s", addon, a.Status, why)
			}
			return string(a.Status), a.Status == types.AddonStatusActive, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func health(c *types.Cluster) string {
	if c.Health == nil || len(c.Health.Issues) == 0 {
		return "it does not say why"
	}
	return fmt.Sprintf("%s: %s", c.Health.Issues[0].Code, value(c.Health.Issues[0].Message))
}

// until asks until done; the caller's context bounds it.
func (d *Driver) until(ctx context.Context, what string, ask func() (state string, done bool, err error)) error {
	for {
		state, done, err := ask()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil || done {
			return err
		}
		cluster.Logger(ctx).Debug("waiting for EKS", "what", what, "state", state)
		if err := pause.For(ctx, d.o.Every); err != nil {
			return fmt.Errorf("%s is %s: %w", what, state, err)
		}
	}
}

// Attach implements cluster.Attacher. EKS chooses the patch version, so the
// cluster's own is told as its control plane's, once its minor is the spec's.
func (d *Driver) Attach(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	name := d.name(s)
	found, err := d.describe(ctx, name)
	if err != nil {
		return nil, err
	}
	if d.o.Existing == "" && (s.RunID == "" || found.Tags[cluster.LabelRun] != s.RunID) {
		return nil, fmt.Errorf("cluster %s carries the run id %q, this run's is %q: it is left alone", name, found.Tags[cluster.LabelRun], s.RunID)
	}
	c, err := d.client(s, found)
	if err != nil {
		return nil, err
	}
	v, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("ask cluster %s for its version: %w; the caller needs an access entry of the cluster, and a route to its endpoint", name, err)
	}
	if !runsMinor(s.Version)(v.GitVersion) && value(found.Version) == minor(s.Version) {
		return nil, fmt.Errorf("EKS says that cluster %s is at %s, and its API server runs %s", name, value(found.Version), v.GitVersion)
	}
	c.ControlPlane = cluster.Version(v.GitVersion)
	return c, nil
}

// connect returns clients of the cluster, whoever made it. Its API is not asked.
func (d *Driver) connect(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	found, err := d.describe(ctx, d.name(s))
	if err != nil {
		return nil, err
	}
	return d.client(s, found)
}

func (d *Driver) client(s cluster.Spec, found *types.Cluster) (*cluster.Cluster, error) {
	name := d.name(s)
	ca, err := base64.StdEncoding.DecodeString(value(value(found.CertificateAuthority).Data))
	if err != nil {
		return nil, fmt.Errorf("cluster %s: its certificate authority: %w", name, err)
	}
	config := &rest.Config{Host: value(found.Endpoint), TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	t := &tokens{cluster: name, sts: d.o.Clients.STS}
	config.Wrap(t.wrap)
	return d.o.Connect(s, config)
}

// Delete implements cluster.Driver. A cluster that existed before is left as it
// is, without the canary; one of this run goes with its groups.
func (d *Driver) Delete(ctx context.Context, s cluster.Spec) error {
	stopped := d.twin.Stop()
	if d.o.Existing == "" {
		return errors.Join(stopped, d.remove(ctx, s))
	}
	found, err := d.describe(ctx, d.name(s))
	if err != nil {
		return errors.Join(stopped, err)
	}
	return errors.Join(stopped, d.removeCanary(ctx, s, found))
}

// removeCanary deletes the canary's namespace, and with it the balancer: the end
// of the cluster would not.
func (d *Driver) removeCanary(ctx context.Context, s cluster.Spec, found *types.Cluster) error {
	if s.RunID == "" {
		return nil
	}
	how := d.deleteNamespace(s.RunID)
	c, err := d.client(s, found)
	if err == nil {
		err = cloud.Release(ctx, c.Client, s.RunID, how)
	}
	if err == nil {
		return nil
	}
	return &cluster.RollError{Err: fmt.Errorf("remove the canary from cluster %s: %w", d.name(s), err), Left: []cluster.Leftover{
		{Kind: "balancer", Name: "of the canary in cluster " + d.name(s), RunID: s.RunID, Delete: how},
	}}
}

func (d *Driver) remove(ctx context.Context, s cluster.Spec) error {
	name := d.name(s)
	found, err := d.describe(ctx, name)
	if errors.Is(err, errNoCluster) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.RunID == "" || found.Tags[cluster.LabelRun] != s.RunID {
		return fmt.Errorf("cluster %s carries the run id %q, this run's is %q: it is left alone", name, found.Tags[cluster.LabelRun], s.RunID)
	}
	var canary error
	if found.Status == types.ClusterStatusActive { // else there is no API to ask
		canary = d.removeCanary(ctx, s, found)
	}
	err = d.removeAll(ctx, name)
	if err == nil {
		return canary
	}
	return errors.Join(canary, &cluster.RollError{Err: fmt.Errorf("delete cluster %s: %w", name, err), Left: []cluster.Leftover{{Kind: "EKS cluster", Name: name, RunID: s.RunID, Created: value(found.CreatedAt), Delete: d.DeleteCommand(s)}}})
}

func (d *Driver) removeAll(ctx context.Context, name string) error {
	groups, err := d.groups(ctx, name)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Status == types.NodegroupStatusDeleting {
			continue
		}
		if _, err := d.api.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: &name, NodegroupName: g.NodegroupName}); err != nil {
			return aws.Explain("eks:DeleteNodegroup "+value(g.NodegroupName), err)
		}
	}
	err = d.until(ctx, "node groups of "+name, func() (string, bool, error) {
		left, err := d.groups(ctx, name)
		return fmt.Sprintf("%d left", len(left)), len(left) == 0, err
	})
	if err != nil {
		return err
	}
	if _, err := d.api.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: &name}); err != nil {
		return aws.Explain("eks:DeleteCluster "+name, err)
	}
	return d.until(ctx, "cluster "+name, func() (string, bool, error) {
		c, err := d.describe(ctx, name)
		if errors.Is(err, errNoCluster) {
			return "gone", true, nil
		}
		if err != nil {
			return "", false, err
		}
		return string(c.Status), false, nil
	})
}

// Leftovers implements cluster.LeftoverFinder: clusters that carry a run's id.
func (d *Driver) Leftovers(ctx context.Context) ([]cluster.Leftover, error) {
	var left []cluster.Leftover
	pages := eks.NewListClustersPaginator(d.api, &eks.ListClustersInput{})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, aws.Explain("eks:ListClusters", err)
		}
		for _, name := range p.Clusters {
			c, err := d.describe(ctx, name)
			if errors.Is(err, errNoCluster) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if id := c.Tags[cluster.LabelRun]; id != "" {
				made := Driver{o: Options{Clients: d.o.Clients}}
				left = append(left, cluster.Leftover{Kind: "EKS cluster", Name: name, RunID: id, Created: value(c.CreatedAt), Delete: made.DeleteCommand(cluster.Spec{Name: name})})
			}
		}
	}
	return left, nil
}

// tokenLife is how long a token is used; EKS takes it for fifteen minutes.
const tokenLife = 10 * time.Minute
