// Package timeline holds what happened during a rehearsal, when: events with a
// monotonic offset from the run's start, the clock that gives those offsets,
// and a recorder that any goroutine may write to.
//
// The package is a leaf: it knows nothing of clusters, load or verdicts, so
// every part of rehearse can write to the timeline and every later stage can
// read it back.
package timeline

import "time"

// Event is one thing that happened. Its JSON form is one line of
// timeline.ndjson; the field names are part of the record's format.
type Event struct {
	// T is the offset from the run's start in nanoseconds, on the monotonic clock.
	T int64 `json:"t"`
	// Source says who observed it; one of the Source constants.
	Source string `json:"source"`
	// Kind says what happened; one of the Kind constants.
	Kind string `json:"kind"`
	// Subject names what it happened to: "node/NAME", "pod/NAMESPACE/NAME",
	// "phase/baseline", "step/07", "endpoint/IP:PORT", ...
	Subject string `json:"subject"`
	// Detail carries what a reader needs to understand the event without the
	// cluster: reason, message, versions, counts. Keys are lower camel case.
	Detail map[string]string `json:"detail,omitempty"`
}

// Gap returns how long before T the event may have been: a watch that was away
// learned of it when it was back. It is 0 where nothing says so.
func (e *Event) Gap() time.Duration {
	d, err := time.ParseDuration(e.Detail["gap"])
	if err != nil {
		return 0
	}
	return d
}

// Sources of events.
const (
	SourceRun    = "run"    // the runner: phases and steps
	SourceStep   = "step"   // a step's own actions: cordon, drain, kubeadm
	SourceDriver = "driver" // the driver: containers, instances, commands
	SourceKube   = "kube"   // a watch of the cluster
	SourceProbe  = "probe"  // a probe that changed state
	SourceLoad   = "load"   // the load engine: lane started, died, stopped
)

// Kinds of events.
const (
	KindPhase    = "phase"     // subject phase/NAME: the phase begins here
	KindPhaseEnd = "phase-end" // subject phase/NAME
	// KindInterrupted: the process that carried the run out recorded nothing after
	// this; KindResumed: another one goes on. Subject run; detail measurement of the
	// latter is one of the Measurement constants.
	KindInterrupted = "interrupted"
	KindResumed     = "resumed"

	KindStepStart = "step-start" // subject step/NN
	KindStepEnd   = "step-end"   // subject step/NN; detail outcome, error

	KindCordon       = "cordon"        // subject node/NAME, of all below about nodes
	KindUncordon     = "uncordon"      // the scheduler may use the node again
	KindDrainStart   = "drain-start"   // its pods are evicted from here on; detail timeout
	KindDrainEnd     = "drain-end"     // the last pod is gone, or not; detail evicted, error
	KindEvict        = "evict"         // an eviction was accepted and the pod is gone; subject pod/NAMESPACE/NAME
	KindEvictRefused = "evict-refused" // detail reason
	// KindDrainStalled: a pod holds the drain of subject node/NAME up; detail pod,
	// cause (budget, overlap, webhook, busy, refused, terminating), why, remedy,
	// reason, and as far as they apply budget, healthy, desired, expected, owner,
	// replicas, webhook, finalizers, grace. KindDrainResumed: it no longer does;
	// detail pod, after, how. A drain-end ends all stalls of its node.
	KindDrainStalled = "drain-stalled"
	KindDrainResumed = "drain-resumed"
	// KindPodForced: a pod was deleted past what refused its eviction, or is no
	// longer waited for, because the scenario's onStall says so; subject
	// pod/NAMESPACE/NAME; detail node, action, what, after, why.
	KindPodForced = "pod-forced"
	// KindOrderViolated: the order of the upgrade was broken, see package order;
	// detail rule, what, from (ns).
	KindOrderViolated = "order-violated"
	KindUpgradeStart  = "upgrade-start" // subject node/NAME, of the old node where it is replaced; detail to, strategy, new (the node in its place, once it is known)
	KindUpgradeEnd    = "upgrade-end"   // detail of upgrade-start, error where it failed
	KindValidation    = "validation"    // detail passed, consecutive, blockedBy
	KindRetry         = "retry"         // a call that was answered with an error and repeated

	// Of a driver that rolls a whole role or pool itself, such as kops.
	KindRollStart  = "roll-start"          // subject role/NAME or group/NAME; detail to
	KindRollEnd    = "roll-end"            // detail error, code where it failed
	KindTaint      = "taint"               // subject group/NAME: nothing new is scheduled onto its old nodes; detail nodes
	KindDetach     = "instance-detach"     // a machine left its group, which starts another in its place; subject node/NAME; detail instance, group
	KindDeregister = "instance-deregister" // a balancer stops sending to a machine; detail targetGroup, state
	KindTerminate  = "instance-terminate"  // a machine is ended; detail instance, group, error
	KindWait       = "wait"                // the driver waits; detail for, after
	KindFailure    = "failure"             // of the driver's tool; detail error

	KindNodeReady    = "node-ready"
	KindNodeNotReady = "node-not-ready"
	KindNodeAdded    = "node-added" // detail version, controlPlane
	KindNodeRemoved  = "node-removed"
	KindNodeVersion  = "node-version"  // detail from, to: kubelet version changed
	KindNodeRebooted = "node-rebooted" // detail from, to: boot id changed
	// KindNodeCondition: a condition other than Ready changed; detail type, status, reason, message.
	KindNodeCondition = "node-condition"
	// KindHeartbeatLost: a kubelet missed two renewals of its lease, well before
	// its node turns not-ready; KindHeartbeatBack: it renewed again.
	KindHeartbeatLost = "heartbeat-lost"
	KindHeartbeatBack = "heartbeat-back"

	KindPodScheduled   = "pod-scheduled" // detail node; of a static pod also version
	KindPodReady       = "pod-ready"
	KindPodNotReady    = "pod-not-ready"
	KindPodTerminating = "pod-terminating"
	KindPodDeleted     = "pod-deleted"
	KindPodFailed      = "pod-failed"
	KindPodWaiting     = "pod-waiting" // a container cannot start; detail container, reason, message
	KindRestart        = "restart"     // a container of the pod restarted; detail container, count, reason
	KindPodVersion     = "pod-version" // detail container, from, to: the image of a container changed

	KindEndpointAdded   = "endpoint-added"   // new connections are sent to it from here on; detail service, pod, node
	KindEndpointRemoved = "endpoint-removed" // no longer; detail also ready, serving, terminating, or gone
	KindLease           = "lease"            // a lease changed holder
	KindKubeEvent       = "kube-event"       // a Kubernetes Event of type Warning; detail reason, message, count

	// KindWatchBlind: from here on the watch of the cluster saw nothing, or not
	// everything; KindWatchSeeing: it sees again. An event that was learned of
	// right after a gap carries detail gap, the length of the stretch in which it
	// may have happened.
	KindWatchBlind  = "watch-blind"
	KindWatchSeeing = "watch-seeing"

	KindProbeUp   = "probe-up"   // subject probe/NAME: fine again; detail failed (observations), atLeast, atMost (how long)
	KindProbeDown = "probe-down" // no longer fine; detail class, error
	KindProbeLost = "probe-lost" // the probe itself died: its data ends here
	// KindLongWatchBroken: the watch that is kept open over the whole run ended;
	// detail lasted, error. KindLongWatchBack: it told of something again; detail silent.
	KindLongWatchBroken = "long-watch-broken"
	KindLongWatchBack   = "long-watch-back"
	KindLaneLost        = "lane-lost"  // the lane's generator died: its data ends here
	KindLaneStart       = "lane-start" // subject lane/NAME; detail kind, target, rate
	KindLaneEnd         = "lane-end"
	// KindStreamBroken: a long-lived answer ended; subject lane/NAME; detail class,
	// error, pod, node, after (how long it had lasted). Outside a planned drain of
	// the node it fails the criterion reconnects/LANE.
	KindStreamBroken = "stream-broken"

	// Of agents that send the load from a cluster; subject agent/POD. KindAgentStart:
	// its first slot falls due; detail node, index, of, bound (how well its clock is
	// known). KindAgentEnd: it was stopped and has told everything; detail offset (of
	// its clock from the runner's, by then), bound. KindAgentLost: nothing more is
	// known of what it sends; detail reason, node, told (the offset up to which
	// everything is known).
	KindAgentStart = "agent-start"
	KindAgentEnd   = "agent-end"
	KindAgentLost  = "agent-lost"
)

// StrategyExtraCapacity stands where a node's event names the strategy, for one that
// was there for the time of the roll alone.
const StrategyExtraCapacity = "extra-capacity"

// What becomes of a measurement that was interrupted.
const (
	MeasurementAnew   = "anew"    // the upgrade had not begun: the phases until then do not count
	MeasurementGoesOn = "goes-on" // the phase goes on, with a gap
	MeasurementOver   = "over"    // it had ended
)

// Names of phases, in the order of a rehearsal.
const (
	PhaseWarmup   = "warmup"   // load that is not judged: caches and connections fill
	PhaseBaseline = "baseline" // what the upgrade is compared with
	PhaseUpgrade  = "upgrade"  // from the first cordon to the last validation
	PhaseRollback = "rollback" // the way back of a roll that was turned round; counts as the upgrade
	PhaseSettle   = "settle"   // counts as the upgrade: some faults show late
	// PhaseMeasured is the only phase after the warm-up of a record that was made
	// beside an upgrade which something else drives.
	PhaseMeasured = "measured"
)
