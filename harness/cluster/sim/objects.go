package sim

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kube-rehearse/rehearse/harness/cluster/sim/internal/store"
)

// Resources that the simulation itself reads and writes. Any other resource of
// client-go's scheme can be created and read as well; nothing acts on it.
var (
	resPods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	resNodes           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	resNamespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	resServices        = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	resConfigMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	resEvents          = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	resServiceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	resDeployments     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	resReplicaSets     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	resDaemonSets      = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	resLeases          = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	resEndpointSlices  = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	resBudgets         = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	resPriorityClasses = schema.GroupVersionResource{Group: "scheduling.k8s.io", Version: "v1", Resource: "priorityclasses"}
	resAPIServices     = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
)

// object is what every typed API object is.
type object interface {
	runtime.Object
	metav1.Object
}

// get returns the stored object, shared and not to be modified, and whether it
// exists.
func get[T object](s *store.Store, gvr schema.GroupVersionResource, namespace, name string) (T, bool) {
	var none T
	obj, err := s.Get(gvr, namespace, name)
	if err != nil {
		return none, false
	}
	t, ok := obj.(T)
	return t, ok
}

// list returns the stored objects of a namespace (empty: all), shared and not
// to be modified.
func list[T object](s *store.Store, gvr schema.GroupVersionResource, namespace string) []T {
	objs, _ := s.List(gvr, namespace)
	out := make([]T, 0, len(objs))
	for _, o := range objs {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// update changes a stored object; an object that is gone is not an error, since
// every controller meets that and carries on.
func update[T object](s *store.Store, gvr schema.GroupVersionResource, namespace, name string, change func(T)) error {
	_, err := s.Update(gvr, namespace, name, func(obj runtime.Object) error {
		t, ok := obj.(T)
		if !ok {
			return fmt.Errorf("update %s %s/%s: stored as %T", gvr.Resource, namespace, name, obj)
		}
		change(t)
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// ownedBy tells whether an object's controller has the uid of owner.
func ownedBy(o metav1.Object, owner metav1.Object) bool {
	ref := metav1.GetControllerOfNoCopy(o)
	return ref != nil && ref.UID == owner.GetUID()
}
