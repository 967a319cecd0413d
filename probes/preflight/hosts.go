package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Host is what a check pod saw of the machine under a node.
type Host struct {
	Node string `json:"node"`
	// Problem says why the machine could not be looked at, or is "".
	Problem string `json:"problem,omitempty"`
	// Services are the states of the node's services by name, as systemd says
	// them; Failed are units that failed.
	Services map[string]string `json:"services,omitempty"`
	Failed   []string          `json:"failed,omitempty"`
	// TimeSynchronised is yes, no, or "" where the machine does not tell.
	TimeSynchronised string            `json:"timeSynchronised,omitempty"`
	KubeletHealth    string            `json:"kubeletHealth,omitempty"`
	Kernel           map[string]string `json:"kernel,omitempty"` // sysctl to value
	KubeletFlags     []string          `json:"kubeletFlags,omitempty"`
	Cgroup           int               `json:"cgroup,omitempty"`
}

// protectedKernel is what a kubelet with protectKernelDefaults wants
// (k8s.io/kubernetes/pkg/kubelet/cm/container_manager_linux.go).
var protectedKernel = map[string]string{"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10", "kernel.panic_on_oops": "1"}

// hosts finds machines whose services, clock or kernel parameters would spoil
// the restart of a kubelet.
func hosts(s *State) []record.Finding {
	protects := map[string]bool{}
	for _, k := range s.Kubelets {
		protects[k.Node] = k.ProtectKernelDefaults
	}
	from, to, versions := s.minors()
	var out []record.Finding
	for _, h := range s.Hosts {
		find := func(id, severity, cause, remedy string) {
			out = append(out, record.Finding{ID: id, Severity: severity, Object: "node/" + h.Node, Cause: cause, Remedy: remedy})
		}
		if h.Problem != "" {
			find("host-not-checked", record.SeverityWarn, fmt.Sprintf("The machine under node %s could not be looked at: %s.", h.Node, h.Problem), "Look at it by hand: services, clock, kernel parameters.")
			continue
		}
		var down []string
		for _, name := range sortedKeys(h.Services) {
			if state := h.Services[name]; state == "failed" || state == "activating" || state == "deactivating" {
				down = append(down, name+" is "+state)
			}
		}
		if len(h.Failed) > 0 {
			down = append(down, "failed: "+several(h.Failed))
		}
		if h.KubeletHealth != "" && h.KubeletHealth != "ok" {
			down = append(down, "the kubelet's health check says "+h.KubeletHealth)
		}
		if len(down) > 0 {
			find("host-service-down", record.SeverityWarn, fmt.Sprintf("On node %s, %s.", h.Node, strings.Join(down, "; ")), "journalctl -u on the node says why; repair it before the upgrade is blamed.")
		}
		if h.TimeSynchronised == "no" {
			find("host-time-unsynchronised", record.SeverityWarn, fmt.Sprintf("The clock of node %s is not synchronised: certificates that an upgrade makes may not be valid there yet, and leases look old.", h.Node),
				"Start chronyd, ntpd or systemd-timesyncd, and let it reach its servers.")
		}
		if v := h.Kernel["net.ipv4.ip_forward"]; v == "0" {
			find("host-kernel-parameter", record.SeverityBlock, fmt.Sprintf("On node %s net.ipv4.ip_forward is 0: kubeadm refuses to go on, and pods reach nothing.", h.Node), "sysctl -w net.ipv4.ip_forward=1, and in /etc/sysctl.d.")
		}
		if protects[h.Node] {
			for _, key := range sortedKeys(protectedKernel) {
				if v := h.Kernel[key]; v != "" && v != protectedKernel[key] {
					find("host-kernel-parameter", record.SeverityBlock, fmt.Sprintf("On node %s %s is %s and the kubelet, with protectKernelDefaults, wants %s: once restarted it does not come up.", h.Node, key, v, protectedKernel[key]),
						"Set it in /etc/sysctl.d, or set protectKernelDefaults: false.")
				}
			}
		}
		for _, f := range h.KubeletFlags {
			if minor, gone := since(removedFlags["kubelet"], f, from, to); versions && gone {
				severity, remedy := record.SeverityBlock, "Take it out of the kubelet's unit or of /var/lib/kubelet/kubeadm-flags.env."
				if f == "pod-infra-container-image" {
					severity, remedy = record.SeverityInfo, "Nothing where kubeadm upgrades the node: it takes the flag out. Otherwise take it out of the kubelet's unit."
				}
				find("host-flag-removed", severity, fmt.Sprintf("The kubelet of node %s is started with --%s, which Kubernetes v1.%d took out: at %s it does not start.", h.Node, f, minor, s.Target), remedy)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b record.Finding) int { return strings.Compare(a.Object, b.Object) })
	return out
}
