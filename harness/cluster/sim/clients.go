package sim

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	fakediscovery "k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// clients are client-go's fake clientsets, typed and dynamic, both answered by
// the same simulated API.
type clients struct {
	typed   *clientset
	dynamic *dynamicfake.FakeDynamicClient
}

func newClients(c *simulation) *clients {
	typed := fake.NewSimpleClientset()
	typed.ReactionChain, typed.WatchReactionChain = nil, nil
	typed.AddReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		obj, err := c.api.react(action, false)
		return true, obj, err
	})
	typed.AddWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		w, err := c.api.watch(action, false)
		return true, w, err
	})
	typed.ProxyReactionChain = nil
	typed.AddProxyReactor("pods", c.proxied)
	typed.Resources = resourceLists()

	// The fake adds kinds to the scheme that it is given: each has one of its own,
	// since clusters are made side by side.
	own := runtime.NewScheme()
	utilruntime.Must(scheme.AddToScheme(own))
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(own, map[schema.GroupVersionResource]string{resAPIServices: "APIServiceList"})
	dyn.ReactionChain, dyn.WatchReactionChain = nil, nil
	dyn.AddReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		obj, err := c.api.react(action, true)
		return true, obj, err
	})
	dyn.AddWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		w, err := c.api.watch(action, true)
		return true, w, err
	})
	fd, _ := typed.Discovery().(*fakediscovery.FakeDiscovery)
	return &clients{
		typed: &clientset{Clientset: typed, discovery: &discoveryClient{FakeDiscovery: fd, version: func() cluster.Version {
			n, ok := c.plane.pick()
			if !ok {
				return ""
			}
			return cluster.Version(c.plane.tag(n, compAPIServer))
		}}},
		dynamic: dyn,
	}
}

// forget drops the record of calls that the fakes keep for tests; a rehearsal
// makes too many of them.
func (k *clients) forget(ctx context.Context) {
	for pause(ctx, 5*time.Second) == nil {
		k.typed.ClearActions()
		k.dynamic.ClearActions()
	}
}

// clientset is the fake clientset with a discovery client that tells the
// version which the API servers have at the moment.
type clientset struct {
	*fake.Clientset
	discovery *discoveryClient
}

// Discovery implements kubernetes.Interface.
func (c *clientset) Discovery() discovery.DiscoveryInterfaces { return c.discovery }

type discoveryClient struct {
	*fakediscovery.FakeDiscovery
	version func() cluster.Version
}

// ServerVersion implements discovery.ServerVersionInterface.
func (d *discoveryClient) ServerVersion() (*version.Info, error) {
	if _, err := d.Invokes(clienttesting.ActionImpl{Verb: "get", Resource: schema.GroupVersionResource{Resource: "version"}}, nil); err != nil {
		return nil, err
	}
	return versionInfo(d.version()), nil
}

// ServerVersionWithContext implements discovery.ServerVersionInterfaceWithContext.
func (d *discoveryClient) ServerVersionWithContext(context.Context) (*version.Info, error) {
	return d.ServerVersion()
}

// resourceLists is what discovery tells: what the harness and the drain library
// look for.
func resourceLists() []*metav1.APIResourceList {
	namespaced := func(name, kind string) metav1.APIResource {
		return metav1.APIResource{Name: name, Kind: kind, Namespaced: true, Verbs: verbs}
	}
	global := func(name, kind string) metav1.APIResource {
		return metav1.APIResource{Name: name, Kind: kind, Verbs: verbs}
	}
	return []*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			namespaced("pods", "Pod"),
			{Name: "pods/eviction", Kind: "Eviction", Group: "policy", Version: "v1", Namespaced: true, Verbs: metav1.Verbs{"create"}},
			namespaced("services", "Service"), namespaced("configmaps", "ConfigMap"), namespaced("secrets", "Secret"),
			namespaced("events", "Event"), namespaced("serviceaccounts", "ServiceAccount"), global("nodes", "Node"), global("namespaces", "Namespace"),
		}},
		{GroupVersion: "apps/v1", APIResources: []metav1.APIResource{
			namespaced("deployments", "Deployment"), namespaced("replicasets", "ReplicaSet"), namespaced("daemonsets", "DaemonSet"), namespaced("statefulsets", "StatefulSet"),
		}},
		{GroupVersion: "policy/v1", APIResources: []metav1.APIResource{namespaced("poddisruptionbudgets", "PodDisruptionBudget")}},
		{GroupVersion: "coordination.k8s.io/v1", APIResources: []metav1.APIResource{namespaced("leases", "Lease")}},
		{GroupVersion: "discovery.k8s.io/v1", APIResources: []metav1.APIResource{namespaced("endpointslices", "EndpointSlice")}},
		{GroupVersion: "scheduling.k8s.io/v1", APIResources: []metav1.APIResource{global("priorityclasses", "PriorityClass")}},
		{GroupVersion: "apiregistration.k8s.io/v1", APIResources: []metav1.APIResource{global("apiservices", "APIService")}},
	}
}

var verbs = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
