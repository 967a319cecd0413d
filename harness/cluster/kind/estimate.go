package kind

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

var _ cluster.Estimator = (*Driver)(nil)

// estimates are what a cluster of one control plane and two workers took on two
// cores with its images at hand.
var estimates = map[cluster.Operation]time.Duration{
	cluster.OpPreflight:           2 * time.Second,
	cluster.OpPrepare:             2 * time.Second,
	cluster.OpCreate:              50 * time.Second,
	cluster.OpDeploy:              20 * time.Second,
	cluster.OpStage:               20 * time.Second,
	cluster.OpValidate:            5 * time.Second,
	cluster.OpSnapshot:            10 * time.Second,
	cluster.OpUpgradeControlPlane: 3 * time.Minute,
	cluster.OpUpgradeNode:         65 * time.Second,
	cluster.OpRollbackNode:        30 * time.Second, // with its drain; the kubelet itself 2 s
	cluster.OpAddNode:             10 * time.Second,
	cluster.OpRemoveNode:          3 * time.Second,
	cluster.OpDelete:              15 * time.Second,
}

// Estimate implements cluster.Estimator; 0 says that it does not know.
func (d *Driver) Estimate(op cluster.Operation) time.Duration { return estimates[op] }
