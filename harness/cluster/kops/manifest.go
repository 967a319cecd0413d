package kops

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Rendering says what a manifest becomes.
type Rendering struct {
	Name, StateStore string
	// RunID is the label on every resource; empty for a manifest that no run has
	// taken up yet.
	RunID   string
	Version cluster.Version
	// Workers is the number of machines that the groups of nodes have together,
	// shared out in the proportion that they have; 0 leaves their sizes alone.
	// ControlPlanes, unless 0, must be the number that the manifest has: etcd's
	// members follow from it.
	Workers, ControlPlanes int
	// Sizes are how many machines each group of nodes has now, where that is known:
	// with an autoscaler the manifest tells only between what.
	Sizes map[string]int
}

// bound are the fields of a cluster's spec that tie it to what it was read from:
// production's network, names, certificates, stores, identities and what they
// may do there. A mirror that kept them would be built into production, or would
// be let into it. kops fills in its own. encryptionConfig goes with them because
// kops wants a secret for it that no manifest carries.
var bound = []string{
	"networkID", "configBase", "configStore", "keyStore", "secretStore", "dnsZone", "masterPublicName", "masterInternalName", "additionalSans",
	"serviceAccountIssuerDiscovery", "podIdentityWebhook", "iam.useServiceAccountExternalPermissions", "iam.serviceAccountExternalPermissions",
	"kubeAPIServer.serviceAccountIssuer", "kubeAPIServer.serviceAccountJWKSURI", "kubeAPIServer.additionalServiceAccountIssuers", "kubeAPIServer.apiAudiences",
	"externalPolicies", "additionalPolicies", "egressProxy", "externalDns", "certManager.hostedZoneIDs", "karpenter", "encryptionConfig", "sshKeyName",
	"gossipConfig", "dnsControllerGossipConfig",
	"api.publicName", "api.loadBalancer.sslCertificate", "api.loadBalancer.additionalSecurityGroups", "api.loadBalancer.subnets", "api.loadBalancer.securityGroupOverride",
	"api.loadBalancer.accessLog", "api.dns",
}

// boundSubnet and boundGroup are the same of a subnet and an instance group.
var (
	boundSubnet = []string{"id", "egress", "publicIP", "additionalRoutes"}
	boundGroup  = []string{"additionalSecurityGroups", "securityGroupOverride", "iam", "externalLoadBalancers", "rootVolumeEncryptionKey"}
	boundEtcd   = []string{"backups", "manager.backupInterval", "manager.backupStore"}
)

// Rendered is the manifest of a mirror.
type Rendered struct {
	Manifest []byte
	// Left are the fields that were taken out, sorted, without their values, and the
	// objects that are no part of a mirror, as "KIND NAME".
	Left []string
}

// Render turns "kops get all -o yaml" of a production cluster into the manifest
// of a mirror: another name, the version to start from, the run's label on every
// resource, and nothing that binds it to production. SSH keys are left out, since
// they are production's: the scenario names one. So are the objects of additional
// add-ons, which may be anything, secrets too.
//
// A mirror whose name ends in .k8s.local publishes no names: its API is found
// through a network balancer, whatever production's was. Rendering what was
// rendered changes nothing but what is asked for.
func Render(manifest []byte, r Rendering) (*Rendered, error) {
	docs, err := Documents(manifest)
	if err != nil {
		return nil, err
	}
	m := &mirroring{r: r, left: map[string]bool{}}
	var kept []Document
	for _, doc := range docs {
		keep, err := m.add(doc)
		if err != nil {
			return nil, err
		}
		if keep {
			kept = append(kept, doc)
		}
	}
	if m.clusters != 1 {
		return nil, fmt.Errorf("%d documents of kind Cluster: want exactly one, and its InstanceGroups", m.clusters)
	}
	if r.ControlPlanes > 0 && m.controlPlanes != r.ControlPlanes {
		return nil, fmt.Errorf("the manifest has %d groups of control planes, the scenario asks for %d: etcd's members follow from the manifest, so correct the scenario", m.controlPlanes, r.ControlPlanes)
	}
	if err := scale(m.workers, r); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, doc := range kept {
		b, err := yaml.Marshal(doc.Object)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(b)
	}
	return &Rendered{Manifest: out.Bytes(), Left: slices.Sorted(maps.Keys(m.left))}, nil
}

// Document is one object of a manifest.
type Document struct {
	Kind, Name string
	// Additional tells that it is no object of kops but of an additional add-on.
	Additional   bool
	Object, Spec map[string]any
}

// Documents splits what "kops get all -o yaml" printed.
func Documents(manifest []byte) ([]Document, error) {
	var docs []Document
	for n, text := range strings.Split("\n"+string(manifest), "\n---") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		var o map[string]any
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			return nil, fmt.Errorf("document %d: %w", n+1, err)
		}
		if o == nil {
			continue
		}
		d := Document{Object: o}
		d.Kind, _ = o["kind"].(string)
		meta, _ := o["metadata"].(map[string]any)
		d.Name, _ = meta["name"].(string)
		d.Spec, _ = o["spec"].(map[string]any)
		version, _ := o["apiVersion"].(string)
		d.Additional = version != "" && !strings.HasPrefix(version, "kops.k8s.io/") && !strings.HasPrefix(version, "kops/")
		switch {
		case d.Additional:
		case d.Spec == nil:
			return nil, fmt.Errorf("document %d: no spec: want the output of kops get all -o yaml", n+1)
		case !slices.Contains(kinds, d.Kind):
			return nil, fmt.Errorf("document %d: kind %v is unknown; accepted: %s", n+1, o["kind"], strings.Join(kinds, ", "))
		}
		docs = append(docs, d)
	}
	return docs, nil
}

var kinds = []string{"Cluster", "InstanceGroup", "SSHCredential"}

// ControlPlane and Workers tell the role of an instance group.
func (d *Document) ControlPlane() bool {
	return d.Kind == "InstanceGroup" && (d.Spec["role"] == "Master" || d.Spec["role"] == "ControlPlane")
}

// Workers tells whether it is a group of nodes.
func (d *Document) Workers() bool { return d.Kind == "InstanceGroup" && d.Spec["role"] == "Node" }

// mirroring is a rendering under way.
type mirroring struct {
	r                       Rendering
	clusters, controlPlanes int
	workers                 []Document
	left                    map[string]bool
}

// add renders one document, and tells whether it is part of the mirror.
func (m *mirroring) add(d Document) (bool, error) {
	switch {
	case d.Additional || d.Kind == "SSHCredential":
		m.left[strings.TrimSpace(d.Kind+" "+d.Name)] = true
		return false, nil
	case d.Kind == "Cluster":
		m.clusters++
		d.Object["metadata"] = map[string]any{"name": m.r.Name}
		m.cluster(d.Spec)
		return true, nil
	}
	d.Object["metadata"] = map[string]any{"name": d.Name, "labels": map[string]any{"kops.k8s.io/cluster": m.r.Name}}
	m.drop("instanceGroup.", d.Spec, boundGroup...)
	for _, v := range Objects(d.Spec["volumes"]) {
		m.drop("instanceGroup.volumes.", v, "key")
	}
	if d.ControlPlane() {
		m.controlPlanes++
	}
	if d.Workers() {
		m.workers = append(m.workers, d)
	}
	return true, nil
}

func (m *mirroring) cluster(spec map[string]any) {
	m.drop("", spec, bound...)
	spec["kubernetesVersion"] = strings.TrimPrefix(m.r.Version.String(), "v")
	spec["configBase"] = strings.TrimSuffix(m.r.StateStore, "/") + "/" + m.r.Name
	if m.r.RunID != "" {
		inner(spec, "cloudLabels")[cluster.LabelRun] = m.r.RunID
	}
	for _, s := range Objects(spec["subnets"]) {
		m.drop("subnets.", s, boundSubnet...)
	}
	for _, e := range Objects(spec["etcdClusters"]) {
		m.drop("etcdClusters.", e, boundEtcd...)
		for _, member := range Objects(e["etcdMembers"]) {
			m.drop("etcdClusters.etcdMembers.", member, "kmsKeyId")
		}
	}
	if !strings.HasSuffix(m.r.Name, ".k8s.local") {
		return
	}
	if dns := inner(inner(spec, "topology"), "dns"); dns["type"] != "None" {
		if dns["type"] != nil {
			m.left["topology.dns"] = true
		}
		dns["type"] = "None"
	}
	balancer := inner(inner(spec, "api"), "loadBalancer")
	balancer["class"] = "Network" // without names kops takes no other
	if balancer["type"] == nil {
		balancer["type"] = "Public"
	}
}

// inner is the object of a field, made where there is none.
func inner(m map[string]any, name string) map[string]any {
	o, _ := m[name].(map[string]any)
	if o == nil {
		o = map[string]any{}
		m[name] = o
	}
	return o
}

// scale gives the groups as many machines together as are asked for: one to each,
// the largest first, so that a small group of another instance type does not
// vanish, and then one by one to the group that lacks most of its share.
func scale(groups []Document, r Rendering) error {
	if r.Workers == 0 {
		return nil
	}
	if len(groups) == 0 {
		return errors.New("the manifest has no group of nodes to scale")
	}
	sum := 0
	weights, sizes, order := make([]int, len(groups)), make([]int, len(groups)), make([]int, len(groups))
	for i, g := range groups {
		weights[i], order[i] = max(1, GroupSize(g, r.Sizes)), i
		sum += weights[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return weights[b] - weights[a] })
	left := r.Workers
	for _, i := range order {
		if left > 0 {
			sizes[i]++
			left--
		}
	}
	for ; left > 0; left-- {
		next, most := 0, -1.0
		for i := range groups {
			if lack := float64(weights[i])*float64(r.Workers)/float64(sum) - float64(sizes[i]); lack > most {
				next, most = i, lack
			}
		}
		sizes[next]++
	}
	for i, g := range groups {
		g.Spec["minSize"], g.Spec["maxSize"] = sizes[i], sizes[i]
	}
	return nil
}

// GroupSize is how many machines a group has: as it was seen, else its least.
func GroupSize(d Document, seen map[string]int) int {
	if n, ok := seen[d.Name]; ok {
		return n
	}
	n, _ := d.Spec["minSize"].(float64)
	return int(n)
}

// Objects returns those elements of a manifest's list that are objects.
func Objects(v any) []map[string]any {
	all, _ := v.([]any)
	var out []map[string]any
	for _, x := range all {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// drop deletes fields, whose paths have dots between their names, and notes those
// that were there.
func (m *mirroring) drop(at string, o map[string]any, paths ...string) {
	for _, path := range paths {
		in := o
		names := strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			in, _ = in[name].(map[string]any)
		}
		last := names[len(names)-1]
		if _, there := in[last]; there {
			m.left[at+path] = true
		}
		delete(in, last)
	}
}
