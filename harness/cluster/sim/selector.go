package sim

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// selects returns what tells whether an object matches the label and field
// selectors of a list or watch.
func selects(opts metav1.ListOptions) (func(runtime.Object) bool, error) {
	byLabel, err := labels.Parse(opts.LabelSelector)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("unable to parse label selector %q: %v", opts.LabelSelector, err))
	}
	byField, err := fields.ParseSelector(opts.FieldSelector)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("unable to parse field selector %q: %v", opts.FieldSelector, err))
	}
	for _, r := range byField.Requirements() {
		if !fieldNames[r.Field] {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", r.Field))
		}
	}
	return func(obj runtime.Object) bool {
		m, err := meta.Accessor(obj)
		if err != nil {
			return false
		}
		return byLabel.Matches(labels.Set(m.GetLabels())) && (byField.Empty() || byField.Matches(fieldsOf(obj, m)))
	}, nil
}

// fieldNames are the field labels that the real API supports for the kinds
// that the simulation serves.
var fieldNames = map[string]bool{
	"metadata.name": true, "metadata.namespace": true,
	"spec.nodeName": true, "spec.restartPolicy": true, "spec.schedulerName": true, "spec.serviceAccountName": true,
	"spec.hostNetwork": true, "spec.unschedulable": true, "spec.type": true, "spec.clusterIP": true,
	"status.phase": true, "status.podIP": true, "status.replicas": true,
	"involvedObject.kind": true, "involvedObject.namespace": true, "involvedObject.name": true, "involvedObject.uid": true,
	"reason": true, "type": true, "reportingComponent": true, "source": true,
}

func fieldsOf(obj runtime.Object, m metav1.Object) fields.Set {
	set := fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()}
	switch o := obj.(type) {
	case *corev1.Pod:
		set["spec.nodeName"] = o.Spec.NodeName
		set["spec.restartPolicy"] = string(o.Spec.RestartPolicy)
		set["spec.schedulerName"] = o.Spec.SchedulerName
		set["spec.serviceAccountName"] = o.Spec.ServiceAccountName
		set["spec.hostNetwork"] = strconv.FormatBool(o.Spec.HostNetwork)
		set["status.phase"] = string(o.Status.Phase)
		set["status.podIP"] = o.Status.PodIP
	case *corev1.Node:
		set["spec.unschedulable"] = strconv.FormatBool(o.Spec.Unschedulable)
	case *corev1.Namespace:
		set["status.phase"] = string(o.Status.Phase)
	case *corev1.Service:
		set["spec.type"] = string(o.Spec.Type)
		set["spec.clusterIP"] = o.Spec.ClusterIP
	case *corev1.Event:
		set["involvedObject.kind"] = o.InvolvedObject.Kind
		set["involvedObject.namespace"] = o.InvolvedObject.Namespace
		set["involvedObject.name"] = o.InvolvedObject.Name
		set["involvedObject.uid"] = string(o.InvolvedObject.UID)
		set["reason"] = o.Reason
		set["type"] = o.Type
		set["reportingComponent"] = o.ReportingController
		set["source"] = o.Source.Component
	}
	return set
}
