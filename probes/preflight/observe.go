package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"github.com/kube-rehearse/rehearse/probes/nodes"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// Source is how a cluster is reached. Only Client and Dynamic are needed; what
// takes the others is not checked without them, and says so.
type Source struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Metadata lists objects without their contents.
	Metadata metadata.Interface
	// Raw answers a GET of a path of the API server.
	Raw func(ctx context.Context, path string) ([]byte, error)
	// CheckPod, where it is set, runs a pod on each node for a moment. It is the
	// only thing that changes the cluster.
	CheckPod *CheckPod
}

// Observe lists what the checks look at. A resource that the API refuses or
// fails to list is noted in NotRead; the error means that nothing could be seen:
// the API does not answer, or neither nodes nor pods may be read.
func Observe(ctx context.Context, src Source) (*State, error) {
	o := &observer{ctx: ctx, src: src, s: &State{Format: Format, Now: time.Now().UTC(), NotRead: map[Resource]string{}}}
	v, err := src.Client.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("preflight: ask the API server for its version: %w", err)
	}
	for _, read := range []func(){o.nodes, o.pods, o.workloads, o.budgets, o.endpoints, o.webhooks, o.apiServices,
		o.policies, o.volumes, o.components, o.kubelets, func() { o.apiUses(v.GitVersion) }, o.hosts} {
		read()
		if o.err != nil {
			return nil, fmt.Errorf("preflight: %w", o.err)
		}
	}
	if a, b := o.s.NotRead[Nodes], o.s.NotRead[Pods]; a != "" && b != "" {
		return nil, fmt.Errorf("preflight: there is nothing to look at: %s; %s", a, b)
	}
	o.s.Versions = nodes.Of(v.GitVersion, o.s.Nodes, o.s.Pods)
	o.reduce()
	return o.s, nil
}

type observer struct {
	ctx context.Context
	src Source
	s   *State
	err error // why nothing can be read any more
}

// failed notes that a resource could not be read, and why. plural and group are
// those of the API, for the person who grants the right.
func (o *observer) failed(r Resource, verb, what string, err error) bool {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return false
	case o.ctx.Err() != nil:
		o.err = fmt.Errorf("%s %s: %w", verb, what, context.Cause(o.ctx))
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		o.note(r, fmt.Sprintf("forbidden: it takes the verb %q on %s", verb, what))
	case errors.As(err, &status):
		o.note(r, fmt.Sprintf("%s %s: %s", verb, what, strings.TrimSuffix(err.Error(), ".")))
	default:
		// Not an answer of the API: it will not answer the next question either.
		o.err = fmt.Errorf("%s %s: %w", verb, what, err)
	}
	return true
}

func (o *observer) note(r Resource, why string) {
	if had := o.s.NotRead[r]; had != "" {
		why = had + "; " + why
	}
	o.s.NotRead[r] = why
}

// list reads all objects of one kind. A kind that the cluster does not know has
// no objects.
func list[L any](o *observer, r Resource, what string, f func(context.Context, metav1.ListOptions) (L, error)) (L, bool) {
	l, err := f(o.ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return l, false
	}
	return l, o.err == nil && !o.failed(r, "list", what, err)
}

func (o *observer) nodes() {
	if l, ok := list(o, Nodes, "nodes", o.src.Client.CoreV1().Nodes().List); ok {
		o.s.Nodes = l.Items
	}
}

func (o *observer) pods() {
	if l, ok := list(o, Pods, "pods", o.src.Client.CoreV1().Pods(metav1.NamespaceAll).List); ok {
		o.s.Pods = l.Items
	}
}

func (o *observer) workloads() {
	apps := o.src.Client.AppsV1()
	if l, ok := list(o, Workloads, "deployments.apps", apps.Deployments(metav1.NamespaceAll).List); ok {
		o.s.Deployments = l.Items
	}
	if l, ok := list(o, Workloads, "replicasets.apps", apps.ReplicaSets(metav1.NamespaceAll).List); ok {
		o.s.ReplicaSets = l.Items
	}
	if l, ok := list(o, Workloads, "statefulsets.apps", apps.StatefulSets(metav1.NamespaceAll).List); ok {
		o.s.StatefulSets = l.Items
	}
	if l, ok := list(o, Workloads, "daemonsets.apps", apps.DaemonSets(metav1.NamespaceAll).List); ok {
		o.s.DaemonSets = l.Items
	}
}

func (o *observer) budgets() {
	if l, ok := list(o, Budgets, "poddisruptionbudgets.policy", o.src.Client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List); ok {
		o.s.Budgets = l.Items
	}
}

func (o *observer) endpoints() {
	if l, ok := list(o, Endpoints, "endpointslices.discovery.k8s.io", o.src.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List); ok {
		o.s.Slices = l.Items
	}
}

func (o *observer) webhooks() {
	admission := o.src.Client.AdmissionregistrationV1()
	if l, ok := list(o, Webhooks, "validatingwebhookconfigurations.admissionregistration.k8s.io", admission.ValidatingWebhookConfigurations().List); ok {
		o.s.Validating = l.Items
	}
	if l, ok := list(o, Webhooks, "mutatingwebhookconfigurations.admissionregistration.k8s.io", admission.MutatingWebhookConfigurations().List); ok {
		o.s.Mutating = l.Items
	}
}

func (o *observer) policies() {
	admission := o.src.Client.AdmissionregistrationV1()
	if l, ok := list(o, Policies, "validatingadmissionpolicies.admissionregistration.k8s.io", admission.ValidatingAdmissionPolicies().List); ok {
		o.s.Policies = l.Items
	}
	if l, ok := list(o, Policies, "validatingadmissionpolicybindings.admissionregistration.k8s.io", admission.ValidatingAdmissionPolicyBindings().List); ok {
		o.s.Bindings = l.Items
	}
}

func (o *observer) volumes() {
	if l, ok := list(o, Volumes, "persistentvolumes", o.src.Client.CoreV1().PersistentVolumes().List); ok {
		o.s.Volumes = l.Items
	}
	if l, ok := list(o, Volumes, "persistentvolumeclaims", o.src.Client.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List); ok {
		o.s.Claims = l.Items
	}
}

var apiServiceResource = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

func (o *observer) apiServices() {
	l, ok := list(o, APIServices, "apiservices.apiregistration.k8s.io", o.src.Dynamic.Resource(apiServiceResource).List)
	if !ok {
		return
	}
	for i := range l.Items {
		up, why := system.Available(l.Items[i].Object)
		o.s.APIServices = append(o.s.APIServices, APIService{Name: l.Items[i].GetName(), Available: up, Why: why})
	}
	slices.SortFunc(o.s.APIServices, func(a, b APIService) int { return strings.Compare(a.Name, b.Name) })
}
