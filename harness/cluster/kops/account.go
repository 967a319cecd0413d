package kops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// defaultType is what kops takes where no size is given.
const defaultType = "t3.medium"

// demand is what one instance group asks of the account.
type demand struct {
	machine, image string
	zones          []string
	count          int
	given          bool // the type was named, and not left to kops
}

// findings are those of several looks at the account, of which each is taken
// whatever came of the others.
type findings []record.Finding

// add keeps what one look found, and returns its error.
func (f *findings) add(more []record.Finding, err error) error {
	*f = append(*f, more...)
	return err
}

// account looks at the account that the cluster is to be made in: credentials,
// the bucket of the state, what each zone offers, quotas with room for the
// machines and one more for the surge, and permissions. It only reads.
func (d *Driver) account(ctx context.Context, s cluster.Spec) ([]record.Finding, error) {
	c := d.o.Clients
	who, err := aws.WhoAmI(ctx, c.STS)
	if err != nil {
		return nil, err
	}
	var found findings
	bucket, _, _ := strings.Cut(strings.TrimPrefix(d.o.StateStore, "s3://"), "/")
	demands, private, err := d.demands(s)
	if err != nil {
		return nil, err
	}
	actions := aws.KopsActions
	if len(private) > 0 {
		actions = slices.Concat(actions, aws.NATActions)
	}
	err = errors.Join(
		found.add(aws.Bucket(ctx, aws.Anywhere(ctx, c.S3, bucket), bucket)),
		found.add(d.offers(ctx, demands)),
		found.add(d.quotas(ctx, demands, private)),
		found.add(aws.Permissions(ctx, c.IAM, c.EC2, who, actions)),
	)
	return found, err
}

// offers checks each machine that is asked for by its type, once.
func (d *Driver) offers(ctx context.Context, demands []demand) ([]record.Finding, error) {
	zones := map[[2]string]map[string]bool{}
	for _, x := range demands {
		if !x.given {
			continue
		}
		key := [2]string{x.machine, ""}
		if strings.HasPrefix(x.image, "ami-") { // kops knows images by other names, too, and finds those itself
			key[1] = x.image
		}
		if zones[key] == nil {
			zones[key] = map[string]bool{}
		}
		for _, z := range x.zones {
			zones[key][z] = true
		}
	}
	var found []record.Finding
	for _, key := range slices.SortedFunc(maps.Keys(zones), func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) }) {
		more, err := aws.Machines(ctx, d.o.Clients.EC2, aws.Machine{Type: key[0], Image: key[1], Zones: slices.Sorted(maps.Keys(zones[key]))})
		found = append(found, more...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// quotas checks that the machines of the cluster and the largest of them once
// more, which is kops' surge, are within the account's limits, and a VPC too. For
// each zone with private subnets kops makes a NAT gateway with an Elastic IP.
func (d *Driver) quotas(ctx context.Context, demands []demand, private []string) ([]record.Finding, error) {
	c := d.o.Clients
	var names []string
	for _, x := range demands {
		names = append(names, x.machine)
	}
	per, err := aws.VCPUs(ctx, c.EC2, names)
	if err != nil {
		return nil, err
	}
	more, surge := 0.0, 0.0
	for _, x := range demands {
		if aws.Standard(x.machine) {
			more += float64(x.count) * per[x.machine]
			surge = max(surge, per[x.machine])
		}
	}
	used, err := aws.UsedVCPUs(ctx, c.EC2)
	if err != nil {
		return nil, err
	}
	vpcs, err := aws.UsedVPCs(ctx, c.EC2)
	if err != nil {
		return nil, err
	}
	nats, err := aws.NATs(ctx, c.EC2, private)
	if err != nil {
		return nil, err
	}
	return aws.Quotas(ctx, c.Quotas, append([]aws.Quota{aws.QuotaStandardVCPUs(used, more+surge), aws.QuotaVPCs(vpcs, 1)}, nats...))
}

// demands are the instance groups that the scenario asks for, and the zones with
// private subnets.
func (d *Driver) demands(s cluster.Spec) (groups []demand, private []string, err error) {
	if d.o.Manifest == "" {
		of := func(size string, count int) demand {
			x := demand{machine: size, image: d.o.Image, zones: d.o.Zones, count: count, given: size != ""}
			if !x.given {
				x.machine = defaultType
			}
			return x
		}
		if d.o.Topology == "private" {
			private = d.o.Zones
		}
		return []demand{of(d.o.ControlPlaneSize, s.ControlPlanes), of(d.o.NodeSize, s.Workers)}, private, nil
	}
	given, err := os.ReadFile(d.o.Manifest)
	if err != nil {
		return nil, nil, nil // told by options
	}
	rendered, err := Render(given, Rendering{Name: d.name(s), StateStore: d.o.StateStore, RunID: s.RunID, Version: s.Version, Workers: s.Workers, ControlPlanes: s.ControlPlanes})
	if err != nil {
		return nil, nil, fmt.Errorf("cluster.kops.manifest: %s: %w", d.o.Manifest, err)
	}
	return groupsOf(rendered.Manifest)
}

// groupsOf reads the instance groups of a manifest, and in which zones it has
// private subnets, each once and sorted.
func groupsOf(manifest []byte) (groups []demand, private []string, err error) {
	docs, err := Documents(manifest)
	if err != nil {
		return nil, nil, err
	}
	zones := map[string]string{}
	for _, doc := range docs {
		if doc.Kind == "Cluster" && !doc.Additional {
			for _, s := range Objects(doc.Spec["subnets"]) {
				name, _ := s["name"].(string)
				zones[name], _ = s["zone"].(string)
				if s["type"] == "Private" && !slices.Contains(private, zones[name]) {
					private = append(private, zones[name])
				}
			}
		}
	}
	slices.Sort(private)
	for _, doc := range docs {
		if doc.Kind != "InstanceGroup" || doc.Additional {
			continue
		}
		machine, _ := doc.Spec["machineType"].(string)
		x := demand{machine: machine, given: machine != ""}
		x.image, _ = doc.Spec["image"].(string)
		size, _ := doc.Spec["maxSize"].(float64)
		x.count = int(size)
		if !x.given {
			x.machine = defaultType
		}
		names, _ := doc.Spec["subnets"].([]any)
		for _, n := range names {
			if name, ok := n.(string); ok && zones[name] != "" {
				x.zones = append(x.zones, zones[name])
			}
		}
		groups = append(groups, x)
	}
	return groups, private, nil
}

var regionForm = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d+`)

// Region is the region of the zones, or else of the manifest's: "" where neither
// tells. A manifest that cannot be read is an error.
func Region(zones []string, manifest string) (string, error) {
	if manifest != "" {
		text, err := os.ReadFile(manifest)
		if err != nil {
			return "", err
		}
		groups, _, err := groupsOf(text)
		if err != nil {
			return "", fmt.Errorf("%s: %w", manifest, err)
		}
		for _, g := range groups {
			zones = append(zones, g.zones...)
		}
	}
	for _, z := range zones {
		if r := regionForm.FindString(z); r != "" {
			return r, nil
		}
	}
	return "", nil
}
