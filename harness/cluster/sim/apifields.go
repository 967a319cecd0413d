package sim

import (
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// fieldOf returns a top-level field of an object, Spec or Status, or nil.
func fieldOf(obj runtime.Object, name string) any {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u.Object[rawName[name]]
	}
	f := reflect.ValueOf(obj).Elem().FieldByName(name)
	if !f.IsValid() {
		return nil
	}
	return f.Interface()
}

var rawName = map[string]string{"Spec": "spec", "Status": "status"}

func copyField(to, from runtime.Object, name string) {
	if u, ok := to.(*unstructured.Unstructured); ok {
		f, ok := from.(*unstructured.Unstructured)
		if ok {
			u.Object[rawName[name]] = f.Object[rawName[name]]
		}
		return
	}
	t, f := reflect.ValueOf(to).Elem().FieldByName(name), reflect.ValueOf(from).Elem().FieldByName(name)
	if t.IsValid() && f.IsValid() && t.Type() == f.Type() {
		t.Set(f)
	}
}

// typed returns the Go type of an unstructured object that the scheme knows;
// others pass as they are.
func typed(obj runtime.Object) (runtime.Object, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	t, err := scheme.Scheme.New(u.GroupVersionKind())
	if err != nil {
		return u, nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, t); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	t.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return t, nil
}

// toRaw returns an object, or a list, as the dynamic client expects it.
func toRaw(obj runtime.Object) (runtime.Object, error) {
	switch u := obj.(type) {
	case *unstructured.Unstructured:
		return u.DeepCopy(), nil
	case *unstructured.UnstructuredList:
		return u, nil
	}
	gvks, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		return nil, err
	}
	if meta.IsListType(obj) {
		items, err := meta.ExtractList(obj)
		if err != nil {
			return nil, err
		}
		out := &unstructured.UnstructuredList{}
		out.SetGroupVersionKind(gvks[0])
		if m, err := meta.ListAccessor(obj); err == nil {
			out.SetResourceVersion(m.GetResourceVersion())
		}
		for _, item := range items {
			u, err := toRaw(item)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, *u.(*unstructured.Unstructured))
		}
		return out, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvks[0])
	return u, nil
}
