package preflight

import (
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/kube-rehearse/rehearse/probes/nodes"
)

// State is what the checks look at, as it was listed at Now. Its objects hold
// what the checks need and nothing else: no environment, no annotations, no
// contents of Secrets or ConfigMaps.
type State struct {
	// Format is the version of this layout, see Format.
	Format int       `json:"format"`
	Now    time.Time `json:"taken"`
	// Target is the version that the upgrade goes to, or "" where unknown. It is
	// the question, not a part of what was seen.
	Target   string      `json:"-"`
	Versions nodes.State `json:"versions"`
	// NotRead says of each resource that could not be read why not.
	NotRead map[Resource]string `json:"notRead,omitempty"`

	Nodes        []corev1.Node                                `json:"nodes,omitempty"`
	Pods         []corev1.Pod                                 `json:"pods,omitempty"`
	Deployments  []appsv1.Deployment                          `json:"deployments,omitempty"`
	ReplicaSets  []appsv1.ReplicaSet                          `json:"replicaSets,omitempty"`
	StatefulSets []appsv1.StatefulSet                         `json:"statefulSets,omitempty"`
	DaemonSets   []appsv1.DaemonSet                           `json:"daemonSets,omitempty"`
	Budgets      []policyv1.PodDisruptionBudget               `json:"budgets,omitempty"`
	Slices       []discoveryv1.EndpointSlice                  `json:"endpointSlices,omitempty"`
	Validating   []admissionv1.ValidatingWebhookConfiguration `json:"validatingWebhooks,omitempty"`
	Mutating     []admissionv1.MutatingWebhookConfiguration   `json:"mutatingWebhooks,omitempty"`
	APIServices  []APIService                                 `json:"apiServices,omitempty"`

	Policies   []admissionv1.ValidatingAdmissionPolicy        `json:"policies,omitempty"`
	Bindings   []admissionv1.ValidatingAdmissionPolicyBinding `json:"policyBindings,omitempty"`
	Volumes    []corev1.PersistentVolume                      `json:"volumes,omitempty"`
	Claims     []corev1.PersistentVolumeClaim                 `json:"claims,omitempty"`
	Components []Component                                    `json:"components,omitempty"`
	Kubelets   []Kubelet                                      `json:"kubelets,omitempty"`
	// Hosts are what check pods saw, where they were asked for.
	Hosts   []Host   `json:"hosts,omitempty"`
	APIUses []APIUse `json:"apiUses,omitempty"`
}

// APIService is a group and version of the API, and whether it is served.
type APIService struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	// Why says why it is not available.
	Why string `json:"why,omitempty"`
}

// Resource names a part of the State that is read on its own, so that what may
// not be read costs only the checks that need it.
type Resource string

// The resources that the checks need.
const (
	Version     Resource = "version"
	Nodes       Resource = "nodes"
	Pods        Resource = "pods"
	Workloads   Resource = "workloads"
	Budgets     Resource = "disruption budgets"
	Endpoints   Resource = "endpoints"
	Webhooks    Resource = "webhooks"
	APIServices Resource = "API services"
	Policies    Resource = "admission policies"
	Volumes     Resource = "volumes"
	Kubelets    Resource = "kubelets"
	// Hosts are the machines under the nodes, seen by a check pod.
	Hosts Resource = "hosts"
	// Requests, Objects and HelmReleases are the evidence of APIs in use.
	Requests     Resource = "requested APIs"
	Objects      Resource = "metadata of objects"
	HelmReleases Resource = "Helm releases"
)
