package sim

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"syscall"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/cluster/sim/internal/store"
)

// api is the simulated API server's logic: what the fake clientsets' calls are
// answered with. It has as many addresses as there are control planes, but one
// memory, as etcd gives a real cluster.
type api struct {
	store *store.Store
	clock clock
	// serve picks an API server for one call and returns its name, or false
	// when none is up.
	serve func() (string, bool)
	// listens tells whether an API server is there that cannot serve.
	listens func() bool
	// address is what a refused connection names.
	address string
	dice    *dice
}

// react answers one call of a fake clientset. With raw set the answer is
// unstructured, as the dynamic client expects.
func (a *api) react(action clienttesting.Action, raw bool) (runtime.Object, error) {
	if _, up := a.serve(); !up {
		return nil, a.unavailable(action)
	}
	obj, err := a.handle(action)
	if err != nil || obj == nil {
		return nil, err
	}
	if raw {
		return toRaw(obj)
	}
	return obj, nil
}

func (a *api) handle(action clienttesting.Action) (runtime.Object, error) {
	gvr, ns := action.GetResource(), action.GetNamespace()
	switch action := action.(type) {
	case clienttesting.GetActionImpl:
		obj, err := a.store.Get(gvr, ns, action.Name)
		if err != nil {
			return nil, err
		}
		if action.Subresource == "scale" {
			return scaleOf(obj)
		}
		return obj.DeepCopyObject(), nil
	case clienttesting.ListActionImpl:
		return a.list(gvr, action.Kind, ns, action.ListOptions)
	case clienttesting.CreateActionImpl:
		switch o := action.Object.(type) {
		case *policyv1.Eviction:
			return nil, a.evict(ns, o.Name, o.DeleteOptions)
		case *policyv1beta1.Eviction:
			return nil, a.evict(ns, o.Name, o.DeleteOptions)
		case *corev1.Binding:
			return nil, a.bind(ns, o.Name, o.Target.Name)
		}
		if action.Subresource != "" {
			return nil, unsupported(action)
		}
		obj, err := typed(action.Object)
		if err != nil {
			return nil, err
		}
		return a.create(gvr, ns, obj, len(action.CreateOptions.DryRun) > 0)
	case clienttesting.UpdateActionImpl:
		if s, ok := action.Object.(*autoscalingv1.Scale); ok {
			return a.updateScale(gvr, ns, s)
		}
		obj, err := typed(action.Object)
		if err != nil {
			return nil, err
		}
		m, err := meta.Accessor(obj)
		if err != nil {
			return nil, err
		}
		return a.replace(gvr, ns, m.GetName(), action.Subresource, len(action.UpdateOptions.DryRun) > 0, func(runtime.Object) (runtime.Object, error) {
			return obj.DeepCopyObject(), nil
		})
	case clienttesting.PatchActionImpl:
		return a.patch(gvr, ns, action)
	case clienttesting.DeleteActionImpl:
		return nil, a.delete(gvr, ns, action.Name, action.DeleteOptions)
	case clienttesting.DeleteCollectionActionImpl:
		match, err := selects(action.ListOptions)
		if err != nil {
			return nil, err
		}
		objs, _ := a.store.List(gvr, ns)
		for _, o := range objs {
			m, err := meta.Accessor(o)
			if err != nil || !match(o) {
				continue
			}
			if err := a.delete(gvr, m.GetNamespace(), m.GetName(), action.DeleteOptions); err != nil && !apierrors.IsNotFound(err) {
				return nil, err
			}
		}
		return nil, nil
	case clienttesting.ActionImpl: // discovery
		return nil, nil
	case clienttesting.GenericActionImpl:
		if action.Subresource == "log" {
			return &runtime.Unknown{Raw: []byte("the simulated cluster keeps no container logs\n")}, nil
		}
	}
	return nil, unsupported(action)
}

func unsupported(action clienttesting.Action) error {
	return apierrors.NewMethodNotSupported(action.GetResource().GroupResource(),
		action.GetVerb()+" "+action.GetSubresource()+" (in the simulated cluster)")
}

// unavailable is the error of a call that no API server can serve.
func (a *api) unavailable(action clienttesting.Action) error {
	if a.listens() {
		return errEtcd
	}
	return a.refused(action)
}

// refused is the error that a client sees when nothing listens at the API's
// address: as client-go would return it.
func (a *api) refused(action clienttesting.Action) error {
	addr, err := net.ResolveTCPAddr("tcp", a.address)
	if err != nil {
		addr = &net.TCPAddr{}
	}
	path := "/api/" + action.GetResource().Version
	if g := action.GetResource().Group; g != "" {
		path = "/apis/" + g + "/" + action.GetResource().Version
	}
	if ns := action.GetNamespace(); ns != "" {
		path += "/namespaces/" + ns
	}
	return &url.Error{Op: httpMethods[action.GetVerb()], URL: "http://" + a.address + path + "/" + action.GetResource().Resource,
		Err: &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
}

var httpMethods = map[string]string{
	"get": "Get", "list": "Get", "watch": "Get", "create": "Post", "update": "Put",
	"patch": "Patch", "delete": "Delete", "delete-collection": "Delete",
}

// watch answers a watch; the watch ends when the API server that holds it does.
func (a *api) watch(action clienttesting.Action, raw bool) (watch.Interface, error) {
	server, up := a.serve()
	if !up {
		return nil, a.unavailable(action)
	}
	var opts metav1.ListOptions
	if w, ok := action.(clienttesting.WatchActionImpl); ok {
		opts = w.ListOptions
	}
	match, err := selects(opts)
	if err != nil {
		return nil, err
	}
	sel := store.Selection{Namespace: action.GetNamespace(), Match: match, Version: opts.ResourceVersion, Tag: server}
	if raw {
		sel.Convert = func(obj runtime.Object) runtime.Object {
			u, err := toRaw(obj)
			if err != nil {
				return &apierrors.NewInternalError(err).ErrStatus
			}
			return u
		}
	}
	return a.store.Watch(action.GetResource(), sel)
}

func (a *api) list(gvr schema.GroupVersionResource, gvk schema.GroupVersionKind, ns string, opts metav1.ListOptions) (runtime.Object, error) {
	match, err := selects(opts)
	if err != nil {
		return nil, err
	}
	objs, version := a.store.List(gvr, ns)
	var picked []runtime.Object
	for _, o := range objs {
		if match(o) {
			picked = append(picked, o.DeepCopyObject())
		}
	}
	gvk.Kind += "List"
	out, err := scheme.Scheme.New(gvk)
	if err != nil {
		u := &unstructured.UnstructuredList{}
		u.SetGroupVersionKind(gvk)
		out = u
	}
	if err := meta.SetList(out, picked); err != nil {
		return nil, err
	}
	m, err := meta.ListAccessor(out)
	if err != nil {
		return nil, err
	}
	m.SetResourceVersion(version)
	return out, nil
}

func (a *api) create(gvr schema.GroupVersionResource, ns string, obj runtime.Object, dryRun bool) (runtime.Object, error) {
	obj = obj.DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if m.GetNamespace() == "" {
		m.SetNamespace(ns)
	}
	if m.GetNamespace() != ns {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if m.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	m.SetUID("")
	if err := a.admit(gvr, obj); err != nil {
		return nil, err
	}
	if dryRun {
		return obj, nil
	}
	stored, err := a.store.Create(gvr, obj)
	if err != nil {
		return nil, err
	}
	return stored.DeepCopyObject(), nil
}

var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// replace stores what f makes of the old object, with the API's rules: a stale
// resource version is a conflict, status is written only through its
// subresource and nothing else through it, the generation counts changes of
// the spec, and an object without finalizers whose deletion was asked for goes.
func (a *api) replace(gvr schema.GroupVersionResource, ns, name, subresource string, dryRun bool, f func(old runtime.Object) (runtime.Object, error)) (runtime.Object, error) {
	errDry := errors.New("dry run")
	var result runtime.Object
	stored, err := a.store.Replace(gvr, ns, name, func(old runtime.Object) (runtime.Object, error) {
		obj, err := f(old)
		if err != nil {
			return nil, err
		}
		was, err := meta.Accessor(old)
		if err != nil {
			return nil, err
		}
		now, err := meta.Accessor(obj)
		if err != nil {
			return nil, err
		}
		if v := now.GetResourceVersion(); v != "" && v != was.GetResourceVersion() {
			return nil, apierrors.NewConflict(gvr.GroupResource(), name, errModified)
		}
		if u := now.GetUID(); u != "" && u != was.GetUID() {
			return nil, apierrors.NewConflict(gvr.GroupResource(), name,
				fmt.Errorf("precondition failed: UID in precondition: %v, UID in object meta: %v", u, was.GetUID()))
		}
		if subresource == "status" {
			updated := old.DeepCopyObject()
			copyField(updated, obj, "Status")
			obj = updated
			if now, err = meta.Accessor(obj); err != nil {
				return nil, err
			}
		} else {
			copyField(obj, old, "Status")
			setDefaults(obj)
			now.SetUID(was.GetUID())
			now.SetNamespace(was.GetNamespace())
			now.SetCreationTimestamp(was.GetCreationTimestamp())
			now.SetDeletionTimestamp(was.GetDeletionTimestamp())
			now.SetDeletionGracePeriodSeconds(was.GetDeletionGracePeriodSeconds())
			now.SetGeneration(was.GetGeneration())
			if !apiequality.Semantic.DeepEqual(fieldOf(old, "Spec"), fieldOf(obj, "Spec")) {
				now.SetGeneration(was.GetGeneration() + 1)
			}
		}
		result = obj
		if dryRun {
			return nil, errDry
		}
		if now.GetDeletionTimestamp() != nil && len(now.GetFinalizers()) == 0 && len(was.GetFinalizers()) > 0 && gvr != resPods && gvr != resNamespaces {
			return nil, nil
		}
		return obj, nil
	})
	if errors.Is(err, errDry) {
		return result.DeepCopyObject(), nil
	}
	if err != nil {
		return nil, err
	}
	return stored.DeepCopyObject(), nil
}

func (a *api) bind(ns, pod, node string) error {
	_, err := a.store.Update(resPods, ns, pod, func(obj runtime.Object) error {
		p, ok := obj.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("bind pod %s/%s: stored as %T", ns, pod, obj)
		}
		if p.Spec.NodeName != "" {
			return apierrors.NewConflict(resPods.GroupResource(), pod, fmt.Errorf("pod %s is already assigned to node %q", pod, p.Spec.NodeName))
		}
		p.Spec.NodeName = node
		setPodCondition(p, corev1.PodScheduled, corev1.ConditionTrue, "", "")
		return nil
	})
	return err
}
