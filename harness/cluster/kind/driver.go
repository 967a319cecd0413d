// Package kind drives clusters whose nodes are containers on this machine,
// through kind's library, upgrades them in place with kubeadm, and
// adds and removes workers.
//
// Everything that a run creates is in one Docker network of its own and
// carries the run's id: the network and the containers that this package
// starts have the label [cluster.LabelRun]; node containers, to which kind lets
// nobody add a label, have kind's own cluster label, whose value is the
// network's name and starts with [NamePrefix]. Ports are published on
// 127.0.0.1 only.
package kind

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	kindcluster "sigs.k8s.io/kind/pkg/cluster"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

// NamePrefix begins the name of every cluster that this driver creates.
const NamePrefix = "rehearse-"

// Labels that kind puts on its node containers.
const (
	labelKindCluster = "io.x-k8s.kind.cluster"
	labelKindRole    = "io.x-k8s.kind.role"
)

// labelRole says what a container of ours is for: one of the roles below.
const labelRole = "io.rehearse.role"

// labelNodePort is on a balancer that Expose made: the port of the nodes that
// it sends to.
const labelNodePort = "io.rehearse.node-port"

// running is the state of a container that runs.
const running = "running"

const (
	roleBalancer = "balancer"
	roleTwin     = "twin"
	roleStage    = "stage"
	// roleNode is a worker that AddNode made; it has kind's labels too.
	roleNode = "node"
)

// maxName is the longest cluster name: kind appends "-control-plane" and a
// number, and makes that the hostname, which Linux bounds at 64 bytes.
const maxName = 48

// Images provides the images that clusters are made of. Each method returns
// at once what Docker has already, and else pulls or builds it.
type Images interface {
	// Node returns the node image of a Kubernetes version.
	Node(ctx context.Context, v cluster.Version) (ref string, err error)
	// Balancer returns the haproxy image that kind uses before several control
	// planes, under the name that kind uses.
	Balancer(ctx context.Context) (ref string, err error)
}

// Options configure a Driver.
type Options struct {
	// Docker is the client to use; nil is the docker on PATH.
	Docker *docker.Client
	Images Images
	// CanaryBinary is the static canary executable. Empty means the one named
	// "canary" beside this executable, else one compiled from this module's
	// source when run from inside it.
	CanaryBinary string
	Balancer     Balancer
}

// Driver creates, upgrades and deletes kind clusters. It keeps nothing in
// memory that Delete or Leftovers would need, and may be used from several
// goroutines.
type Driver struct {
	docker       *docker.Client
	images       Images
	canaryBinary string
	balancer     Balancer
	newProvider  func(kindLogger) provider
	settlePoll   time.Duration

	// naming is held while a worker's name is chosen and its container made.
	naming sync.Mutex
	// highest number that a worker was given, by cluster: a name is not given
	// twice, or two machines would look like one in a record.
	highest map[string]int
	// balancing is held while a balancer's servers are changed.
	balancing sync.Mutex
	// staging is held while the container exists that versions are staged from.
	staging sync.Mutex
}

// provider is the part of kind's library that is used.
type provider interface {
	Create(name string, options ...kindcluster.CreateOption) error
	KubeConfig(name string, internal bool) (string, error)
}

var (
	_ cluster.Driver               = (*Driver)(nil)
	_ cluster.Preflighter          = (*Driver)(nil)
	_ cluster.Preparer             = (*Driver)(nil)
	_ cluster.Stager               = (*Driver)(nil)
	_ cluster.ControlPlaneUpgrader = (*Driver)(nil)
	_ cluster.NodeUpgrader         = (*Driver)(nil)
	_ cluster.NodeRollbacker       = (*Driver)(nil)
	_ cluster.NodeProvisioner      = (*Driver)(nil)
	_ cluster.Attacher             = (*Driver)(nil)
	_ cluster.Exposer              = (*Driver)(nil)
	_ cluster.TwinHost             = (*Driver)(nil)
	_ cluster.CanaryImager         = (*Driver)(nil)
	_ cluster.EtcdProber           = (*Driver)(nil)
	_ cluster.LogCollector         = (*Driver)(nil)
	_ cluster.LeftoverFinder       = (*Driver)(nil)
	_ cluster.Describer            = (*Driver)(nil)
)

// New returns a driver. It touches nothing yet.
func New(o Options) *Driver {
	if o.Docker == nil {
		o.Docker = &docker.Client{}
	}
	return &Driver{
		docker: o.Docker, images: o.Images, canaryBinary: o.CanaryBinary, balancer: o.Balancer.withDefaults(),
		highest: map[string]int{}, settlePoll: settlePoll,
		newProvider: func(l kindLogger) provider {
			return kindcluster.NewProvider(kindcluster.ProviderWithDocker(), kindcluster.ProviderWithLogger(l))
		},
	}
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// clusterName is the name of the kind cluster and of its Docker network.
func clusterName(s cluster.Spec) (string, error) {
	name := s.Name
	if !strings.HasPrefix(name, NamePrefix) {
		name = NamePrefix + name
	}
	switch {
	case s.Name == "":
		return "", fmt.Errorf("cluster without a name")
	case s.RunID == "":
		return "", fmt.Errorf("cluster %s: no run id to mark it with", name)
	case !validName.MatchString(name):
		return "", fmt.Errorf("cluster name %q: want lower-case letters, digits and dashes", name)
	case len(name) > maxName:
		return "", fmt.Errorf("cluster name %q has %d bytes: want at most %d, so that nodes named after it get a valid hostname", name, len(name), maxName)
	}
	return name, nil
}

// runLabels are the --label arguments of a container of ours.
func runLabels(s cluster.Spec, role string) []string {
	return []string{"--label", cluster.LabelRun + "=" + s.RunID, "--label", labelRole + "=" + role}
}
