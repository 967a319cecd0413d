package step

import (
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/watch"
)

// Observer sees what a run measures while it is measured, beside the record.
// Each of its functions may be nil, must not block, and may be called from any
// goroutine.
type Observer struct {
	Load load.Observer
	// Sample sees each observation of a probe once it is recorded. Those of the
	// DNS agents come late: the nodes remember them.
	Sample func(probe string, s record.ProbeSample)
	// Nodes is given what tells the cluster's nodes at any time, once, when the
	// watch of the cluster starts.
	Nodes func(nodes func() []watch.Node)
}
