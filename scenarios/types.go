// Package scenarios reads scenario files: what cluster to mirror, which versions
// to go between, what load to send, how to upgrade, what to check and which
// thresholds the outcome must meet.
//
// A file is decoded strictly, completed with documented defaults and validated
// as a whole: every mistake is reported at once, each with the path of its
// field, what was given and what is accepted.
package scenarios

import (
	"slices"
	"time"
)

// APIVersion is the only version of the file format that this package reads.
const APIVersion = "rehearse/v1alpha1"

// File is a scenario file.
type File struct {
	APIVersion string     `json:"apiVersion"` // APIVersion
	Scenarios  []Scenario `json:"scenarios"`  // at least one, of different names
}

// Scenario declares one rehearsal.
type Scenario struct {
	// Name is a DNS label; it names the run directory and the cluster.
	Name       string     `json:"name"`
	Cluster    Cluster    `json:"cluster"`
	Versions   Versions   `json:"versions"`
	Canary     Canary     `json:"canary"`
	Load       Load       `json:"load"`
	Upgrade    Upgrade    `json:"upgrade"`
	Checks     Checks     `json:"checks"`
	Thresholds Thresholds `json:"thresholds"`
	// Workloads are stand-ins for production's; none unless given.
	Workloads []Workload `json:"workloads,omitempty"`
	// Mirror is set in a scenario that rehearse mirror wrote.
	Mirror *Mirror `json:"mirror,omitempty"`
}

// Drivers that exist, in the order in which help texts list them.
const (
	DriverSim  = "sim"  // embedded in the process, simulated
	DriverKind = "kind" // nodes are containers on this machine
	DriverKops = "kops" // the kops command, in AWS
	DriverEKS  = "eks"  // Amazon's managed Kubernetes
	// DriverExisting is a cluster that is there already, of any kind.
	DriverExisting = "existing"
)

// Networks that a scenario may ask for.
const (
	NetworkFlannel = "flannel"
	NetworkDefault = "default" // what the driver or its node image brings
)

// Cluster declares the mirror.
type Cluster struct {
	Driver string `json:"driver"` // one of the Driver constants
	// Kops and EKS are what those drivers need, and absent with every other.
	Kops          *Kops  `json:"kops,omitempty"`
	EKS           *EKS   `json:"eks,omitempty"`
	ControlPlanes int    `json:"controlPlanes"` // nodes, 1 or more
	Workers       int    `json:"workers"`       // nodes
	Network       string `json:"network"`       // one of the Network constants
	// Kubeconfig and Context name the cluster of DriverExisting, whose shape is
	// what it is. An empty Context is the kubeconfig's current one.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Context    string `json:"context,omitempty"`
}

// Versions are the Kubernetes versions before and after, as "v1.35.4". A file
// may give them as a list too, which is each version that the cluster passes
// through: [from, via..., to].
type Versions struct {
	From string `json:"from"`
	// Via are versions between From and To, in order; absent for a single hop.
	Via []string `json:"via,omitempty"`
	To  string   `json:"to"`
}

// Hops are the versions that the cluster is taken to, one after another; the
// last is To.
func (v Versions) Hops() []string { return append(slices.Clone(v.Via), v.To) }

// Canary declares the web service that receives the traffic.
type Canary struct {
	// Replicas is the number of pods.
	Replicas int `json:"replicas"`
	// PodDisruptionBudget is absent where the canary shall have none.
	PodDisruptionBudget *Budget `json:"podDisruptionBudget,omitempty"`
	// Image is what the canary's pods run where the driver cannot bring it to the
	// nodes: one that the cluster can pull.
	Image string `json:"image,omitempty"`
	// URL is where the canary is reached where the scenario's author has seen to
	// that; its Service is then of type NodePort, else of type LoadBalancer.
	URL string `json:"url,omitempty"`
	// ServiceAnnotations are for the cloud's controller of balancers.
	ServiceAnnotations map[string]string `json:"serviceAnnotations,omitempty"`
	// BodyBytes is the size of an answer's body.
	BodyBytes int `json:"bodyBytes"`
	// Latency is how long the canary takes to answer, beside its own work.
	Latency Duration `json:"latency"`
	// ShutdownDelay is how long the canary serves on after it was told to stop;
	// it must exceed the balancer's deregistration.
	ShutdownDelay Duration `json:"shutdownDelay"`
	// GracePeriod is what requests in flight get after ShutdownDelay; the pod's
	// terminationGracePeriodSeconds is the sum of both and a little.
	GracePeriod Duration `json:"gracePeriod"`
}

// Budget is a PodDisruptionBudget, in pods: exactly one of the two is set.
type Budget struct {
	MaxUnavailable *int `json:"maxUnavailable,omitempty"`
	MinAvailable   *int `json:"minAvailable,omitempty"`
}

// Lanes of load that a scenario may ask for. The control lane is not among
// them: it always runs.
const (
	// LaneNew resolves the target's name and opens a connection for each request.
	LaneNew = "new"
	// LaneReused keeps connections and uses them in turn.
	LaneReused = "reused"
	// LaneHTTP2 sends all requests over one HTTP/2 connection, by prior knowledge.
	LaneHTTP2 = "http2"
	// LaneCachedDNS opens a connection for each request to the addresses that the
	// target's name had when the load began, as a client does that never resolves
	// again. Where the target is an address it is a second LaneNew.
	LaneCachedDNS = "cached-dns"
	// LaneStream keeps one answer open for as long as the load lasts.
	LaneStream = "stream"
	// LaneControl is the twin of the canary outside the cluster.
	LaneControl = "control"
)

// StreamRate is the number of lines a second of the canary's stream, and so the
// rate of LaneStream where Load.Rate is above it.
const StreamRate = 10

// LeastStreamOutage is the shortest outage that LaneStream is sure to show: five
// lines in a row that did not come.
const LeastStreamOutage = 5 * time.Second / StreamRate

// Load declares the traffic.
type Load struct {
	// Rate is the number of requests a second on each lane but LaneStream, which
	// has at most StreamRate.
	Rate float64 `json:"rate"`
	// Lanes are names of lanes, each once, without LaneControl.
	Lanes []string `json:"lanes"`
	// Timeout bounds one request, from when it is sent to its whole answer.
	Timeout Duration `json:"timeout"`
	// Warmup is not judged; Baseline is what the upgrade is held against; Settle is
	// how long the load goes on after the last node, and counts as the upgrade.
	Warmup   Duration `json:"warmup"`
	Baseline Duration `json:"baseline"`
	Settle   Duration `json:"settle"`
	// Agents is how many pods send the load together; 0 sends it from here.
	Agents int `json:"agents,omitempty"`
	// AgentsKubeconfig and AgentsContext name the cluster that they run in. An empty
	// AgentsContext is the kubeconfig's current one.
	AgentsKubeconfig string `json:"agentsKubeconfig,omitempty"`
	AgentsContext    string `json:"agentsContext,omitempty"`
	// AgentImage is an image of cmd/canary, as Canary.Image, which is its default.
	AgentImage string `json:"agentImage,omitempty"`
	// AgentsInTarget allows that they run in the cluster under test.
	AgentsInTarget bool `json:"agentsInTarget,omitempty"`
}

// MaxAgents is the most pods that may send the load.
const MaxAgents = 50

// Strategies of upgrade. They differ in what becomes of the workers; control
// planes are upgraded in place, one at a time, with each.
const (
	// StrategyInPlace replaces the kubelets of drained workers.
	StrategyInPlace = "in-place"
	// StrategyReplace drains and removes workers, and joins new ones in their place.
	// It is what the drivers of Rollers do, control planes and all, by their own tool.
	StrategyReplace = "replace"
	// StrategyPoolMigration joins a whole new pool of workers, and then drains the
	// old ones and removes them.
	StrategyPoolMigration = "pool-migration"
	// StrategyCommand runs a command of the user's own, which does all of it.
	StrategyCommand = "command"
)

// Batch is how many old workers are taken down together.
func (u *Upgrade) Batch() int { return max(1, u.MaxSurge+u.MaxUnavailable) }

// What is done with a pod that holds a drain up.
const (
	OnStallFail   = "fail"       // nothing: the drain fails when its time is over
	OnStallDelete = "delete-pod" // it is deleted past its budget, with its own grace period
	OnStallForce  = "force"      // it is deleted without grace, and not waited for if it does not go
)

// Upgrade declares how the versions are rolled.
type Upgrade struct {
	Strategy string `json:"strategy"` // one of the Strategy constants
	// Command is the program and arguments of StrategyCommand, and CommandTimeout
	// bounds one run of it together with the wait for what it has set off.
	Command        []string  `json:"command,omitempty"`
	CommandTimeout *Duration `json:"commandTimeout,omitempty"`
	// MaxUnavailable is how many workers are down together at most. With
	// StrategyReplace, 0 lets none go before a new one has taken its place.
	MaxUnavailable int `json:"maxUnavailable"`
	// MaxSurge is how many new workers StrategyReplace joins before it drains as
	// many old ones: a batch is MaxSurge+MaxUnavailable old workers.
	MaxSurge int `json:"maxSurge"`
	// ExtraWorkers are joined before the workers roll and removed after it.
	ExtraWorkers int `json:"extraWorkers"`
	// Interval, where it is given, sets both of the following; "auto" searches for
	// the smallest that meets the thresholds.
	Interval *Interval `json:"interval,omitempty"`
	// ControlPlaneInterval and NodeInterval are waited for between one node and
	// the next.
	ControlPlaneInterval Duration `json:"controlPlaneInterval"`
	NodeInterval         Duration `json:"nodeInterval"`
	// DrainTimeout bounds the drain of a node, and PostDrainDelay is waited for
	// after it.
	DrainTimeout   Duration `json:"drainTimeout"`
	PostDrainDelay Duration `json:"postDrainDelay"`
	// OnStall is one of the OnStall constants, and StallTimeout for how long a pod
	// may hold a drain up before it is done.
	OnStall      string   `json:"onStall"`
	StallTimeout Duration `json:"stallTimeout"`
	// ValidationTimeout bounds the wait for a healthy cluster between nodes, and
	// Validations is how many consecutive healthy observations that takes,
	// ValidationInterval apart.
	ValidationTimeout  Duration `json:"validationTimeout"`
	Validations        int      `json:"validations"`
	ValidationInterval Duration `json:"validationInterval"`
	// ControlPlaneTimeout and NodeTimeout bound the upgrade of one node.
	ControlPlaneTimeout Duration `json:"controlPlaneTimeout"`
	NodeTimeout         Duration `json:"nodeTimeout"`
	// ForecastNodes is for how many nodes of production the duration is forecast
	// from the nodes measured; 0 for none.
	ForecastNodes int `json:"forecastNodes,omitempty"`
	// Rollback is absent where the roll goes through to its end.
	Rollback *Rollback `json:"rollback,omitempty"`
}

// Checks declares what must be healthy before and after.
type Checks struct {
	// SystemComponents are names of Deployments, DaemonSets or static pods of
	// system namespaces.
	SystemComponents []string `json:"systemComponents"`
}

// Thresholds are the limits of the verdict's criteria.
type Thresholds struct {
	// SuccessRate is the least share of requests served over the upgrade.
	SuccessRate Percent `json:"successRate"`
	// ErrorIncrease is the margin by which the error rate of the upgrade may
	// exceed the baseline's.
	ErrorIncrease Percent `json:"errorIncrease"`
	// LongestOutage is the longest outage window allowed on any lane.
	LongestOutage Duration `json:"longestOutage"`
	// P50Increase and P99Increase are the relative growth of latency allowed.
	P50Increase Percent `json:"p50Increase"`
	P99Increase Percent `json:"p99Increase"`
	// LatencyFloor is the absolute growth below which a relative one is not
	// judged (epsilon in the statistics).
	LatencyFloor Duration `json:"latencyFloor"`
	// APIAvailability is the least share of the time in which the API answered.
	// With a single control plane it is off unless the scenario gives it.
	APIAvailability Percent `json:"apiAvailability"`
}
