package sim

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// collected are the resources that the garbage collector and the namespace
// controller look after.
var collected = []schema.GroupVersionResource{
	resPods, resServices, resConfigMaps, resEvents, resServiceAccounts, resDeployments, resReplicaSets, resDaemonSets,
	resLeases, resEndpointSlices, resBudgets,
}

// collectGarbage deletes objects whose controller is gone.
func (c *simulation) collectGarbage(context.Context) error {
	alive := map[types.UID]bool{}
	for _, gvr := range append([]schema.GroupVersionResource{resNodes, resNamespaces}, collected...) {
		for _, o := range list[object](c.store, gvr, "") {
			alive[o.GetUID()] = true
		}
	}
	for _, gvr := range collected {
		for _, o := range list[object](c.store, gvr, "") {
			refs := o.GetOwnerReferences()
			if len(refs) == 0 || o.GetDeletionTimestamp() != nil ||
				slices.ContainsFunc(refs, func(r metav1.OwnerReference) bool { return alive[r.UID] }) {
				continue
			}
			if err := c.api.delete(gvr, o.GetNamespace(), o.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr(o.GetUID())}}); ignoreGone(err) != nil {
				return err
			}
		}
	}
	return nil
}

// emptyNamespaces deletes what is in namespaces that are being deleted, and
// then the namespaces.
func (c *simulation) emptyNamespaces(context.Context) error {
	for _, ns := range list[*corev1.Namespace](c.store, resNamespaces, "") {
		if ns.DeletionTimestamp == nil {
			continue
		}
		left := 0
		for _, gvr := range collected {
			objs, _ := c.store.List(gvr, ns.Name)
			left += len(objs)
			for _, o := range objs {
				m, err := meta.Accessor(o)
				if err != nil {
					return err
				}
				if m.GetDeletionTimestamp() == nil {
					if err := c.api.delete(gvr, ns.Name, m.GetName(), metav1.DeleteOptions{}); ignoreGone(err) != nil {
						return err
					}
				}
			}
		}
		if left == 0 {
			if _, err := c.store.Delete(resNamespaces, "", ns.Name); ignoreGone(err) != nil {
				return err
			}
		}
	}
	return nil
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func ptr[T any](v T) *T { return &v }

var errStale = errors.New("no longer so")
