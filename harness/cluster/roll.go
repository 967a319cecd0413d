package cluster

import (
	"context"
	"time"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Roller takes all nodes of one role to a version by itself, machines and all:
// kops and EKS do so. The harness neither drains nor waits between nodes then;
// what happens to each node is told as it happens, through RollOptions.Progress.
//
// Both methods block until the last node of the role is done or the roll has
// failed. They return nil only after the API was asked and every kubelet of the
// role reports the version: that a tool says that it has finished is not
// believed. A roll that failed or was cancelled returns a *RollError, which says
// what is left half-done. Calling a method again goes on where it ended.
type Roller interface {
	// RollControlPlane upgrades the control plane and rolls its nodes, where they
	// are seen at all: a managed control plane has none.
	RollControlPlane(ctx context.Context, c *Cluster, to Version, o RollOptions) error
	// RollWorkers upgrades add-ons where the driver knows any, and rolls every
	// node that is no control plane. RollControlPlane has returned before.
	RollWorkers(ctx context.Context, c *Cluster, to Version, o RollOptions) error
}

// RollReverser is a Roller whose tool also takes a cluster back to the version of
// before, control plane and all. The methods keep to what Roller says of its own;
// workers go first, since no kubelet may be newer than its API server.
type RollReverser interface {
	Roller
	// RollBackWorkers rolls every node that is no control plane back to a version,
	// and add-ons that do not go with it.
	RollBackWorkers(ctx context.Context, c *Cluster, from Version, o RollOptions) error
	// RollBackControlPlane takes the control plane back to the version that it was
	// upgraded from. RollBackWorkers has returned before.
	RollBackControlPlane(ctx context.Context, c *Cluster, from Version, o RollOptions) error
}

// RollOptions bound a roll. A driver refuses, before it changes anything, what
// it cannot do; zero durations are left to the driver's tool.
type RollOptions struct {
	ControlPlaneInterval, NodeInterval time.Duration // after each node
	DrainTimeout, PostDrainDelay       time.Duration
	ValidationTimeout                  time.Duration // of one wait for a healthy cluster
	Validations                        int           // healthy in a row; 0 is the tool's default
	// Progress receives each event, in order and from one goroutine at a time. Its
	// offset is zero: the receiver stamps it. It may be nil.
	Progress func(timeline.Event)
}

// Tell calls Progress where there is one.
func (o RollOptions) Tell(kind, subject string, detail map[string]string) {
	if o.Progress != nil {
		o.Progress(timeline.Event{Source: timeline.SourceDriver, Kind: kind, Subject: subject, Detail: detail})
	}
}

// RollError is a roll that did not reach its end.
type RollError struct {
	Err error
	// Left is what was touched and not finished, and what still costs money.
	Left []Leftover
}

// Error implements error. What one command removes together stands together.
func (e *RollError) Error() string {
	if len(e.Left) == 0 {
		return e.Err.Error()
	}
	text := e.Err.Error() + "; left behind: "
	for i, l := range e.Left {
		text += l.Kind + " " + l.Name
		last := i == len(e.Left)-1
		switch {
		case !last && l.Delete == e.Left[i+1].Delete:
			text += ", "
			continue
		case l.Delete != "":
			text += " (" + l.Delete + ")"
		}
		if !last {
			text += "; "
		}
	}
	return text
}

// Unwrap returns Err.
func (e *RollError) Unwrap() error { return e.Err }
