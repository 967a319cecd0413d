// Package preflight looks, before an upgrade begins, for what is known to stop
// or spoil one: nodes that are not fit, budgets that allow no eviction, pods
// that nobody makes again, webhooks that would refuse evictions. It reads the
// cluster and changes nothing.
//
// One file holds one check. A check is a pure function of State, so each is
// tested with objects alone.
package preflight

import (
	"context"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/nodes"
)

// State is what the checks look at, as it was listed at Now.
type State struct {
	Now      time.Time
	Target   string // version that the upgrade goes to, or "" where unknown
	Versions nodes.State

	Nodes        []corev1.Node
	Pods         []corev1.Pod
	Deployments  []appsv1.Deployment
	StatefulSets []appsv1.StatefulSet
	Budgets      []policyv1.PodDisruptionBudget
	Slices       []discoveryv1.EndpointSlice
	Validating   []admissionv1.ValidatingWebhookConfiguration
	Mutating     []admissionv1.MutatingWebhookConfiguration
	APIServices  []unstructured.Unstructured
}

// Check is one thing looked for.
type Check struct {
	// Name says what is looked for, as a heading.
	Name string
	Find func(*State) []record.Finding
}

// Checks are all checks, in the order in which their findings are reported.
func Checks() []Check {
	return []Check{
		{"nodes are fit", unfitNodes},
		{"control planes can form a quorum", controlPlanes},
		{"versions may be combined", versionSkew},
		{"API services are available", unavailableAPIServices},
		{"no broken system pod lingers", lingeringPods},
		{"disruption budgets allow evictions", blockingBudgets},
		{"no pod has two disruption budgets", overlappingBudgets},
		{"webhooks do not refuse pods or evictions", webhooks},
		{"every pod is made again", barePods},
		{"workloads survive the loss of a node", singleReplicas},
		{"the pods of any one node fit on the others", capacity},
	}
}

// Run returns the findings of all checks, in their order.
func Run(s *State) []record.Finding {
	checks := Checks()
	found := make([][]record.Finding, 0, len(checks))
	for _, c := range checks {
		found = append(found, c.Find(s))
	}
	return slices.Concat(found...)
}

// Look observes the cluster and runs all checks; target is the version that the
// upgrade goes to, or "". The error means that it could not look.
func Look(ctx context.Context, client kubernetes.Interface, dyn dynamic.Interface, target string) ([]record.Finding, error) {
	s, err := Observe(ctx, client, dyn)
	if err != nil {
		return nil, err
	}
	s.Target = target
	return Run(s), nil
}

// Observe lists what the checks look at.
func Observe(ctx context.Context, client kubernetes.Interface, dyn dynamic.Interface) (*State, error) {
	s := &State{Now: time.Now()}
	all := metav1.ListOptions{}
	var err error
	if s.Versions, err = nodes.Observe(ctx, client); err != nil {
		return nil, fmt.Errorf("preflight: %w", err)
	}
	nodeList, err := client.CoreV1().Nodes().List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list nodes: %w", err)
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list pods: %w", err)
	}
	deployments, err := client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list Deployments: %w", err)
	}
	sets, err := client.AppsV1().StatefulSets(metav1.NamespaceAll).List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list StatefulSets: %w", err)
	}
	budgets, err := client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list PodDisruptionBudgets: %w", err)
	}
	endpoints, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list EndpointSlices: %w", err)
	}
	validating, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list ValidatingWebhookConfigurations: %w", err)
	}
	mutating, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list MutatingWebhookConfigurations: %w", err)
	}
	services, err := dyn.Resource(apiServiceResource).List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("preflight: list APIServices: %w", err)
	}
	s.Nodes, s.Pods, s.Deployments, s.StatefulSets = nodeList.Items, pods.Items, deployments.Items, sets.Items
	s.Budgets, s.Slices, s.APIServices = budgets.Items, endpoints.Items, services.Items
	s.Validating, s.Mutating = validating.Items, mutating.Items
	return s, nil
}

var apiServiceResource = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
