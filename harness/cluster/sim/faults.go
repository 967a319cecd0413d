package sim

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Faults are planted in the components that they belong to. The zero value is
// a clean cluster. Functions must be safe for use from several goroutines and
// return at once; a nil function never acts.
type Faults struct {
	// UpgradeChangesNothing makes the upgrade take its time and change no version.
	UpgradeChangesNothing bool
	// NodesLeftOld are nodes whose kubelet restarts at its old version.
	NodesLeftOld []string
	// OverlayDown tells whether flannel crash-loops on a node: pods of other
	// nodes cannot be reached from it, nor its own from elsewhere.
	OverlayDown func(node string) bool
	// OverlayNotReady makes such a node NotReady as well, as it becomes when its
	// kubelet restarts meanwhile.
	OverlayNotReady bool
	// NoDaemon tells whether a DaemonSet's pod is missing on a node, as
	// kube-proxy's.
	NoDaemon func(daemonSet, node string) bool
	// DNSDown tells whether CoreDNS crash-loops.
	DNSDown func() bool
	// StaleSlices tells whether the EndpointSlices of a Service are no longer
	// kept up to date.
	StaleSlices func(namespace, service string) bool
}

func (f *Faults) overlayDown(node string) bool { return f.OverlayDown != nil && f.OverlayDown(node) }

func (f *Faults) withoutDaemon(ds, node string) bool {
	return f.NoDaemon != nil && f.NoDaemon(ds, node)
}

func (f *Faults) leftOld(node string) bool {
	return f.UpgradeChangesNothing || slices.Contains(f.NodesLeftOld, node)
}

func (f *Faults) frozenSlice(es *discoveryv1.EndpointSlice) bool {
	return f.StaleSlices != nil && f.StaleSlices(es.Namespace, es.Labels[discoveryv1.LabelServiceName])
}

// crash tells whether a pod's container ends with an error as soon as it starts.
func (f *Faults) crash(p *corev1.Pod) (string, bool) {
	switch {
	case p.Labels["app"] == "flannel" && f.overlayDown(p.Spec.NodeName):
		return "Error from server: failed to acquire lease: node has no pod CIDR assigned", true
	case p.Labels["k8s-app"] == "kube-dns" && f.DNSDown != nil && f.DNSDown():
		return "plugin/loop: Loop detected for zone \".\"", true
	}
	return "", false
}
