// Package system looks at a cluster as a whole: its nodes, network plug-in and
// system components, its API services and its DNS. It tells what is there and
// what is wrong with it; an error means only that it could not look.
package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Namespaces are the system's: where components are looked for and where no
// broken pod may linger. Those that a cluster lacks are simply empty.
var Namespaces = []string{
	metav1.NamespaceSystem, "kube-flannel", "calico-system", "calico-apiserver", "tigera-operator", "cilium",
	"local-path-storage", // kind's storage provisioner
}

// Options says what to look at.
type Options struct {
	// Clock stamps the snapshot.
	Clock timeline.Clock
	// Components are the names of checks.systemComponents.
	Components []string
	// CanaryNamespace and CanarySelector find the canary's pods; no pods are
	// listed where CanaryNamespace is empty.
	CanaryNamespace, CanarySelector string
	// Etcd tells etcd's members from the inside; nil where nobody can.
	Etcd func(context.Context) ([]record.Named, error)
	// Lookup makes one DNS lookup inside the cluster, as LookupByPod does; nil
	// where none shall be made.
	Lookup func(context.Context) (record.Named, error)
}

// Snapshot returns the state of the cluster. What is unhealthy is in the
// snapshot. On error the snapshot holds what could be seen nevertheless, and
// the error says what could not; calls that fail as they do right after an API
// server restarted are repeated for a while first.
func Snapshot(ctx context.Context, client kubernetes.Interface, dyn dynamic.Interface, o Options) (record.Snapshot, error) {
	s := record.Snapshot{T: int64(o.Clock.Now())}
	var errs []error
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, overallPatience)
	defer cancel()
	version, err := patiently(ctx, "the API server's version", func(context.Context) (string, error) {
		v, err := client.Discovery().ServerVersion()
		if err != nil {
			return "", err
		}
		return v.GitVersion, nil
	})
	s.ServerVersion, errs = version, append(errs, err)

	inv, err := take(ctx, client)
	errs = append(errs, err)
	s.Network = inv.network()
	s.Nodes = inv.recordNodes()
	s.Lingering = Lingering(inv.pods, time.Now())
	for _, name := range o.Components {
		s.Components = append(s.Components, inv.component(name))
	}
	if i := slices.IndexFunc(s.Components, func(c record.Component) bool { return c.Name == etcd }); i >= 0 && o.Etcd != nil {
		members, err := patiently(ctx, "etcd's members", o.Etcd)
		errs = append(errs, err)
		if err == nil {
			withMembers(&s.Components[i], members, len(inv.controlPlanes()))
		}
	}
	s.APIServices, err = apiServices(ctx, dyn)
	errs = append(errs, err)
	if o.CanaryNamespace != "" {
		pods, err := patiently(ctx, "the canary's pods", func(ctx context.Context) (*corev1.PodList, error) {
			return client.CoreV1().Pods(o.CanaryNamespace).List(ctx, metav1.ListOptions{LabelSelector: o.CanarySelector})
		})
		errs = append(errs, err)
		if err == nil {
			for i := range pods.Items {
				s.Canary = append(s.Canary, podState(&pods.Items[i], ""))
			}
		}
	}
	if o.Lookup != nil {
		s.DNSLookup, err = o.Lookup(whole)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return s, fmt.Errorf("snapshot of the cluster: %w", err)
	}
	return s, nil
}

// inventory is what was listed, in order of namespace and name.
type inventory struct {
	nodes       []corev1.Node
	pods        []corev1.Pod // of Namespaces
	daemonSets  []appsv1.DaemonSet
	deployments []appsv1.Deployment // of Namespaces
}

func take(ctx context.Context, client kubernetes.Interface) (inventory, error) {
	var inv inventory
	errs := make([]error, 0, 2+2*len(Namespaces))
	all := metav1.ListOptions{}
	nodes, err := patiently(ctx, "nodes", func(ctx context.Context) (*corev1.NodeList, error) { return client.CoreV1().Nodes().List(ctx, all) })
	if errs = append(errs, err); err == nil {
		inv.nodes = nodes.Items
	}
	daemons, err := patiently(ctx, "DaemonSets", func(ctx context.Context) (*appsv1.DaemonSetList, error) {
		return client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, all)
	})
	if errs = append(errs, err); err == nil {
		inv.daemonSets = daemons.Items
	}
	for _, ns := range Namespaces {
		pods, err := patiently(ctx, "pods of "+ns, func(ctx context.Context) (*corev1.PodList, error) { return client.CoreV1().Pods(ns).List(ctx, all) })
		if errs = append(errs, err); err == nil {
			inv.pods = append(inv.pods, pods.Items...)
		}
		deployments, err := patiently(ctx, "Deployments of "+ns, func(ctx context.Context) (*appsv1.DeploymentList, error) {
			return client.AppsV1().Deployments(ns).List(ctx, all)
		})
		if errs = append(errs, err); err == nil {
			inv.deployments = append(inv.deployments, deployments.Items...)
		}
	}
	slices.SortFunc(inv.nodes, func(a, b corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	return inv, errors.Join(errs...)
}

// Patience with calls that fail while API servers restart.
const (
	patience        = 30 * time.Second // for one call
	overallPatience = 90 * time.Second // for all of a snapshot but the lookup
	patienceGap     = time.Second
)

// patiently repeats look until it succeeds, for at most patience. Any error is
// worth repeating: right after a restart even Forbidden and NotFound pass.
func patiently[T any](ctx context.Context, what string, look func(context.Context) (T, error)) (T, error) {
	deadline := time.Now().Add(patience)
	for {
		v, err := look(ctx)
		if err == nil {
			return v, nil
		}
		if time.Now().Add(patienceGap).After(deadline) {
			return v, fmt.Errorf("look at %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return v, fmt.Errorf("look at %s: %w; the last attempt: %w", what, context.Cause(ctx), err)
		case <-time.After(patienceGap):
		}
	}
}

var apiServiceResource = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// apiServices lists every APIService by name, with whether it is Available.
func apiServices(ctx context.Context, dyn dynamic.Interface) ([]record.Named, error) {
	return patiently(ctx, "APIServices", func(ctx context.Context) ([]record.Named, error) {
		list, err := dyn.Resource(apiServiceResource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var out []record.Named
		for i := range list.Items {
			ok, why := Available(list.Items[i].Object)
			out = append(out, record.Named{Name: list.Items[i].GetName(), OK: ok, Detail: why})
		}
		slices.SortFunc(out, func(a, b record.Named) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// Available reads the condition of that type off an APIService as the dynamic
// client returns it; where it is not True, it says why.
func Available(object map[string]any) (bool, string) {
	status, _ := object["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] != "Available" {
			continue
		}
		if condition["status"] == "True" {
			return true, ""
		}
		reason, _ := condition["reason"].(string)
		message, _ := condition["message"].(string)
		return false, join(reason, message)
	}
	return false, "its condition Available is not reported"
}

// join makes "reason: message" of what there is of the two.
func join(reason, message string) string {
	reason, message = strings.TrimSpace(reason), strings.TrimSpace(message)
	if reason == "" || message == "" {
		return reason + message
	}
	return reason + ": " + message
}
