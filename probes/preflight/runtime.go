package preflight

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// runtimeFloor are the oldest releases of a container runtime that work from a
// minor version of Kubernetes on. containerd 1.6 is the first with CRI v1, which
// is needed since 1.26 (https://kubernetes.io/blog/2022/11/18/upcoming-changes-in-kubernetes-1-26/);
// 1.35 is the last minor for containerd 1.x
// (https://kubernetes.io/blog/2025/12/17/kubernetes-v1-35-release/).
var runtimeFloor = []struct {
	runtime, oldest string
	from            uint
}{
	{"containerd", "2.0.0", 36},
	{"containerd", "1.6.0", 26},
	{"cri-o", "1.20.0", 26},
}

// kernelFloor is the oldest kernel that kubeadm's checks accept
// (k8s.io/system-validators, validators/types_unix.go).
const kernelFloor = "4.19"

// nodeSoftware finds container runtimes and kernels that the target's kubelet
// does not support.
func nodeSoftware(s *State) []record.Finding {
	_, to, ok := s.minors()
	if !ok {
		return nil
	}
	var out []record.Finding
	for i := range s.Nodes {
		n := &s.Nodes[i]
		out = append(out, runtimeOf(n, s.Target, to)...)
		kernel, err := version.ParseGeneric(leadingNumber(n.Status.NodeInfo.KernelVersion))
		if err == nil && n.Status.NodeInfo.OperatingSystem != "windows" && kernel.LessThan(version.MustParseGeneric(kernelFloor)) {
			out = append(out, record.Finding{ID: "kernel-too-old", Severity: record.SeverityWarn, Object: "node/" + n.Name,
				Cause:  fmt.Sprintf("Node %s runs kernel %s; kubeadm accepts %s and later.", n.Name, n.Status.NodeInfo.KernelVersion, kernelFloor),
				Remedy: "Move the node to a newer operating system first."})
		}
	}
	return out
}

func runtimeOf(n *corev1.Node, target string, to uint) []record.Finding {
	text := n.Status.NodeInfo.ContainerRuntimeVersion
	name, number, _ := strings.Cut(text, "://")
	one := func(id, severity, cause, remedy string) []record.Finding {
		return []record.Finding{{ID: id, Severity: severity, Object: "node/" + n.Name, Cause: cause, Remedy: remedy}}
	}
	if name == "docker" && to >= 24 {
		return one("runtime-too-old", record.SeverityBlock, fmt.Sprintf("Node %s runs its pods with Docker through dockershim, which Kubernetes v1.24 took out: at %s its kubelet does not start.", n.Name, target),
			"Move the node to containerd or CRI-O first.")
	}
	v, err := version.ParseGeneric(number)
	if err != nil || (name != "containerd" && name != "cri-o" && name != "docker") {
		return one("runtime-unknown", record.SeverityInfo, fmt.Sprintf("Node %s reports the container runtime %q, of which it is not known whether it works with %s.", n.Name, text, target),
			"Look up which Kubernetes versions the runtime supports.")
	}
	for _, f := range runtimeFloor {
		if f.runtime == name && to >= f.from && v.LessThan(version.MustParseGeneric(f.oldest)) {
			return one("runtime-too-old", record.SeverityBlock, fmt.Sprintf("Node %s runs %s %s; Kubernetes v1.%d and later need %s.", n.Name, name, number, f.from, f.oldest),
				"Upgrade the container runtime first, or with the node's image.")
		}
	}
	return nil
}

// leadingNumber returns the digits and dots at the head of a version such as
// 6.8.0-45-generic.
func leadingNumber(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(s)
	}
	return strings.TrimRight(s[:i], ".")
}
