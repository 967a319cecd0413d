package cluster

import "time"

// Operation is a kind of work whose usual duration a driver may know.
type Operation int

// Operations of a rehearsal. OpStage, OpUpgradeControlPlane, OpUpgradeNode,
// OpRollbackNode, OpAddNode and OpRemoveNode are for one node.
const (
	OpPreflight Operation = iota
	OpPrepare
	OpCreate
	OpDeploy
	OpStage
	OpValidate
	OpSnapshot
	OpUpgradeControlPlane
	OpUpgradeNode
	OpRollbackNode
	OpAddNode
	OpRemoveNode
	OpDelete
)

// Estimator tells how long an operation usually takes, for the plan's
// forecast and the progress line. It is a guess, never a bound.
type Estimator interface {
	Estimate(op Operation) time.Duration
}
