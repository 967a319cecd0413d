package preflight

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// controlPlanes finds numbers of control planes that cost availability. A
// managed control plane shows no nodes, and is not judged.
func controlPlanes(s *State) []record.Finding {
	n := 0
	for i := range s.Nodes {
		if system.IsControlPlane(&s.Nodes[i]) {
			n++
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
	return nil
}
