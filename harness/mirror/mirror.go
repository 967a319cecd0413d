// Package mirror reads what a production cluster is like, without changing
// anything in it, and writes the scenario that rehearses its upgrade.
//
// What is read becomes facts: each has a value, how sure it is (observed, inferred
// or unknown) and the evidence. A facts file keeps them, so that the cluster that
// a rehearsal built can be held against them later. Fidelity says how much of
// production the mirror shows on a driver, and what it cannot.
//
// Every request is a GET: ReadOnly refuses all others before they leave the
// process. That is why RBAC is inferred from the API server's own arguments or
// from the roles that exist, and not from a SubjectAccessReview, which is a POST.
// Secrets are never read, and of ConfigMaps only the named keys that hold the
// configuration of a network plug-in or of kube-proxy.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Certainty says how sure a fact is.
type Certainty string

// How sure a fact is.
const (
	Observed Certainty = "observed" // an API answered with exactly this
	Inferred Certainty = "inferred" // it follows from something that was observed
	Unknown  Certainty = "unknown"  // nothing told, or it could not be read
)

// Fact is one thing about a cluster. Value is empty exactly where it is Unknown.
type Fact struct {
	Name      string    `json:"name"`
	Value     string    `json:"value,omitempty"`
	Certainty Certainty `json:"certainty"`
	// Evidence says what was looked at, or why nothing was seen.
	Evidence string `json:"evidence"`
	// By is who installed an add-on, where that is known: ByKops or empty.
	By string `json:"by,omitempty"`
}

// ByKops marks what kops installed, and will install in a mirror of its making.
const ByKops = "kops"

// Platforms that have a source of their own.
const (
	PlatformKops = "kops"
	PlatformEKS  = "EKS"
)

// LaunchTemplate is in the value of a fact about a group of nodes that has one.
const LaunchTemplate = "launch template"

// Names of facts. Add-ons have one each, whose name begins with AddonPrefix.
const (
	FactVersion       = "version"
	FactKubelets      = "kubelet-versions"
	FactPlatform      = "platform"
	FactControlPlanes = "control-planes"
	FactWorkers       = "workers"
	FactGroups        = "node-groups"
	FactInstanceTypes = "instance-types"
	FactSizes         = "node-sizes"
	FactZones         = "zones"
	FactInstances     = "instances"
	FactMachines      = "machines"
	FactRuntimes      = "container-runtimes"
	FactNetwork       = "network"
	FactNetworkMode   = "network-mode"
	FactPodCIDR       = "pod-cidr"
	FactServiceCIDR   = "service-cidr"
	FactKubeProxy     = "kube-proxy"
	FactDNS           = "dns"
	FactEtcd          = "etcd"
	FactRBAC          = "rbac"
	FactAPIGates      = "feature-gates/kube-apiserver"
	FactKubeletGates  = "feature-gates/kubelet"
	FactKubelet       = "kubelet-config"
	FactLoadBalancers = "load-balancers"
	FactStorage       = "csi-drivers"
	FactWebhooks      = "admission-webhooks"
	FactWorkloads     = "workloads"
	FactBudgets       = "disruption-budgets"
)

// Names of facts that only a Source tells.
const (
	// FactTies are what ties production to its account and its names, and is left
	// out of a mirror: the fields' names without their values.
	FactTies          = "ties"
	FactAPIAccess     = "api-access"
	FactSubnets       = "subnets"
	FactRoles         = "roles"
	FactVPC           = "vpc"
	FactStateStore    = "state-store"
	FactSpecVersion   = "declared-version"
	FactNetworkConfig = "network-config"
	FactDeclaredGates = "declared-feature-gates"
)

// Prefixes of facts of which there are several: about add-ons, about groups of
// nodes and about add-ons that EKS manages.
const (
	AddonPrefix    = "addon/"
	GroupPrefix    = "node-group/"
	EKSAddonPrefix = "eks-addon/"
)

// Workload is one of production's workloads that a stand-in can represent: what
// a budget guards, since that is what holds drains back.
type Workload struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Kind      string `json:"kind"` // Deployment or StatefulSet
	Replicas  int    `json:"replicas"`
	// MaxUnavailable or MinAvailable is the budget in pods; a share was turned
	// into pods the way the disruption controller does, rounded up.
	MaxUnavailable *int `json:"maxUnavailable,omitempty"`
	MinAvailable   *int `json:"minAvailable,omitempty"`
	// CPU and Memory are what one pod requests, empty for nothing.
	CPU    string `json:"cpu,omitempty"`
	Memory string `json:"memory,omitempty"`
	// Evidence names the budget, and says where the stand-in will differ.
	Evidence string `json:"evidence"`
}

// Facts are what was read of one cluster.
type Facts struct {
	Format    int        `json:"format"` // FactsFormat
	Read      time.Time  `json:"read"`
	Facts     []Fact     `json:"facts"`
	Workloads []Workload `json:"workloads"`
}

// FactsFormat is the version of the facts file that this package reads.
const FactsFormat = 1

// Get returns the fact called name; an Unknown one where there is none.
func (f *Facts) Get(name string) Fact {
	for _, x := range f.Facts {
		if x.Name == name {
			return x
		}
	}
	return Fact{Name: name, Certainty: Unknown, Evidence: "not looked at"}
}

// Source tells facts that the Kubernetes API does not, such as a kops state store
// or a cloud's API. It may only read.
type Source interface {
	// Name says what is read, for the evidence of its facts.
	Name() string
	// Facts reads. A fact that could not be read is Unknown; the error means that
	// nothing could be read at all.
	Facts(ctx context.Context) ([]Fact, error)
}

// Options of Read.
type Options struct {
	Client kubernetes.Interface
	// Get fetches one path of the API server as text, such as /metrics. Nil where
	// it cannot be had; what it would tell is then unknown.
	Get func(ctx context.Context, path string) ([]byte, error)
	// Sources are asked after the cluster. What one observed replaces what was
	// only inferred or unknown.
	Sources []Source
	Now     func() time.Time
}

// Read reads a cluster's facts. What may not be read, or is not there, is an
// unknown fact; the error is for a cluster whose version or nodes cannot be read,
// and for a Source that failed. It writes nothing.
func Read(ctx context.Context, o Options) (*Facts, error) {
	r := &reader{o: o, facts: &Facts{Format: FactsFormat, Read: o.Now().UTC().Truncate(time.Second), Workloads: []Workload{}}}
	if err := r.essentials(ctx); err != nil {
		return nil, err
	}
	r.list(ctx)
	r.describeNodes()
	r.network(ctx)
	r.kubeProxy(ctx)
	r.system()
	r.gates(ctx)
	r.kubelet(ctx)
	r.surroundings()
	r.workloads()
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("read the cluster: %w", err)
	}
	for _, s := range o.Sources {
		more, err := s.Facts(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s.Name(), err)
		}
		r.facts.merge(more)
	}
	return r.facts, nil
}

// merge adds the facts of a source.
func (f *Facts) merge(more []Fact) {
	for _, m := range more {
		i := slices.IndexFunc(f.Facts, func(x Fact) bool { return x.Name == m.Name })
		switch {
		case i < 0:
			f.Facts = append(f.Facts, m)
		case f.Facts[i].Certainty != Observed && m.Certainty != Unknown:
			f.Facts[i] = m
		}
	}
}

// reader holds what was listed, and what became of it.
type reader struct {
	o     Options
	facts *Facts

	version      string
	nodes        []corev1.Node
	daemonSets   []appsv1.DaemonSet
	deployments  []appsv1.Deployment
	statefulSets []appsv1.StatefulSet
	systemPods   []corev1.Pod
	services     []corev1.Service
	listings
}

// essentials reads that without which there is no mirror.
func (r *reader) essentials(ctx context.Context) error {
	v, err := r.o.Client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("ask the cluster for its version: %w", err)
	}
	r.version = v.GitVersion
	nodes, err := all(ctx, func(ctx context.Context, o metav1.ListOptions) (*corev1.NodeList, error) {
		return r.o.Client.CoreV1().Nodes().List(ctx, o)
	}, func(l *corev1.NodeList) []corev1.Node { return l.Items })
	if err != nil {
		return fmt.Errorf("list the nodes: %w; the mirror needs to read at least these", err)
	}
	if len(nodes) == 0 {
		return errors.New("the cluster has no nodes: there is nothing to mirror")
	}
	slices.SortFunc(nodes, func(a, b corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	r.nodes = nodes
	r.observed(FactVersion, r.version, "/version")
	return nil
}

func (r *reader) add(name, value string, c Certainty, format string, args ...any) {
	if value == "" {
		c = Unknown
	}
	r.facts.Facts = append(r.facts.Facts, Fact{Name: name, Value: value, Certainty: c, Evidence: fmt.Sprintf(format, args...)})
}

func (r *reader) observed(name, value, format string, args ...any) {
	r.add(name, value, Observed, format, args...)
}

func (r *reader) inferred(name, value, format string, args ...any) {
	r.add(name, value, Inferred, format, args...)
}

func (r *reader) unknown(name, format string, args ...any) {
	r.add(name, "", Unknown, format, args...)
}

// pageSize bounds one answer of the API server, as kubectl does.
const pageSize = 500

// all lists everything, page by page.
func all[L metav1.ListInterface, T any](ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), items func(L) []T) ([]T, error) {
	var out []T
	o := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := list(ctx, o)
		if apierrors.IsResourceExpired(err) && o.Continue != "" {
			// The cluster changed for too long between two pages: begin again, in one.
			out, o = nil, metav1.ListOptions{}
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, items(page)...)
		if o.Continue = page.GetContinue(); o.Continue == "" {
			return out, nil
		}
	}
}

// why words an error of the API for an unknown fact's evidence.
func why(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "this user may not read it"
	case apierrors.IsNotFound(err):
		return "there is none"
	}
	return err.Error()
}
