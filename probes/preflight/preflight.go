// Package preflight looks, before an upgrade begins, for what is known to stop
// or spoil one: nodes that are not fit, budgets that allow no eviction, pods
// that nobody makes again, webhooks that would refuse evictions, APIs that the
// target no longer serves. It reads the cluster and changes nothing.
//
// Observe lists what is looked at into a State, which can be kept as a file and
// read again. One file holds one check. A check is a pure function of State, so
// each is tested with objects alone.
package preflight

import (
	"context"
	"fmt"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Check is one thing looked for.
type Check struct {
	// Name says what is looked for, as a heading.
	Name string
	// Needs are the resources without which the check cannot be made.
	Needs []Resource
	// IDs are those that its findings can have.
	IDs  []string
	Find func(*State) []record.Finding
}

// Checks are all checks, in the order in which their findings are reported.
func Checks() []Check {
	return []Check{
		{"the hop is one that can be made", []Resource{Version}, []string{"version-unreadable", "version-downgrade", "version-skip", "version-same"}, hop},
		{"versions may be combined", []Resource{Version, Nodes}, []string{"version-skew"}, versionSkew},
		{"nodes can run the target", []Resource{Version, Nodes}, []string{"runtime-too-old", "runtime-unknown", "kernel-too-old"}, nodeSoftware},
		{"kubelets will start again", []Resource{Version, Kubelets}, []string{"kubelet-silent", "cgroup-v1", "swap-refused", "kernel-defaults-protected"}, kubelets},
		{"no setting is used that the target took out", []Resource{Version, Pods, Kubelets}, []string{"removed-feature-gate", "removed-flag", "settings-not-judged"}, removedSettings},
		{"machines under the nodes are healthy", []Resource{Hosts}, []string{"host-not-checked", "host-service-down", "host-time-unsynchronised", "host-kernel-parameter", "host-flag-removed"}, hosts},
		{"the network plug-in works with the target", []Resource{Version, Workloads, Nodes}, []string{"network-unknown", "network-unmaintained", "network-untested", "network-not-judged", "kubenet-too-large"}, network},
		{"nodes are fit", []Resource{Nodes}, []string{"node-not-ready", "node-cordoned", "node-condition"}, unfitNodes},
		{"control planes can form a quorum", []Resource{Nodes}, []string{"single-control-plane", "even-control-planes", "control-planes-in-one-zone"}, controlPlanes},
		{"API services are available", []Resource{APIServices}, []string{"api-service-unavailable"}, unavailableAPIServices},
		{"no broken system pod lingers", []Resource{Pods}, []string{"lingering-pod"}, lingeringPods},
		{"disruption budgets allow evictions", []Resource{Budgets, Pods}, []string{"budget-allows-none", "budget-not-computed", "budget-exhausted", "budget-guards-unready"}, blockingBudgets},
		{"no pod has two disruption budgets", []Resource{Budgets, Pods}, []string{"budgets-overlap"}, overlappingBudgets},
		{"webhooks do not refuse pods or evictions", []Resource{Webhooks, Endpoints}, []string{"webhook-down", "webhook-decides-evictions", "webhook-decides-system"}, webhooks},
		{"admission policies do not deny evictions", []Resource{Policies}, []string{"policy-decides-evictions", "policy-decides-system"}, policies},
		{"every pod is made again", []Resource{Pods}, []string{"bare-pod"}, barePods},
		{"workloads survive the loss of a node", []Resource{Workloads, Pods, Budgets}, []string{"single-replica", "replicas-on-one-node"}, singleReplicas},
		{"the pods of any one node fit on the others", []Resource{Nodes, Pods}, []string{"no-room"}, capacity},
		{"no data stay on a node", []Resource{Pods}, []string{"host-path", "empty-dir"}, localData},
		{"volumes follow their pods", []Resource{Volumes, Pods, Nodes}, []string{"volume-tied-to-node", "volume-tied-to-zone"}, tiedVolumes},
		{"this build knows which APIs the target took out", []Resource{Version}, []string{"api-table-too-old"}, tableTooOld},
		{"no API is used that the target took out: requests to the API server", []Resource{Version, apiTableOfTarget, Requests}, []string{"api-removed", "api-deprecated"}, byEvidence(EvidenceRequested)},
		{"no API is used that the target took out: objects", []Resource{Version, apiTableOfTarget, Objects}, nil, byEvidence(EvidenceManaged, EvidenceApplied)},
		{"no API is used that the target took out: Helm releases", []Resource{Version, apiTableOfTarget, HelmReleases}, nil, byEvidence(EvidenceHelm)},
	}
}

// Result is what one check came to.
type Result struct {
	Check    string
	Findings []record.Finding
	// NotChecked says why the check could not be made, or is "".
	NotChecked string
}

// Examine makes every check whose resources could be read, in order, and says
// of the others why they were not made.
func Examine(s *State) []Result {
	checks := Checks()
	out := make([]Result, 0, len(checks))
	for _, c := range checks {
		r := Result{Check: c.Name, NotChecked: s.unread(c.Needs)}
		if r.NotChecked == "" {
			r.Findings = c.Find(s)
		}
		out = append(out, r)
	}
	return out
}

// unread says why the first of the resources could not be read, or "".
func (s *State) unread(needs []Resource) string {
	for _, r := range needs {
		if why := s.NotRead[r]; why != "" {
			return why
		}
		if r == apiTableOfTarget && s.beyondTable() {
			return fmt.Sprintf("this build knows which APIs were removed up to v1.%d", apiTableMinor)
		}
	}
	return ""
}

// Run returns the findings of all checks that could be made, in their order.
func Run(s *State) []record.Finding {
	var found [][]record.Finding
	for _, r := range Examine(s) {
		found = append(found, r.Findings)
	}
	return slices.Concat(found...)
}

// Look observes the cluster and makes all checks; target is the version that the
// upgrade goes to, or "". The error means that it could not look at anything.
func Look(ctx context.Context, src Source, target string) ([]Result, error) {
	s, err := Observe(ctx, src)
	if err != nil {
		return nil, err
	}
	s.Target = target
	return Examine(s), nil
}
