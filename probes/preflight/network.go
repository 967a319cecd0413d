package preflight

import (
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// tested are the minor versions of Kubernetes that a network plug-in's makers
// say they test a release against.
var tested = map[string]struct {
	source   string
	releases map[string][2]uint // release: oldest and newest minor
}{
	"cilium": {"https://docs.cilium.io/en/stable/network/kubernetes/compatibility/", map[string][2]uint{
		"1.15": {26, 29}, "1.18": {30, 33},
	}},
	"calico": {"https://docs.tigera.io/calico/latest/getting-started/kubernetes/requirements", map[string][2]uint{
		"3.29": {29, 32}, "3.31": {32, 35}, "3.32": {34, 36}, "3.33": {35, 37},
	}},
}

// untied are plug-ins whose makers name no Kubernetes versions, and what they
// use of the API is stable; ended are those that nobody maintains any more.
var (
	untied = map[string]string{
		"flannel": "https://github.com/flannel-io/flannel", "kube-router": "https://github.com/cloudnativelabs/kube-router",
		"kindnet": "https://kind.sigs.k8s.io", "kubenet": "https://kops.sigs.k8s.io/networking/",
	}
	ended = map[string]string{
		"weave-net": "https://github.com/weaveworks/weave was archived in 2024", "kopeio": "kops dropped it",
	}
)

// kubenetLimit is how many nodes kubenet carries where a cloud's route table
// holds one route a node; AWS grants 50 routes.
const kubenetLimit = 50

// network finds a network plug-in that is not recognised, not maintained, not
// tested with the target, or beyond its size. What is not known is said.
func network(s *State) []record.Finding {
	_, to, ok := s.minors()
	if !ok {
		return nil
	}
	name, set := system.Network(s.DaemonSets, s.Nodes)
	object, release := "cluster", ""
	if set != nil {
		object = "daemonset/" + set.Namespace + "/" + set.Name
		if c := set.Spec.Template.Spec.Containers; len(c) > 0 {
			release = probes.ImageVersion(c[0].Image)
		}
	}
	one := func(id, severity, cause, remedy string) []record.Finding {
		return []record.Finding{{ID: id, Severity: severity, Object: object, Cause: cause, Remedy: remedy}}
	}
	var out []record.Finding
	if n := len(s.Nodes); name == "kubenet" && n > kubenetLimit {
		out = one("kubenet-too-large", record.SeverityWarn, fmt.Sprintf("The cluster has %d nodes on kubenet, which needs a route for each; a route table on AWS holds %d, and nodes that an upgrade adds need routes too.", n, kubenetLimit),
			"Raise the quota, or move to a network plug-in without a route for each node.")
	}
	table, known := tested[name]
	minors, listed := table.releases[minorRelease(release)]
	switch {
	case name == "unknown":
		out = append(out, one("network-unknown", record.SeverityWarn, "The network plug-in is none of those known, so it is not known whether it works with "+s.Target+".",
			"Look up which Kubernetes versions it supports, and rehearse with it.")...)
	case ended[name] != "":
		out = append(out, one("network-unmaintained", record.SeverityWarn, fmt.Sprintf("The network plug-in %s is maintained no more (%s): nobody tests it with %s.", name, ended[name], s.Target),
			"Move to a maintained network plug-in, or rehearse the upgrade with this one with care.")...)
	case untied[name] != "":
	case !known || !listed:
		out = append(out, one("network-not-judged", record.SeverityInfo, fmt.Sprintf("It is not known whether the network plug-in %s supports %s: no table of its makers for this release is built in.", strings.TrimSpace(name+" "+release), s.Target),
			"Compare with its makers' table of Kubernetes versions"+sourceText(table.source)+".")...)
	case to < minors[0] || to > minors[1]:
		out = append(out, one("network-untested", record.SeverityWarn, fmt.Sprintf("The network plug-in %s %s is tested by its makers with v1.%d to v1.%d, not with %s.", name, release, minors[0], minors[1], s.Target),
			"Upgrade the plug-in first, see "+table.source+".")...)
	}
	return out
}

func sourceText(url string) string {
	if url == "" {
		return ""
	}
	return ": " + url
}

// minorRelease returns "1.18" for v1.18.3.
func minorRelease(v string) string {
	parts := strings.Split(strings.TrimPrefix(v, "v"), ".")
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + "." + parts[1]
}
