package preflight

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Kubelet is what a kubelet says of itself through the API server's proxy to its
// node: of its configuration (configz) what decides whether it starts again, and
// of its metrics the version of cgroups.
type Kubelet struct {
	Node                  string          `json:"node"`
	FailSwapOn            bool            `json:"failSwapOn"`
	ProtectKernelDefaults bool            `json:"protectKernelDefaults"`
	FailCgroupV1          *bool           `json:"failCgroupV1,omitempty"`
	FeatureGates          map[string]bool `json:"featureGates,omitempty"`
	// Cgroup is 1 or 2, or 0 where the kubelet does not tell (before v1.31).
	Cgroup int `json:"cgroup,omitempty"`
	// Problem says why the kubelet did not answer, or is "".
	Problem string `json:"problem,omitempty"`
}

// kubelets finds kubelets that would not start again, by their configuration
// and the node's kernel, and those that do not answer.
func kubelets(s *State) []record.Finding {
	_, to, ok := s.minors()
	if !ok {
		return nil
	}
	swap := map[string]int64{}
	for i := range s.Nodes {
		if sw := s.Nodes[i].Status.NodeInfo.Swap; sw != nil && sw.Capacity != nil {
			swap[s.Nodes[i].Name] = *sw.Capacity
		}
	}
	var out []record.Finding
	for _, k := range s.Kubelets {
		find := func(id, severity, cause, remedy string) {
			out = append(out, record.Finding{ID: id, Severity: severity, Object: "node/" + k.Node, Cause: cause, Remedy: remedy})
		}
		if k.Problem != "" {
			find("kubelet-silent", record.SeverityWarn, fmt.Sprintf("The kubelet of node %s does not answer through the API server: %s. Logs and exec do not work there either.", k.Node, k.Problem),
				"Look at the kubelet, its serving certificate, and at what filters port 10250.")
			continue
		}
		// Before v1.35 configz shows the default, false, even where nobody set it;
		// v1.35 changed the default to true (KEP-5573).
		switch running := minorOf(s.Versions.Kubelets[k.Node]); {
		case k.Cgroup == 1 && to >= 35 && running < 35:
			find("cgroup-v1", record.SeverityBlock, fmt.Sprintf("Node %s uses cgroup v1. From v1.35 on a kubelet does not start there unless its configuration says failCgroupV1: false.", k.Node),
				"Move the node to an operating system with cgroup v2, or write failCgroupV1: false into the kubelet's configuration; if it is written there already, this is no obstacle.")
		case k.Cgroup == 1:
			find("cgroup-v1", record.SeverityWarn, fmt.Sprintf("Node %s uses cgroup v1, which Kubernetes maintains no more.", k.Node),
				"Move the node to an operating system with cgroup v2; v1.35 needs it by default.")
		}
		if k.FailSwapOn && swap[k.Node] > 0 {
			find("swap-refused", record.SeverityBlock, fmt.Sprintf("Node %s has %s of swap and its kubelet's configuration says failSwapOn: true: once restarted, the kubelet does not come up.", k.Node, byteCount(swap[k.Node])),
				"Turn swap off (swapoff -a, and in /etc/fstab), or set failSwapOn: false.")
		}
		if k.ProtectKernelDefaults {
			find("kernel-defaults-protected", record.SeverityInfo, fmt.Sprintf("The kubelet of node %s has protectKernelDefaults: it does not start where vm.overcommit_memory, vm.panic_on_oom, kernel.panic or kernel.panic_on_oops differ from what it wants. A new node image must set them.", k.Node),
				"Make sure that the image of new nodes sets them (1, 0, 10 and 1).")
		}
	}
	return out
}
