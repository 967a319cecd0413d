package kops

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Rendering says what a manifest becomes.
type Rendering struct {
	Name, StateStore, RunID string
	Version                 cluster.Version
	// Workers is the number of machines that the groups of nodes have together; 0
	// leaves their sizes alone. ControlPlanes, unless 0, must be the number that
	// the manifest has: etcd's members follow from it.
	Workers, ControlPlanes int
}

// bound are the fields of a cluster's spec that tie it to what it was read from:
// production's network, names, certificates, stores and identities. A mirror
// that kept them would be built into production. kops fills in its own.
var bound = []string{
	"networkID", "configBase", "configStore", "keyStore", "secretStore", "dnsZone", "masterPublicName", "masterInternalName",
	"serviceAccountIssuerDiscovery", "egressProxy", "fileAssets.kmsKeyID",
	"api.publicName", "api.loadBalancer.sslCertificate", "api.loadBalancer.additionalSecurityGroups", "api.loadBalancer.subnets", "api.loadBalancer.securityGroupOverride",
	"api.dns",
}

// boundSubnet and boundGroup are the same of a subnet and an instance group.
var (
	boundSubnet = []string{"id", "egress", "publicIP", "additionalRoutes"}
	boundGroup  = []string{"additionalSecurityGroups", "securityGroupOverride", "iam", "externalLoadBalancers"}
	boundEtcd   = []string{"backups", "manager.backupInterval", "manager.backupStore"}
)

// Render turns "kops get all -o yaml" of a production cluster into the manifest
// of a mirror: another name, the version to start from, the run's label on every
// resource, and nothing that binds it to production. SSH keys are left out, since
// they are production's: the scenario names one.
func Render(manifest []byte, r Rendering) ([]byte, error) {
	var out bytes.Buffer
	clusters, controlPlanes := 0, 0
	var workers []map[string]any
	var docs []map[string]any
	for n, text := range strings.Split("\n"+string(manifest), "\n---") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		var doc map[string]any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			return nil, fmt.Errorf("document %d: %w", n+1, err)
		}
		if doc == nil {
			continue
		}
		spec, _ := doc["spec"].(map[string]any)
		if spec == nil {
			return nil, fmt.Errorf("document %d: no spec: want the output of kops get all -o yaml", n+1)
		}
		switch kind := doc["kind"]; kind {
		case "Cluster":
			clusters++
			doc["metadata"] = map[string]any{"name": r.Name}
			renderCluster(spec, r)
		case "InstanceGroup":
			meta, _ := doc["metadata"].(map[string]any)
			doc["metadata"] = map[string]any{"name": meta["name"], "labels": map[string]any{"kops.k8s.io/cluster": r.Name}}
			drop(spec, boundGroup...)
			switch spec["role"] {
			case "Master", "ControlPlane":
				controlPlanes++
			case "Node":
				workers = append(workers, spec)
			}
		case "SSHCredential":
			continue
		default:
			return nil, fmt.Errorf("document %d: kind %v is unknown; accepted: Cluster, InstanceGroup, SSHCredential", n+1, kind)
		}
		docs = append(docs, doc)
	}
	if clusters != 1 {
		return nil, fmt.Errorf("%d documents of kind Cluster: want exactly one, and its InstanceGroups", clusters)
	}
	if r.ControlPlanes > 0 && controlPlanes != r.ControlPlanes {
		return nil, fmt.Errorf("the manifest has %d groups of control planes, the scenario asks for %d: etcd's members follow from the manifest, so correct the scenario", controlPlanes, r.ControlPlanes)
	}
	if err := scale(workers, r.Workers); err != nil {
		return nil, err
	}
	for _, doc := range docs {
		b, err := yaml.Marshal(doc)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(b)
	}
	return out.Bytes(), nil
}

func renderCluster(spec map[string]any, r Rendering) {
	drop(spec, bound...)
	spec["kubernetesVersion"] = strings.TrimPrefix(r.Version.String(), "v")
	spec["configBase"] = strings.TrimSuffix(r.StateStore, "/") + "/" + r.Name
	labels, _ := spec["cloudLabels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
	}
	labels[cluster.LabelRun] = r.RunID
	spec["cloudLabels"] = labels
	for _, s := range list(spec["subnets"]) {
		drop(s, boundSubnet...)
	}
	for _, e := range list(spec["etcdClusters"]) {
		drop(e, boundEtcd...)
	}
}

// scale gives the groups n machines together, as evenly as it goes, the first
// ones more.
func scale(groups []map[string]any, n int) error {
	if n == 0 {
		return nil
	}
	if len(groups) == 0 {
		return errors.New("the manifest has no group of nodes to scale")
	}
	for i, g := range groups {
		size := n / len(groups)
		if i < n%len(groups) {
			size++
		}
		g["minSize"], g["maxSize"] = size, size
	}
	return nil
}

func list(v any) []map[string]any {
	all, _ := v.([]any)
	var out []map[string]any
	for _, x := range all {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// drop deletes fields, whose paths have dots between their names.
func drop(m map[string]any, paths ...string) {
	for _, path := range paths {
		at := m
		names := strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			at, _ = at[name].(map[string]any)
		}
		delete(at, names[len(names)-1])
	}
}
