// Package fromkops tells facts of a production cluster from its definition in the
// state store of kops, and makes the manifest of its mirror.
//
// It works on the text that "kops get all -o yaml" prints and asks nobody
// anything. What the definition says is observed as what is declared: a
// difference that nobody has rolled out yet shows as one between this and what the
// API server tells, which goes first.
package fromkops

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	"github.com/kube-rehearse/rehearse/harness/mirror"
)

// Source is a cluster's definition.
type Source struct {
	store, evidence string
	manifest        []byte
	cluster         map[string]any // its spec
	groups          []kops.Document
}

var _ mirror.Source = (*Source)(nil)

// New reads a definition. The store is where it is kept, or empty where that is
// not known; evidence says where it was read, for every fact.
func New(manifest []byte, store, evidence string) (*Source, error) {
	docs, err := kops.Documents(manifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", evidence, err)
	}
	s := &Source{store: store, evidence: evidence, manifest: manifest}
	for _, d := range docs {
		switch d.Kind {
		case "Cluster":
			s.cluster = d.Spec
		case "InstanceGroup":
			s.groups = append(s.groups, d)
		}
	}
	if s.cluster == nil || len(s.groups) == 0 {
		return nil, fmt.Errorf("%s: want one document of kind Cluster and its InstanceGroups, as kops get all -o yaml prints them", evidence)
	}
	return s, nil
}

// Name implements mirror.Source.
func (s *Source) Name() string { return s.evidence }

// Groups are the names of the instance groups.
func (s *Source) Groups() []string {
	names := make([]string, len(s.groups))
	for i, g := range s.groups {
		names[i] = g.Name
	}
	return names
}

// Manifest is the mirror's, for the driver kops to render once more with the name
// and the id of each run. seen is how many machines each group has now.
func (s *Source) Manifest(name, store string, from cluster.Version, workers int, seen map[string]int) ([]byte, error) {
	r, err := kops.Render(s.manifest, kops.Rendering{Name: name, StateStore: store, Version: from, Workers: workers, Sizes: seen})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.evidence, err)
	}
	return r.Manifest, nil
}

// Facts implements mirror.Source.
func (s *Source) Facts(context.Context) ([]mirror.Fact, error) {
	f := &facts{s: s}
	f.observed(mirror.FactPlatform, mirror.PlatformKops, "")
	f.observed(mirror.FactStateStore, s.store, "")
	f.observed(mirror.FactSpecVersion, text(s.cluster["kubernetesVersion"]), "spec.kubernetesVersion")
	f.groups()
	f.network()
	f.system()
	if err := f.ties(); err != nil {
		return nil, err
	}
	return f.all, nil
}

type facts struct {
	s   *Source
	all []mirror.Fact
}

func (f *facts) add(name, value string, c mirror.Certainty, at string) {
	if value == "" {
		return // the definition leaves it to kops' default
	}
	evidence := f.s.evidence
	if at != "" {
		evidence = at + " in " + evidence
	}
	f.all = append(f.all, mirror.Fact{Name: name, Value: value, Certainty: c, Evidence: evidence})
}

func (f *facts) observed(name, value, at string) { f.add(name, value, mirror.Observed, at) }

func (f *facts) groups() {
	zones := map[string]string{}
	for _, s := range kops.Objects(f.s.cluster["subnets"]) {
		zones[text(s["name"])] = text(s["zone"])
	}
	planes, least, most := 0, 0, 0
	types, in := map[string]int{}, map[string]int{}
	var groups []mirror.Fact
	for _, g := range f.s.groups {
		lo, hi := number(g.Spec["minSize"]), number(g.Spec["maxSize"])
		role := strings.ToLower(text(g.Spec["role"]))
		switch {
		case g.ControlPlane():
			planes, role = planes+1, "control plane"
		case g.Workers():
			least, most, role = least+lo, most+hi, "workers"
		}
		parts := []string{role, text(g.Spec["machineType"]), fmt.Sprintf("%d to %d", lo, hi)}
		types[text(g.Spec["machineType"])] += max(lo, 1)
		for _, subnet := range texts(g.Spec["subnets"]) {
			if z := zones[subnet]; z != "" {
				in[z]++
				parts = append(parts, z)
			}
		}
		parts = append(parts, text(g.Spec["image"]))
		for _, x := range []struct{ field, name string }{{"mixedInstancesPolicy", "mixed instances"}, {"additionalUserData", "additional user data"}, {"warmPool", "a warm pool"}} {
			if g.Spec[x.field] != nil {
				parts = append(parts, x.name)
			}
		}
		groups = append(groups, mirror.Fact{Name: mirror.GroupPrefix + g.Name, Value: joined(parts...), Certainty: mirror.Observed, Evidence: "InstanceGroup " + g.Name + " in " + f.s.evidence})
	}
	f.observed(mirror.FactControlPlanes, count(planes), "InstanceGroups of role Master")
	if least == most {
		f.observed(mirror.FactWorkers, count(least), "InstanceGroups of role Node")
	}
	delete(types, "")
	f.add(mirror.FactInstanceTypes, mirror.Tally(types), mirror.Inferred, "machineType of the InstanceGroups, counted by minSize,")
	f.add(mirror.FactZones, mirror.Tally(in), mirror.Inferred, "subnets of the InstanceGroups")
	f.all = append(f.all, groups...)
}

// plugins are kops' names of network plug-ins where ours differ.
var plugins = map[string]string{"amazonvpc": "aws-node", "kuberouter": "kube-router"}

func (f *facts) network() {
	networking, _ := f.s.cluster["networking"].(map[string]any)
	if names := slices.Sorted(maps.Keys(networking)); len(names) > 0 { // kops takes one
		plugin := plugins[names[0]]
		if plugin == "" {
			plugin = names[0]
		}
		f.observed(mirror.FactNetwork, plugin, "spec.networking")
		f.observed(mirror.FactNetworkConfig, options(networking[names[0]]), "spec.networking."+names[0])
	}
	f.observed(mirror.FactServiceCIDR, text(f.s.cluster["serviceClusterIPRange"]), "spec.serviceClusterIPRange")
	f.observed(mirror.FactPodCIDR, text(f.s.cluster["podCIDR"]), "spec.podCIDR")
	proxy, _ := f.s.cluster["kubeProxy"].(map[string]any)
	switch proxy["enabled"] {
	case false:
		f.observed(mirror.FactKubeProxy, "none", "spec.kubeProxy.enabled")
	default:
		f.observed(mirror.FactKubeProxy, text(proxy["proxyMode"]), "spec.kubeProxy.proxyMode")
	}
	api, _ := f.s.cluster["api"].(map[string]any)
	if b, ok := api["loadBalancer"].(map[string]any); ok {
		f.observed(mirror.FactAPIAccess, joined("balancer of class "+text(b["class"]), text(b["type"])), "spec.api.loadBalancer")
	} else if api["dns"] != nil {
		f.observed(mirror.FactAPIAccess, "DNS without a balancer", "spec.api.dns")
	}
}

func (f *facts) system() {
	for _, e := range kops.Objects(f.s.cluster["etcdClusters"]) {
		if text(e["name"]) == "main" {
			f.observed(mirror.FactEtcd, mirror.Count(len(kops.Objects(e["etcdMembers"])), "member"), "spec.etcdClusters")
		}
	}
	authorization, _ := f.s.cluster["authorization"].(map[string]any)
	_, on := authorization["rbac"]
	f.observed(mirror.FactRBAC, map[bool]string{true: "on", false: "off"}[on], "spec.authorization")
	var gates []string
	for _, component := range []string{"kubeAPIServer", "kubeControllerManager", "kubeScheduler", "kubelet"} {
		c, _ := f.s.cluster[component].(map[string]any)
		if set, _ := c["featureGates"].(map[string]any); len(set) > 0 {
			gates = append(gates, component+": "+options(set))
		}
	}
	f.observed(mirror.FactDeclaredGates, strings.Join(gates, ", "), "featureGates")
}

// trivial are fields that say nothing of what a mirror lacks: each cluster has its
// own of them.
var trivial = []string{"configBase", "configStore", "keyStore", "secretStore", "sshKeyName", "subnets.id", "networkID", "masterPublicName", "masterInternalName"}

// ties tells what a mirror leaves out of the definition.
func (f *facts) ties() error {
	r, err := kops.Render(f.s.manifest, kops.Rendering{Name: "mirror.k8s.local", StateStore: "s3://mirror", Version: "v1.0.0"})
	if err != nil {
		return fmt.Errorf("%s: %w", f.s.evidence, err)
	}
	var left []string
	for _, l := range r.Left {
		if !slices.Contains(trivial, l) && !strings.HasPrefix(l, "SSHCredential") {
			left = append(left, l)
		}
	}
	f.observed(mirror.FactTies, strings.Join(left, ", "), "what a mirror may not keep")
	return nil
}

// options are the settings of an object, in one line and in order.
func options(v any) string {
	m, _ := v.(map[string]any)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		value := text(m[k])
		if value == "" {
			b, err := json.Marshal(m[k])
			if err != nil {
				continue
			}
			value = string(b)
		}
		parts = append(parts, k+"="+value)
	}
	return strings.Join(parts, " ")
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool, float64:
		return fmt.Sprint(v)
	}
	return ""
}

func number(v any) int {
	f, _ := v.(float64)
	return int(f)
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

func texts(v any) []string {
	all, _ := v.([]any)
	var out []string
	for _, x := range all {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
