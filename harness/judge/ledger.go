package judge

// Ledger accounts for every request of the judged lanes that was lost, and for
// every one that was slow: each is counted in exactly one of Bursts or Rest. The
// control lane is not in it. Of Compare it is about the upgrade's record alone.
type Ledger struct {
	// Summary says in a sentence or two how many have a cause.
	Summary string `json:"summary"`
	// Lanes holds what Bursts and Rest add up to, lane by lane.
	Lanes []LaneLedger `json:"lanes"`
	// Bursts in order of Start, at most 100: outages of a second or more before
	// others, what is judged before what is not, then those that lost or slowed most.
	Bursts []Burst `json:"bursts"`
	// Rest sums up what is in no listed burst.
	Rest []Rest `json:"rest,omitempty"`
}

// LaneLedger is the sum of one lane's entries. Lost is the sum of LaneSum.Failed
// over the lane's phases.
type LaneLedger struct {
	Lane string `json:"lane"`
	Lost uint64 `json:"lost"`
	Slow uint64 `json:"slow"`
	// SlowMS: an answer that took longer, in milliseconds, is slow. 0 where the
	// baseline holds too little to say.
	SlowMS float64 `json:"slowMS"`
	// Explain says where SlowMS comes from.
	Explain string `json:"explain"`
}

// Kinds of bursts.
const (
	BurstOutage = "outage" // the lane could not be served: one of Verdict.Outages
	BurstLost   = "lost"   // requests lost outside any outage, at most a second apart
	BurstSlow   = "slow"   // more slow requests than the baseline supports
	BurstAPI    = "api"    // the API server did not answer its probes; of no lane
)

// Burst is one entry of the ledger: requests of a lane that were lost, or slow,
// together.
type Burst struct {
	Kind string `json:"kind"` // one of the constants above
	Lane string `json:"lane"` // "api" where it is about the API server
	// Phase in which it began.
	Phase string `json:"phase"`
	// Start and End are the due times of its first and last request, ns from the
	// run's start. Of slow requests that were not recorded singly only the second
	// is known.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// LowerNS and UpperNS are the bounds of how long it lasted, as of an outage.
	LowerNS int64 `json:"lowerNS"`
	UpperNS int64 `json:"upperNS"`
	// Lost and Slow are its requests, of Sent that were due in it; of kind api,
	// Lost and Sent count observations.
	Lost uint64 `json:"lost"`
	Slow uint64 `json:"slow"`
	Sent uint64 `json:"sent"`
	// WorstMS is the longest latency of its answered requests, to the second.
	WorstMS float64 `json:"worstMS,omitempty"`
	// Classes counts the lost requests by class; see Outage.Classes.
	Classes map[string]uint64 `json:"classes,omitempty"`
	// Pods and Nodes that it concerns, those of most requests first, at most three
	// each, and From whether its "requests" met them or only the "event" names them.
	Pods  []string `json:"pods,omitempty"`
	Nodes []string `json:"nodes,omitempty"`
	From  string   `json:"from,omitempty"`
	// Signature is what the requests saw, one of the Signature constants.
	Signature Signature `json:"signature"`
	// Event is the event of the upgrade that explains it or, where Cause begins with
	// "unattributed", the closest; nil where none is near or the machine is blamed.
	Event *BlamedEvent `json:"event,omitempty"`
	// Chance is how likely events at other times would explain it as well, from a
	// permutation of event times; nil without an Event.
	Chance *float64 `json:"chance,omitempty"`
	// Cause names the event that explains it and what its failures mean, or begins
	// with "contention of the machine" or with "unattributed".
	Cause string `json:"cause"`
	// Usual compares its length with what such a burst usually lasts; empty where
	// no such figure is known.
	Usual string `json:"usual,omitempty"`
	// Mend says what usually mends it, and Set with which fields of the scenario, as
	// they are now, and of Kubernetes. Empty where nothing of the upgrade is blamed.
	Mend string   `json:"mend,omitempty"`
	Set  []string `json:"set,omitempty"`
	// Nearby are the events close to it, at most six.
	Nearby []string `json:"nearby,omitempty"`
	// Usable is false where it is no evidence against the target.
	Usable bool `json:"usable"`
}

// BlamedEvent is an event of the timeline as a burst has it.
type BlamedEvent struct {
	T       int64  `json:"t"`
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Pod     string `json:"pod,omitempty"`
	Node    string `json:"node,omitempty"`
}

// Rest sums up requests of a lane that are in no listed burst.
type Rest struct {
	Lane  string `json:"lane"`
	Kind  string `json:"kind"`            // of the bursts that were not listed, or "slow" for single slow requests
	Phase string `json:"phase,omitempty"` // of single slow requests
	// Bursts that there was no room for; 0 of single slow requests.
	Bursts int    `json:"bursts"`
	Lost   uint64 `json:"lost"`
	Slow   uint64 `json:"slow"`
	Start  int64  `json:"start"` // of the first and End of the last
	End    int64  `json:"end"`
	Cause  string `json:"cause"`
}
