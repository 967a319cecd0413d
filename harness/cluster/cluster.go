// Package cluster says what a driver is: the thing that knows one kind of
// cluster. The interface is small; what only some kinds can do is an optional
// capability beside it, and capabilities are checked when the plan is made, so
// that an impossible scenario fails before anything is created.
package cluster

import (
	"context"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Spec is the cluster that a rehearsal asks for.
type Spec struct {
	// RunID marks everything that the driver creates for this run (label or tag
	// LabelRun), so that it can be found and deleted without any other memory.
	RunID         string  `json:"runID"`
	Name          string  `json:"name"` // DNS label, unique to the run
	Version       Version `json:"version"`
	ControlPlanes int     `json:"controlPlanes"`
	Workers       int     `json:"workers"`
	// MostWorkers is how many workers there will be at most at any moment, for a
	// driver that asks whether there is room for them; 0 says no more than Workers.
	MostWorkers int `json:"mostWorkers,omitempty"`
	// Network is the network plug-in: "flannel", or "default" for the driver's own.
	Network string `json:"network"`
}

// LabelRun is the label or tag, with the run's id as value, on everything
// outside the cluster's API that a driver creates.
const LabelRun = "io.rehearse.run"

// Cluster is a cluster that a driver created or found.
type Cluster struct {
	Spec      Spec
	Simulated bool
	// ControlPlane is the version of the control plane where an earlier upgrade
	// has taken it ahead of the nodes; empty where it is the Spec's.
	ControlPlane Version
	Client       kubernetes.Interface
	Dynamic      dynamic.Interface
	Config       *rest.Config // nil for a simulated cluster
	Kubeconfig   []byte       // empty for a simulated cluster
	// APIServers are the addresses of each API server and, as the first entry,
	// of what stands before them; see APIServer.
	APIServers []APIServer
}

// APIServer is one way to reach the API: the balancer or a single server.
type APIServer struct {
	Name string // "api" for the common address, else the node's name
	// Config reaches this address. For a simulated cluster it is plain HTTP to loopback.
	Config *rest.Config
}

// Driver creates and deletes one kind of cluster.
type Driver interface {
	// Create makes the cluster and returns when its API answers and every node
	// is Ready. On error or cancellation it may leave a half-made cluster, which
	// Delete removes.
	Create(ctx context.Context, s Spec) (*Cluster, error)
	// Delete removes everything that carries the spec's RunID: whole, half-made
	// or already gone. It is idempotent and may be called with a Spec whose
	// Create never returned.
	Delete(ctx context.Context, s Spec) error
}

// Preflighter looks at the machine and the spec before anything is created.
// A finding of severity block stops the run. The error means "could not look".
type Preflighter interface {
	Preflight(ctx context.Context, s Spec, to Version) ([]record.Finding, error)
}

// Examiner looks at what of a cluster lies outside of its API, such as the
// balancer before its API servers, before an upgrade of it begins. The error
// means "could not look".
type Examiner interface {
	Examine(ctx context.Context, c *Cluster, to Version) ([]record.Finding, error)
}

// Preparer fetches or builds what Create will need (node images), which may
// take long the first time. Progress goes to the context's logger.
type Preparer interface {
	Prepare(ctx context.Context, s Spec, to Version) error
}

// Stager puts the target version's binaries and images on every node before
// the upgrade starts, so that loading them does not count as upgrade time.
type Stager interface {
	Stage(ctx context.Context, c *Cluster, to Version) error
}

// ControlPlaneUpgrader replaces the control-plane components on one node and
// returns when they run at the target version. The node's kubelet is not
// touched; nodes are given one at a time, the first of a cluster with first set.
type ControlPlaneUpgrader interface {
	UpgradeControlPlane(ctx context.Context, c *Cluster, node string, to Version, first bool) error
}

// NodeUpgrader replaces the kubelet (and on a worker its configuration) of a
// node that was drained, and returns when the kubelet was restarted. Waiting
// until the node is Ready at the new version is the caller's work. The workers of
// a batch are given at the same time.
type NodeUpgrader interface {
	UpgradeNode(ctx context.Context, c *Cluster, node string, to Version) error
}

// NodeRollbacker takes the kubelet of a worker that was drained back to an
// earlier version, which was staged, and returns when the kubelet was restarted.
// The version skew policy allows a kubelet to be up to three minors older than
// its API server (https://kubernetes.io/releases/version-skew-policy/).
type NodeRollbacker interface {
	RollbackNode(ctx context.Context, c *Cluster, node string, to Version) error
}

// NodeProvisioner makes and removes workers. The strategies replace and
// pool-migration are made of it, and so is capacity that is added for the time
// of an upgrade: what is drained, in which order and what is waited for is the
// harness's business, and the same on every driver. Workers are given one after
// another.
type NodeProvisioner interface {
	// AddNode makes a new worker at the version, whose image Prepare has fetched,
	// joins it to the cluster, lets the balancers that Expose made send to it once
	// their health checks pass, and returns its name when its Node object exists.
	// Waiting until it is Ready is the caller's work. On error nothing of the
	// worker is left, or the error says what.
	AddNode(ctx context.Context, c *Cluster, v Version) (node string, err error)
	// RemoveNode takes a drained worker out of the balancers, waits until they no
	// longer send to it, ends the machine and deletes the Node object. A worker
	// that is gone already is no error.
	RemoveNode(ctx context.Context, c *Cluster, node string) error
}

// Attacher finds the cluster that an earlier process created for the same spec,
// so that a rehearsal which was killed can go on. It returns when nothing that
// the earlier process had started inside the cluster's nodes is still at work,
// such as kubeadm. A cluster that no longer exists is an error that says so.
type Attacher interface {
	Attach(ctx context.Context, s Spec) (*Cluster, error)
}

// Exposer makes a NodePort Service reachable from this machine through a
// balancer with health checks like a cloud balancer's.
type Exposer interface {
	Expose(ctx context.Context, c *Cluster, svc Service) (Endpoint, error)
}

// Service names what to expose.
type Service struct {
	Namespace, Name string
	NodePort        int32
	// HealthPath answers 200 while an instance wants traffic.
	HealthPath string
}

// Endpoint is where load is sent.
type Endpoint struct {
	URL string `json:"url"` // http://127.0.0.1:PORT
}

// TwinHost runs a twin of the canary outside the cluster, behind a balancer of
// the same kind: the control lane's target.
type TwinHost interface {
	StartTwin(ctx context.Context, c *Cluster, w Workload) (Endpoint, error)
}

// Workload is what the canary's pods run.
type Workload struct {
	Image string
	Args  []string
	Port  int32
	// Replicas of the twin.
	Replicas int
}

// CanaryImager puts the canary's image on every node and returns the reference
// that pods use.
type CanaryImager interface {
	CanaryImage(ctx context.Context, c *Cluster) (string, error)
}

// EtcdProber tells etcd's members and their health from the inside.
type EtcdProber interface {
	EtcdMembers(ctx context.Context, c *Cluster) ([]record.Named, error)
}

// LogCollector copies what an operator would look at after a failure (kubelet,
// container runtime, static pods of every node) into dir.
type LogCollector interface {
	CollectLogs(ctx context.Context, c *Cluster, dir string) error
}

// LeftoverFinder lists what earlier runs left behind.
type LeftoverFinder interface {
	Leftovers(ctx context.Context) ([]Leftover, error)
}

// Describer tells a person how to delete what a spec's RunID marks, for a
// cluster that is kept or that a second interrupt leaves behind.
type Describer interface {
	DeleteCommand(s Spec) string
}

// Leftover is something that an earlier run created and did not delete.
type Leftover struct {
	Kind    string // container, network, cluster, instance, ...
	Name    string
	RunID   string
	Created time.Time
	// Delete is the command that removes it.
	Delete string
}
