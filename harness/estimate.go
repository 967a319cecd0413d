package harness

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// estimates returns the driver's own figures, or else those of virtual
// machines, on which a node takes more than five minutes (docs/scenarios.md).
func estimates(d cluster.Driver) func(cluster.Operation) time.Duration {
	if e, ok := d.(cluster.Estimator); ok {
		return e.Estimate
	}
	return func(op cluster.Operation) time.Duration {
		switch op {
		case cluster.OpCreate, cluster.OpDelete:
			return 10 * time.Minute
		case cluster.OpUpgradeControlPlane, cluster.OpUpgradeNode, cluster.OpRollbackNode, cluster.OpAddNode, cluster.OpRemoveNode:
			return 5 * time.Minute
		case cluster.OpDeploy, cluster.OpStage:
			return time.Minute
		default:
			return 10 * time.Second
		}
	}
}
