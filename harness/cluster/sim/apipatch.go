package sim

import (
	"encoding/json"
	"fmt"
	"reflect"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

// patch applies a JSON, merge, strategic merge or apply patch. An apply patch
// is merged strategically, without field ownership; it creates what is missing.
func (a *api) patch(gvr schema.GroupVersionResource, ns string, action clienttesting.PatchActionImpl) (runtime.Object, error) {
	dryRun := len(action.PatchOptions.DryRun) > 0
	obj, err := a.replace(gvr, ns, action.Name, action.Subresource, dryRun, func(old runtime.Object) (runtime.Object, error) {
		return patched(old, action.PatchType, action.Patch)
	})
	if apierrors.IsNotFound(err) && action.PatchType == types.ApplyPatchType {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(action.Patch, &u.Object); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		u.SetName(action.Name)
		obj, err := typed(u)
		if err != nil {
			return nil, err
		}
		return a.create(gvr, ns, obj, dryRun)
	}
	return obj, err
}

func patched(old runtime.Object, kind types.PatchType, patch []byte) (runtime.Object, error) {
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	obj := reflect.New(reflect.TypeOf(old).Elem()).Interface().(runtime.Object)
	_, raw := old.(*unstructured.Unstructured)
	var after []byte
	switch {
	case kind == types.JSONPatchType:
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(patch); err == nil {
			after, err = p.Apply(before)
		}
	case kind == types.MergePatchType, raw:
		after, err = jsonpatch.MergePatch(before, patch)
	case kind == types.StrategicMergePatchType:
		after, err = strategicpatch.StrategicMergePatch(before, patch, obj)
	case kind == types.ApplyPatchType:
		var asJSON []byte
		if asJSON, err = yaml.YAMLToJSON(patch); err == nil {
			after, err = strategicpatch.StrategicMergePatch(before, asJSON, obj)
		}
	default:
		err = fmt.Errorf("unknown patch type %q", kind)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if err := json.Unmarshal(after, obj); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if !raw {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, nil
}

// scaleOf returns the scale subresource of a Deployment or ReplicaSet.
func scaleOf(obj runtime.Object) (runtime.Object, error) {
	var m metav1.ObjectMeta
	var want *int32
	var have int32
	switch o := obj.(type) {
	case *appsv1.Deployment:
		m, want, have = o.ObjectMeta, o.Spec.Replicas, o.Status.Replicas
	case *appsv1.ReplicaSet:
		m, want, have = o.ObjectMeta, o.Spec.Replicas, o.Status.Replicas
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T has no scale", obj))
	}
	s := &autoscalingv1.Scale{Status: autoscalingv1.ScaleStatus{Replicas: have}}
	s.Name, s.Namespace, s.UID, s.ResourceVersion, s.CreationTimestamp = m.Name, m.Namespace, m.UID, m.ResourceVersion, m.CreationTimestamp
	if want != nil {
		s.Spec.Replicas = *want
	}
	return s, nil
}

func (a *api) updateScale(gvr schema.GroupVersionResource, ns string, s *autoscalingv1.Scale) (runtime.Object, error) {
	obj, err := a.replace(gvr, ns, s.Name, "", false, func(old runtime.Object) (runtime.Object, error) {
		obj := old.DeepCopyObject()
		n := s.Spec.Replicas
		switch o := obj.(type) {
		case *appsv1.Deployment:
			o.Spec.Replicas = &n
		case *appsv1.ReplicaSet:
			o.Spec.Replicas = &n
		default:
			return nil, apierrors.NewBadRequest(fmt.Sprintf("%T has no scale", obj))
		}
		return obj, nil
	})
	if err != nil {
		return nil, err
	}
	return scaleOf(obj)
}
