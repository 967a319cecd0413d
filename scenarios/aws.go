package scenarios

import (
	"fmt"
	"slices"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Kops declares what the driver kops needs.
type Kops struct {
	// Path of the kops command; empty is kops on PATH.
	Path string `json:"path,omitempty"`
	// StateStore is s3://BUCKET[/PREFIX].
	StateStore string `json:"stateStore"`
	// Name of the cluster with its domain; empty is the run's name in k8s.local.
	Name    string `json:"name,omitempty"`
	Channel string `json:"channel,omitempty"`
	// Manifest is a file in the form of "kops get all -o yaml", to be mirrored. The
	// fields after it, but for the SSH key, have no meaning with one.
	Manifest         string   `json:"manifest,omitempty"`
	Zones            []string `json:"zones,omitempty"`
	ControlPlaneSize string   `json:"controlPlaneSize,omitempty"`
	NodeSize         string   `json:"nodeSize,omitempty"`
	Image            string   `json:"image,omitempty"`
	Topology         string   `json:"topology,omitempty"` // public or private
	DNS              string   `json:"dns,omitempty"`      // public, private or none
	NetworkCIDR      string   `json:"networkCIDR,omitempty"`
	// Networking is kops' name of the network plug-in; it goes before
	// cluster.network. Without either it is cilium.
	Networking  string   `json:"networking,omitempty"`
	AdminAccess []string `json:"adminAccess,omitempty"` // CIDRs that reach the API
	// SSHPublicKey is a file.
	SSHPublicKey string `json:"sshPublicKey,omitempty"`
	// IgnoreDrainErrors goes on with a node that could not be drained.
	IgnoreDrainErrors bool `json:"ignoreDrainErrors,omitempty"`
}

// EKS declares what the driver eks needs.
type EKS struct {
	Region  string `json:"region,omitempty"`  // empty is the environment's
	Profile string `json:"profile,omitempty"` // of ~/.aws/config; empty is the environment's
	// Existing names a cluster that is upgraded where it is, and never deleted. The
	// next six make one instead.
	Existing      string   `json:"existing,omitempty"`
	Subnets       []string `json:"subnets,omitempty"`
	ClusterRole   string   `json:"clusterRole,omitempty"` // ARN
	NodeRole      string   `json:"nodeRole,omitempty"`    // ARN
	InstanceTypes []string `json:"instanceTypes,omitempty"`
	// AMIType is EKS' name of the nodes' image, such as AL2023_ARM_64_STANDARD; empty
	// is EKS' default.
	AMIType string `json:"amiType,omitempty"`
	// Addons are installed in a cluster that is made, by EKS' name of each; an empty
	// version is EKS' default.
	Addons map[string]string `json:"addons,omitempty"`
	// MaxUnavailable and MaxUnavailablePercentage of each node group: at most one.
	MaxUnavailable           int    `json:"maxUnavailable,omitempty"`
	MaxUnavailablePercentage int    `json:"maxUnavailablePercentage,omitempty"`
	UpdateStrategy           string `json:"updateStrategy,omitempty"` // one of UpdateStrategies
	// Force deletes pods that a budget keeps, and overrides insights.
	Force bool `json:"force,omitempty"`
	// LaunchTemplates are versions for node groups with an image of their own.
	LaunchTemplates map[string]string `json:"launchTemplates,omitempty"`
	KeepAddons      bool              `json:"keepAddons,omitempty"`
	// CancelOnInterrupt is refused, with the reason: EKS cancels no upgrade.
	CancelOnInterrupt bool `json:"cancelOnInterrupt,omitempty"`
}

// EKSMinimal is the update strategy that takes a machine down before it adds one.
const EKSMinimal = "MINIMAL"

// Values that EKS and kops take.
var (
	UpdateStrategies = []string{"DEFAULT", EKSMinimal}
	Topologies       = []string{"public", "private"}
	DNSTypes         = []string{"public", "private", "none"}
)

// validateAWS checks what the drivers of AWS need, and that nothing is declared
// for a driver that is not used: it would seem to have an effect.
func (c *Cluster) validateAWS(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case c.Driver == DriverKops && c.Kops == nil:
		errs = append(errs, field.Required(p.Child("kops"), "the driver kops needs a stateStore, and zones or a manifest"))
	case c.Driver != DriverKops && c.Kops != nil:
		errs = append(errs, field.Forbidden(p.Child("kops"), "only the driver kops reads it"))
	case c.Kops != nil:
		errs = append(errs, c.Kops.validate(p.Child("kops"))...)
	}
	switch {
	case c.Driver == DriverEKS && c.EKS == nil:
		errs = append(errs, field.Required(p.Child("eks"), "the driver eks needs the name of an existing cluster, or subnets and roles to make one"))
	case c.Driver != DriverEKS && c.EKS != nil:
		errs = append(errs, field.Forbidden(p.Child("eks"), "only the driver eks reads it"))
	case c.EKS != nil:
		errs = append(errs, c.EKS.validate(p.Child("eks"))...)
	}
	return errs
}

func (k *Kops) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if bucket, ok := strings.CutPrefix(k.StateStore, "s3://"); !ok || bucket == "" {
		errs = append(errs, field.Invalid(p.Child("stateStore"), k.StateStore, "a bucket as s3://BUCKET"))
	}
	if k.Name != "" && (len(utilvalidation.IsDNS1123Subdomain(k.Name)) > 0 || !strings.Contains(k.Name, ".")) {
		errs = append(errs, field.Invalid(p.Child("name"), k.Name, "a name with its domain, such as mirror.k8s.local or mirror.example.com"))
	}
	if k.Manifest == "" && len(k.Zones) == 0 {
		errs = append(errs, field.Required(p.Child("zones"), "name availability zones, or a manifest"))
	}
	errs = append(errs, optional(p.Child("topology"), k.Topology, Topologies)...)
	errs = append(errs, optional(p.Child("dns"), k.DNS, DNSTypes)...)
	if k.Manifest == "" {
		return errs
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"zones", len(k.Zones) > 0}, {"controlPlaneSize", k.ControlPlaneSize != ""}, {"nodeSize", k.NodeSize != ""}, {"image", k.Image != ""}, {"topology", k.Topology != ""},
		{"dns", k.DNS != ""}, {"networkCIDR", k.NetworkCIDR != ""}, {"networking", k.Networking != ""}, {"adminAccess", len(k.AdminAccess) > 0},
	} {
		if f.given {
			errs = append(errs, field.Forbidden(p.Child(f.name), "the manifest says it: leave it out, or change it there"))
		}
	}
	return errs
}

func (e *EKS) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	made := len(e.Subnets) > 0 || e.ClusterRole != "" || e.NodeRole != "" || len(e.InstanceTypes) > 0 || e.AMIType != "" || len(e.Addons) > 0
	switch {
	case e.Existing != "" && made:
		errs = append(errs, field.Invalid(p.Child("existing"), e.Existing, "give either a cluster that exists, or subnets, clusterRole and nodeRole to make one"))
	case e.Existing == "":
		if len(e.Subnets) < 2 {
			errs = append(errs, field.Required(p.Child("subnets"), "at least two, in different zones; or name a cluster in existing"))
		}
		for _, role := range []struct{ name, arn string }{{"clusterRole", e.ClusterRole}, {"nodeRole", e.NodeRole}} {
			if !strings.HasPrefix(role.arn, "arn:") {
				errs = append(errs, field.Invalid(p.Child(role.name), role.arn, "the ARN of a role"))
			}
		}
	}
	if e.MaxUnavailable != 0 && e.MaxUnavailablePercentage != 0 {
		errs = append(errs, field.Invalid(p.Child("maxUnavailablePercentage"), e.MaxUnavailablePercentage, "give one of maxUnavailable and maxUnavailablePercentage"))
	}
	errs = append(errs, within(p.Child("maxUnavailable"), e.MaxUnavailable, 0, 100)...)
	errs = append(errs, within(p.Child("maxUnavailablePercentage"), e.MaxUnavailablePercentage, 0, 100)...)
	errs = append(errs, optional(p.Child("updateStrategy"), e.UpdateStrategy, UpdateStrategies)...)
	if e.CancelOnInterrupt {
		errs = append(errs, field.Invalid(p.Child("cancelOnInterrupt"), true, "EKS cancels no upgrade: CancelUpdate is granted for version rollbacks of clusters in auto mode alone, which this driver does not roll; leave it out"))
	}
	groups := make([]string, 0, len(e.LaunchTemplates))
	for g := range e.LaunchTemplates {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	for _, g := range groups {
		if e.LaunchTemplates[g] == "" {
			errs = append(errs, field.Required(p.Child("launchTemplates").Key(g), fmt.Sprintf("the version of the launch template of node group %s", g)))
		}
	}
	return errs
}

// optional is oneOf for a value that may be left out.
func optional(p *field.Path, got string, accepted []string) field.ErrorList {
	if got == "" {
		return nil
	}
	return oneOf(p, got, accepted)
}
