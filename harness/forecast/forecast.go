// Package forecast foretells, from a snapshot of a cluster, how the drains of an
// upgrade will go: it evicts the pods node by node under the rules of the
// eviction API and the disruption controller, lets their controllers make new
// ones and a simple scheduler place them, and says where a drain will stop and
// why, before it starts, and what will be away though nothing stops.
//
// It assumes that a pod which is placed becomes ready, unless all of its workload
// is not ready in the snapshot, and that nothing else happens meanwhile. Where
// the scheduler has a choice, it makes a likely one.
package forecast

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/probes/preflight"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Options say how the nodes will be rolled, in the words of a scenario.
type Options struct {
	Strategy       string `json:"strategy"` // one of the scenarios' Strategy constants
	MaxSurge       int    `json:"maxSurge"`
	MaxUnavailable int    `json:"maxUnavailable"`
	ExtraWorkers   int    `json:"extraWorkers"`
	// Force lets a drain delete pods without a controller, as kops does; kubectl
	// refuses the whole drain of their node without --force.
	Force bool `json:"force"`
	// Nodes, where it is not empty, are the only ones to be drained, in this order
	// and in place, MaxUnavailable of them before the first is uncordoned.
	Nodes []string `json:"nodes,omitempty"`
}

// Roll is the forecast of a whole roll.
type Roll struct {
	Options
	// Drains are those of the nodes, in their order. What follows a node that
	// stops is foretold as if somebody had uncordoned that node, left what held it
	// there, and gone on.
	Drains []Node `json:"drains"`
}

// Node is the forecast of one node's drain.
type Node struct {
	Name string `json:"name"`
	// With names the nodes that are drained together with it.
	With []string `json:"with,omitempty"`
	// Stops say why the drain will not end; there are none where it will.
	Stops []Stop `json:"stops,omitempty"`
	// Moved counts the pods that will leave the node.
	Moved int `json:"moved"`
	// Away are workloads of which no pod will be ready at some moment.
	Away []string `json:"away,omitempty"`
	// Lost are pods that nobody makes again.
	Lost []string `json:"lost,omitempty"`
	// Homeless are pods that find no node when the drain has ended, and why.
	Homeless []Homeless `json:"homeless,omitempty"`
	// Validation names the system-critical pods for which the validation after
	// this node will wait in vain.
	Validation []string `json:"validation,omitempty"`
}

// Stop is one pod that holds a drain up.
type Stop struct {
	Pod     string   `json:"pod"`
	Budgets []string `json:"budgets,omitempty"`
	Why     string   `json:"why"`
	Remedy  string   `json:"remedy"`
	// Placement is set where it would not stop if the scheduler had placed pods
	// otherwise, or had found room for them.
	Placement bool `json:"placement,omitempty"`
}

// Homeless is a pod that no node takes.
type Homeless struct {
	Pod string `json:"pod"`
	Why string `json:"why"`
}

// Stops reports whether any drain of the roll will stop.
func (r *Roll) Stops() bool {
	for i := range r.Drains {
		if len(r.Drains[i].Stops) > 0 {
			return true
		}
	}
	return false
}

// Of foretells the roll of a cluster: its control planes in place, one at a time,
// and its workers by the strategy. The error says what of the snapshot is
// missing for that, or which option is not one.
func Of(s *preflight.State, o Options) (*Roll, error) {
	for _, need := range []preflight.Resource{preflight.Nodes, preflight.Pods, preflight.Budgets, preflight.Workloads, preflight.Volumes} {
		if why := s.NotRead[need]; why != "" {
			return nil, fmt.Errorf("forecast: it takes the cluster's %s: %s", need, why)
		}
	}
	c := newCluster(s)
	r := &roller{cluster: c, o: o, roll: &Roll{Options: o}}
	if len(o.Nodes) > 0 {
		for _, name := range o.Nodes {
			if c.node(name) == nil {
				return nil, fmt.Errorf("forecast: the cluster has no node %q", name)
			}
		}
		for batch := range batches(o.Nodes, max(o.MaxUnavailable, 1)) {
			r.inPlace(batch)
		}
		return r.roll, nil
	}
	for _, name := range c.order(true) {
		r.inPlace([]string{name})
	}
	workers := c.order(false)
	for i := range o.ExtraWorkers {
		if len(workers) > 0 {
			c.join(fmt.Sprintf("extra-%d", i+1), workers[i%len(workers)])
		}
	}
	size := max(o.MaxSurge+o.MaxUnavailable, 1)
	switch o.Strategy {
	case scenarios.StrategyInPlace, "":
		for batch := range batches(workers, max(o.MaxUnavailable, 1)) {
			r.inPlace(batch)
		}
	case scenarios.StrategyReplace:
		for batch := range batches(workers, size) {
			r.replace(batch)
		}
	case scenarios.StrategyPoolMigration:
		r.migrate(workers)
	default:
		return nil, fmt.Errorf("forecast: strategy %q is unknown; accepted: %s, %s, %s", o.Strategy, scenarios.StrategyInPlace, scenarios.StrategyReplace, scenarios.StrategyPoolMigration)
	}
	for i := range o.ExtraWorkers {
		if len(workers) > 0 {
			r.remove(fmt.Sprintf("extra-%d", i+1))
		}
	}
	return r.roll, nil
}
