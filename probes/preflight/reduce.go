package preflight

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reduce replaces every object by one that holds only the fields which some
// check or the forecast reads. What may be kept is listed, rather than what must
// go, so that a field that is new in Kubernetes cannot leak into a snapshot.
func (o *observer) reduce() {
	s := o.s
	each(s.Nodes, reduceNode)
	each(s.Pods, reducePod)
	each(s.Deployments, func(d appsv1.Deployment) (out appsv1.Deployment) {
		out.ObjectMeta = reduceMeta(d.ObjectMeta)
		out.Spec.Replicas, out.Spec.Selector = d.Spec.Replicas, d.Spec.Selector
		return out
	})
	kept := s.ReplicaSets[:0]
	for _, r := range s.ReplicaSets {
		// The history of rollouts is of no interest, and there is much of it.
		if replicas(r.Spec.Replicas) > 0 || r.Status.Replicas > 0 {
			out := appsv1.ReplicaSet{ObjectMeta: reduceMeta(r.ObjectMeta)}
			out.Spec.Replicas, out.Spec.Selector = r.Spec.Replicas, r.Spec.Selector
			kept = append(kept, out)
		}
	}
	s.ReplicaSets = kept
	each(s.StatefulSets, func(d appsv1.StatefulSet) (out appsv1.StatefulSet) {
		out.ObjectMeta = reduceMeta(d.ObjectMeta)
		out.Spec.Replicas, out.Spec.Selector = d.Spec.Replicas, d.Spec.Selector
		return out
	})
	each(s.DaemonSets, func(d appsv1.DaemonSet) (out appsv1.DaemonSet) {
		out.ObjectMeta = reduceMeta(d.ObjectMeta)
		out.Spec.Selector = d.Spec.Selector
		out.Spec.Template.Spec.Containers = reduceContainers(d.Spec.Template.Spec.Containers)
		return out
	})
	each(s.Budgets, func(b policyv1.PodDisruptionBudget) policyv1.PodDisruptionBudget {
		return policyv1.PodDisruptionBudget{ObjectMeta: reduceMeta(b.ObjectMeta), Spec: b.Spec, Status: b.Status}
	})
	each(s.Slices, func(e discoveryv1.EndpointSlice) (out discoveryv1.EndpointSlice) {
		out.ObjectMeta = reduceMeta(e.ObjectMeta)
		for _, p := range e.Endpoints {
			out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{Addresses: p.Addresses, Conditions: p.Conditions, NodeName: p.NodeName})
		}
		return out
	})
	each(s.Validating, func(c admissionv1.ValidatingWebhookConfiguration) (out admissionv1.ValidatingWebhookConfiguration) {
		out.ObjectMeta = reduceMeta(c.ObjectMeta)
		for _, w := range c.Webhooks {
			out.Webhooks = append(out.Webhooks, admissionv1.ValidatingWebhook{Name: w.Name, ClientConfig: reduceClient(w.ClientConfig), Rules: w.Rules,
				FailurePolicy: w.FailurePolicy, NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector})
		}
		return out
	})
	each(s.Mutating, func(c admissionv1.MutatingWebhookConfiguration) (out admissionv1.MutatingWebhookConfiguration) {
		out.ObjectMeta = reduceMeta(c.ObjectMeta)
		for _, w := range c.Webhooks {
			out.Webhooks = append(out.Webhooks, admissionv1.MutatingWebhook{Name: w.Name, ClientConfig: reduceClient(w.ClientConfig), Rules: w.Rules,
				FailurePolicy: w.FailurePolicy, NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector})
		}
		return out
	})
	each(s.Policies, func(p admissionv1.ValidatingAdmissionPolicy) (out admissionv1.ValidatingAdmissionPolicy) {
		out.ObjectMeta = reduceMeta(p.ObjectMeta)
		out.Spec.FailurePolicy, out.Spec.MatchConstraints = p.Spec.FailurePolicy, p.Spec.MatchConstraints
		return out
	})
	each(s.Bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) (out admissionv1.ValidatingAdmissionPolicyBinding) {
		out.ObjectMeta = reduceMeta(b.ObjectMeta)
		out.Spec.PolicyName, out.Spec.ValidationActions = b.Spec.PolicyName, b.Spec.ValidationActions
		return out
	})
	each(s.Volumes, func(v corev1.PersistentVolume) (out corev1.PersistentVolume) {
		out.ObjectMeta = reduceMeta(v.ObjectMeta)
		out.Spec.NodeAffinity, out.Spec.StorageClassName = v.Spec.NodeAffinity, v.Spec.StorageClassName
		return out
	})
	each(s.Claims, func(c corev1.PersistentVolumeClaim) (out corev1.PersistentVolumeClaim) {
		out.ObjectMeta = reduceMeta(c.ObjectMeta)
		out.Spec.VolumeName = c.Spec.VolumeName
		return out
	})
}

func each[T any](list []T, f func(T) T) {
	for i := range list {
		list[i] = f(list[i])
	}
}

// reduceMeta keeps of the annotations only the mark of a static pod.
func reduceMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	out := metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, Generation: m.Generation, Labels: m.Labels,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp, OwnerReferences: m.OwnerReferences}
	if m.Annotations[corev1.MirrorPodAnnotationKey] != "" {
		out.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "yes"}
	}
	return out
}

func reduceNode(n corev1.Node) (out corev1.Node) {
	out.ObjectMeta = reduceMeta(n.ObjectMeta)
	out.Spec = corev1.NodeSpec{PodCIDR: n.Spec.PodCIDR, PodCIDRs: n.Spec.PodCIDRs, ProviderID: n.Spec.ProviderID, Unschedulable: n.Spec.Unschedulable, Taints: n.Spec.Taints}
	out.Status = corev1.NodeStatus{Allocatable: n.Status.Allocatable, Conditions: n.Status.Conditions, NodeInfo: n.Status.NodeInfo}
	return out
}

func reducePod(p corev1.Pod) (out corev1.Pod) {
	out.ObjectMeta = reduceMeta(p.ObjectMeta)
	out.Spec = corev1.PodSpec{
		NodeName: p.Spec.NodeName, NodeSelector: p.Spec.NodeSelector, Affinity: p.Spec.Affinity, Tolerations: p.Spec.Tolerations,
		TopologySpreadConstraints: p.Spec.TopologySpreadConstraints, PriorityClassName: p.Spec.PriorityClassName, Priority: p.Spec.Priority,
		HostNetwork: p.Spec.HostNetwork, Overhead: p.Spec.Overhead, TerminationGracePeriodSeconds: p.Spec.TerminationGracePeriodSeconds,
		Containers: reduceContainers(p.Spec.Containers), InitContainers: reduceContainers(p.Spec.InitContainers),
	}
	for _, v := range p.Spec.Volumes {
		kept := corev1.Volume{Name: v.Name}
		switch {
		case v.EmptyDir != nil:
			kept.EmptyDir = &corev1.EmptyDirVolumeSource{Medium: v.EmptyDir.Medium}
		case v.HostPath != nil:
			kept.HostPath = v.HostPath
		case v.PersistentVolumeClaim != nil:
			kept.PersistentVolumeClaim = v.PersistentVolumeClaim
		case v.Ephemeral != nil:
			kept.Ephemeral = &corev1.EphemeralVolumeSource{}
		default:
			continue
		}
		out.Spec.Volumes = append(out.Spec.Volumes, kept)
	}
	out.Status = corev1.PodStatus{Phase: p.Status.Phase, Reason: p.Status.Reason,
		ContainerStatuses: reduceStatuses(p.Status.ContainerStatuses), InitContainerStatuses: reduceStatuses(p.Status.InitContainerStatuses)}
	for _, c := range p.Status.Conditions {
		out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status, Reason: c.Reason, LastTransitionTime: c.LastTransitionTime})
	}
	return out
}

// reduceContainers drops environment, command and arguments: people write
// passwords there.
func reduceContainers(list []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range list {
		kept := corev1.Container{Name: c.Name, Image: c.Image, RestartPolicy: c.RestartPolicy}
		kept.Resources.Requests = c.Resources.Requests
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				kept.Ports = append(kept.Ports, corev1.ContainerPort{HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: p.Protocol, HostIP: p.HostIP})
			}
		}
		out = append(out, kept)
	}
	return out
}

// reduceStatuses drops messages: a container writes its own.
func reduceStatuses(list []corev1.ContainerStatus) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, c := range list {
		kept := corev1.ContainerStatus{Name: c.Name, Ready: c.Ready, RestartCount: c.RestartCount}
		switch {
		case c.State.Waiting != nil:
			kept.State.Waiting = &corev1.ContainerStateWaiting{Reason: c.State.Waiting.Reason}
		case c.State.Terminated != nil:
			kept.State.Terminated = &corev1.ContainerStateTerminated{Reason: c.State.Terminated.Reason, ExitCode: c.State.Terminated.ExitCode}
		case c.State.Running != nil:
			kept.State.Running = &corev1.ContainerStateRunning{StartedAt: c.State.Running.StartedAt}
		}
		out = append(out, kept)
	}
	return out
}

// reduceClient keeps where a webhook is, without certificates; of a URL only
// that there is one, as tokens are put there.
func reduceClient(c admissionv1.WebhookClientConfig) admissionv1.WebhookClientConfig {
	return admissionv1.WebhookClientConfig{Service: c.Service}
}
