package preflight

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// controlPlanes finds numbers of control planes that cost availability. A
// managed control plane shows no nodes, and is not judged.
func controlPlanes(s *State) []record.Finding {
	n, zones := 0, map[string]int{}
	for i := range s.Nodes {
		if system.IsControlPlane(&s.Nodes[i]) {
			n++
			zones[s.Nodes[i].Labels[corev1.LabelTopologyZone]]++
		}
	}
	switch {
	case n == 1:
		return []record.Finding{{ID: "single-control-plane", Severity: record.SeverityInfo, Object: "cluster",
			Cause:  "There is one control plane, so the API is away while it is upgraded. Pods keep running; what depends on the API does not.",
			Remedy: "Use three control planes where the API must stay available during upgrades."}}
	case n > 0 && n%2 == 0:
		return []record.Finding{{ID: "even-control-planes", Severity: record.SeverityWarn, Object: "cluster",
			Cause:  fmt.Sprintf("There are %d control planes: etcd tolerates the loss of %d of them, no more than it would with %d.", n, (n-1)/2, n-1),
			Remedy: "Use an odd number of control planes above one."}}
	}
	// A zone with half of them or more takes the quorum with it.
	for _, zone := range sortedKeys(zones) {
		if in := zones[zone]; n > 1 && zone != "" && 2*in >= n && len(allZones(s)) > 1 {
			return []record.Finding{{ID: "control-planes-in-one-zone", Severity: record.SeverityWarn, Object: "cluster",
				Cause:  fmt.Sprintf("%d of %d control planes are in zone %s: without it etcd has no quorum, and while one of the others is upgraded any trouble there stops the API.", in, n, zone),
				Remedy: "Spread three control planes over three zones."}}
		}
	}
	return nil
}

func allZones(s *State) map[string]bool {
	out := map[string]bool{}
	for i := range s.Nodes {
		if z := s.Nodes[i].Labels[corev1.LabelTopologyZone]; z != "" {
			out[z] = true
		}
	}
	return out
}
