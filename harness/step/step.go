// Package step holds the steps of a rehearsal, one file each. A step says in
// its description what it will do, in the same words that the plan, the
// progress line and the JUnit report use, and does it in Run. What one step
// finds and a later one needs passes through Env; what may outlive a step is
// registered with the cleanup as soon as it may exist.
package step

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"sync"

	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/load/fleet"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Step is one entry of a plan.
type Step interface {
	// Describe says what Run will do, in one line, before anything exists.
	Describe() string
	// Run does it. It returns when the work is done or ctx ends; an error says
	// what failed, on what object, and what to do.
	Run(ctx context.Context, env *Env) error
}

// Env is what steps share during one run. Steps run one after another; only
// what says so may be used from other goroutines.
type Env struct {
	Driver   cluster.Driver
	Spec     cluster.Spec
	Timeline *timeline.Recorder // safe for concurrent use
	Cleanup  *cleanup.Stack     // safe for concurrent use
	Log      *slog.Logger
	Dir      *record.Dir
	Run      *record.Run

	// Roll is what is known of the workers of the hop that is under way, nil
	// before the first; SaveRoll, if set, is given a copy whenever it changes,
	// before anything else happens.
	Roll     *Roll
	SaveRoll func(Roll)

	// Cluster is set once it exists, the others once they are there.
	Cluster     *cluster.Cluster
	CanaryImage string
	Canary      cluster.Endpoint
	Twin        cluster.Endpoint

	// Observer looks on.
	Observer Observer

	// State is what is saved of this beside the fields above, see SaveState.
	State State
	// Undoing is set in a process that goes on with a run of which nothing is left
	// to do but to remove what it created.
	Undoing bool
	// Phase is set in a process that goes on with a measurement: the phase that
	// goes on.
	Phase string

	finding    sync.Mutex // guards Run.Findings while a step runs
	load       sender
	agents     []fleet.Agent // that send it; none where it is sent from here
	agentsFrom int           // of Run.Agents, those of interrupted processes before them
	stopLoad   func(context.Context) error
	stopWatch  func(context.Context) error
	stopDNS    func(context.Context) error
	stopAgents func(context.Context) error
}

// client is the API client of the cluster under rehearsal.
func (e *Env) client() kubernetes.Interface { return e.Cluster.Client }

// event writes what a step did into the timeline.
func (e *Env) event(kind, subject string, detail map[string]string) {
	e.Timeline.Record(timeline.SourceStep, kind, subject, detail)
}

// capability returns the driver as T. The plan has checked that the driver has
// the capability, so its lack here is a mistake in the plan.
func capability[T any](e *Env) (T, error) {
	c, ok := e.Driver.(T)
	if !ok {
		return c, fmt.Errorf("the driver %T cannot do this: the plan should not have been made", e.Driver)
	}
	return c, nil
}

// byNumber sorts names so that a trailing number counts as a number and a name
// without one comes first: worker, worker2, worker10.
func byNumber(names []string) {
	key := func(s string) (string, int) {
		stem := strings.TrimRight(s, "0123456789")
		n, _ := strconv.Atoi(s[len(stem):])
		return stem, n
	}
	sort.Slice(names, func(i, j int) bool {
		a, m := key(names[i])
		b, n := key(names[j])
		if a != b {
			return a < b
		}
		return m < n
	})
}
