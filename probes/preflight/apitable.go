package preflight

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// apiTableMinor is the minor version of Kubernetes that k8s.io/api in this build
// is of: what newer ones removed is not known. A test holds it to go.mod.
const apiTableMinor = 37

// lifecycle says since when a version of an API is served no more, and what
// takes its place.
type lifecycle struct {
	removed     uint // minor version of Kubernetes 1
	replacement string
}

// apiTable returns every version of an API with an end that k8s.io/api states,
// by its generated methods APILifecycleRemoved and APILifecycleReplacement, and
// those that it no longer holds or never held
// (https://kubernetes.io/docs/reference/using-api/deprecation-guide/).
var apiTable = sync.OnceValue(func() map[schema.GroupVersionKind]lifecycle {
	out := map[schema.GroupVersionKind]lifecycle{
		{Group: "autoscaling", Version: "v2beta1", Kind: "HorizontalPodAutoscaler"}:           {25, "autoscaling/v2"},
		{Group: "autoscaling", Version: "v2beta2", Kind: "HorizontalPodAutoscaler"}:           {26, "autoscaling/v2"},
		{Group: "policy", Version: "v1beta1", Kind: "PodSecurityPolicy"}:                      {25, "Pod Security Admission"},
		{Group: "extensions", Version: "v1beta1", Kind: "PodSecurityPolicy"}:                  {16, "Pod Security Admission"},
		{Group: "apiextensions.k8s.io", Version: "v1beta1", Kind: "CustomResourceDefinition"}: {22, "apiextensions.k8s.io/v1"},
		{Group: "apiregistration.k8s.io", Version: "v1beta1", Kind: "APIService"}:             {22, "apiregistration.k8s.io/v1"},
	}
	for gvk := range scheme.Scheme.AllKnownTypes() {
		obj, err := scheme.Scheme.New(gvk)
		if err != nil {
			continue
		}
		removed, ok := obj.(interface{ APILifecycleRemoved() (major, minor int) })
		if !ok {
			continue
		}
		if major, minor := removed.APILifecycleRemoved(); major == 1 && minor > 0 {
			l := lifecycle{removed: uint(minor)}
			if r, ok := obj.(interface {
				APILifecycleReplacement() schema.GroupVersionKind
			}); ok {
				by := r.APILifecycleReplacement()
				l.replacement = by.GroupVersion().String()
			}
			out[gvk] = l
		}
	}
	return out
})

func (l lifecycle) remedy() string {
	if l.replacement == "" {
		return "Move to a version that the target serves"
	}
	return fmt.Sprintf("Move to %s", l.replacement)
}
