package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// sliceDelay is how long the EndpointSlice controller takes to act on a pod's
// change.
const sliceDelay = 300 * time.Millisecond

// syncEndpointSlices is the EndpointSlice controller: one slice a Service. A pod
// that is being deleted is at once not ready, however well it still serves.
func (c *simulation) syncEndpointSlices(context.Context) error {
	services := map[string]bool{}
	for _, s := range list[*corev1.Service](c.store, resServices, "") {
		if len(s.Spec.Selector) == 0 {
			continue
		}
		services[s.Namespace+"/"+s.Name] = true
		if err := c.syncEndpointSlice(s); err != nil {
			return fmt.Errorf("endpoints of service %s/%s: %w", s.Namespace, s.Name, err)
		}
	}
	for _, es := range list[*discoveryv1.EndpointSlice](c.store, resEndpointSlices, "") {
		if es.Labels[discoveryv1.LabelManagedBy] == sliceManager && !services[es.Namespace+"/"+es.Labels[discoveryv1.LabelServiceName]] {
			if _, err := c.store.Delete(resEndpointSlices, es.Namespace, es.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

const sliceManager = "endpointslice-controller.k8s.io"

func (c *simulation) syncEndpointSlice(s *corev1.Service) error {
	sel := labels.SelectorFromSet(s.Spec.Selector)
	var endpoints []discoveryv1.Endpoint
	var sample *corev1.Pod
	for _, p := range list[*corev1.Pod](c.store, resPods, s.Namespace) {
		if !sel.Matches(labels.Set(p.Labels)) || p.Status.PodIP == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		sample = p
		serving, terminating := isReady(p), p.DeletionTimestamp != nil
		ready := serving && !terminating || s.Spec.PublishNotReadyAddresses
		node := p.Spec.NodeName
		endpoints = append(endpoints, discoveryv1.Endpoint{
			Addresses: []string{p.Status.PodIP}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		})
	}
	var ports []discoveryv1.EndpointPort
	for _, p := range s.Spec.Ports {
		n, ok := targetPort(p, sample)
		if !ok {
			continue
		}
		name, proto := p.Name, p.Protocol
		ports = append(ports, discoveryv1.EndpointPort{Name: &name, Port: &n, Protocol: &proto})
	}
	var existing *discoveryv1.EndpointSlice
	for _, es := range list[*discoveryv1.EndpointSlice](c.store, resEndpointSlices, s.Namespace) {
		if es.Labels[discoveryv1.LabelServiceName] == s.Name && es.Labels[discoveryv1.LabelManagedBy] == sliceManager {
			existing = es
		}
	}
	if existing == nil {
		yes := true
		es := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints, Ports: ports}
		es.Namespace, es.GenerateName = s.Namespace, s.Name+"-"
		es.Labels = map[string]string{discoveryv1.LabelServiceName: s.Name, discoveryv1.LabelManagedBy: sliceManager}
		es.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: s.Name, UID: s.UID, Controller: &yes, BlockOwnerDeletion: &yes}}
		_, err := c.store.Create(resEndpointSlices, es)
		return err
	}
	if c.opt.Faults.frozenSlice(existing) {
		return nil
	}
	if apiequality.Semantic.DeepEqual(existing.Endpoints, endpoints) && apiequality.Semantic.DeepEqual(existing.Ports, ports) {
		return nil
	}
	return update(c.store, resEndpointSlices, existing.Namespace, existing.Name, func(es *discoveryv1.EndpointSlice) {
		es.Endpoints, es.Ports = endpoints, ports
		es.Generation++
	})
}

// targetPort resolves a Service port's target, which may be the name of a
// container's port.
func targetPort(p corev1.ServicePort, pod *corev1.Pod) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		return p.TargetPort.IntVal, true
	}
	if pod == nil {
		return 0, false
	}
	for _, c := range pod.Spec.Containers {
		if i := slices.IndexFunc(c.Ports, func(cp corev1.ContainerPort) bool { return cp.Name == p.TargetPort.StrVal }); i >= 0 {
			return c.Ports[i].ContainerPort, true
		}
	}
	return 0, false
}
