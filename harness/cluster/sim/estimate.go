package sim

import (
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Estimate implements cluster.Estimator, for the present scale.
func (d *Driver) Estimate(op cluster.Operation) time.Duration {
	real := map[cluster.Operation]time.Duration{
		cluster.OpCreate:              20 * time.Second,
		cluster.OpDeploy:              5 * time.Second,
		cluster.OpStage:               5 * time.Second,
		cluster.OpUpgradeControlPlane: 4 * time.Minute,
		cluster.OpUpgradeNode:         40 * time.Second,
		cluster.OpRollbackNode:        40 * time.Second,
		cluster.OpAddNode:             50 * time.Second,
		cluster.OpRemoveNode:          10 * time.Second,
	}
	if op == cluster.OpValidate {
		return time.Second // by the scenario's clock, which is not scaled
	}
	return time.Duration(float64(real[op]) / d.opt.Scale)
}
