package sim

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// admit does to a new object what the API server does before it stores it:
// namespace check, defaults, the admission plug-ins that matter here (priority,
// default tolerations), allocation of Service addresses, and the validation
// without which a mistake in a manifest would pass here and fail there.
func (a *api) admit(gvr schema.GroupVersionResource, obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if ns := m.GetNamespace(); ns != "" {
		n, ok := get[*corev1.Namespace](a.store, resNamespaces, "", ns)
		if !ok {
			return apierrors.NewNotFound(resNamespaces.GroupResource(), ns)
		}
		if n.Status.Phase == corev1.NamespaceTerminating {
			e := apierrors.NewForbidden(gvr.GroupResource(), m.GetName(), fmt.Errorf("unable to create new content in namespace %s because it is being terminated", ns))
			e.ErrStatus.Details.Causes = append(e.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause, Message: "namespace " + ns + " is being terminated", Field: "metadata.namespace"})
			return e
		}
	}
	setDefaults(obj)
	switch o := obj.(type) {
	case *corev1.Pod:
		o.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: qos(o)}
		if err := a.setPriority(o); err != nil {
			return err
		}
		defaultTolerations(o)
		return validatePod(gvr, o)
	case *corev1.Namespace:
		o.Status.Phase = corev1.NamespaceActive
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		o.Labels[corev1.LabelMetadataName] = o.Name
	case *corev1.Service:
		return a.allocate(o)
	case *appsv1.Deployment:
		return validateSelector("Deployment", o.Name, o.Spec.Selector, o.Spec.Template.Labels)
	case *appsv1.ReplicaSet:
		return validateSelector("ReplicaSet", o.Name, o.Spec.Selector, o.Spec.Template.Labels)
	case *appsv1.DaemonSet:
		return validateSelector("DaemonSet", o.Name, o.Spec.Selector, o.Spec.Template.Labels)
	case *policyv1.PodDisruptionBudget:
		if o.Spec.MinAvailable != nil && o.Spec.MaxUnavailable != nil {
			return apierrors.NewInvalid(policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget").GroupKind(), o.Name, field.ErrorList{
				field.Invalid(field.NewPath("spec"), "", "minAvailable and maxUnavailable cannot be both set")})
		}
	}
	return nil
}

func validatePod(gvr schema.GroupVersionResource, p *corev1.Pod) error {
	var errs field.ErrorList
	if len(p.Spec.Containers) == 0 {
		errs = append(errs, field.Required(field.NewPath("spec", "containers"), ""))
	}
	for i, c := range p.Spec.Containers {
		at := field.NewPath("spec", "containers").Index(i)
		if c.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		if c.Image == "" {
			errs = append(errs, field.Required(at.Child("image"), ""))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(gvr.GroupVersion().WithKind("Pod").GroupKind(), p.Name, errs)
}

func validateSelector(kind, name string, s *metav1.LabelSelector, l map[string]string) error {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err == nil && !sel.Empty() && sel.Matches(labels.Set(l)) {
		return nil
	}
	return apierrors.NewInvalid(appsv1.SchemeGroupVersion.WithKind(kind).GroupKind(), name, field.ErrorList{
		field.Invalid(field.NewPath("spec", "template", "metadata", "labels"), l, "`selector` does not match template `labels`")})
}

// setPriority is the Priority admission plug-in.
func (a *api) setPriority(p *corev1.Pod) error {
	if p.Spec.PriorityClassName == "" {
		zero := int32(0)
		p.Spec.Priority = &zero
		return nil
	}
	pc, ok := get[*schedulingv1.PriorityClass](a.store, resPriorityClasses, "", p.Spec.PriorityClassName)
	if !ok {
		return apierrors.NewForbidden(resPods.GroupResource(), p.Name, fmt.Errorf("no PriorityClass with name %s was found", p.Spec.PriorityClassName))
	}
	v := pc.Value
	p.Spec.Priority = &v
	return nil
}

// defaultTolerations is the DefaultTolerationSeconds admission plug-in.
func defaultTolerations(p *corev1.Pod) {
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if !tolerates(p.Spec.Tolerations, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute}) {
			seconds := int64(300)
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{
				Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds})
		}
	}
}

// allocate gives a Service its cluster address and node ports.
func (a *api) allocate(s *corev1.Service) error {
	usedIP, usedPort := map[string]bool{}, map[int32]bool{}
	for _, o := range list[*corev1.Service](a.store, resServices, "") {
		usedIP[o.Spec.ClusterIP] = true
		for _, p := range o.Spec.Ports {
			usedPort[p.NodePort] = true
		}
	}
	if s.Spec.ClusterIP == "" && s.Spec.Type != corev1.ServiceTypeExternalName {
		for {
			ip := fmt.Sprintf("10.96.%d.%d", a.dice.pick(256), 20+a.dice.pick(230))
			if !usedIP[ip] {
				s.Spec.ClusterIP = ip
				break
			}
		}
	}
	if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0 {
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
	if s.Spec.Type != corev1.ServiceTypeNodePort && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		at := field.NewPath("spec", "ports").Index(i).Child("nodePort")
		switch {
		case p.NodePort == 0:
			for p.NodePort == 0 || usedPort[p.NodePort] {
				p.NodePort = int32(30000 + a.dice.pick(2768))
			}
		case usedPort[p.NodePort]:
			return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, field.ErrorList{
				field.Invalid(at, p.NodePort, "provided port is already allocated")})
		case p.NodePort < 30000 || p.NodePort > 32767:
			return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, field.ErrorList{
				field.Invalid(at, p.NodePort, "provided port is not in the valid range. The range of valid ports is 30000-32767")})
		}
		usedPort[p.NodePort] = true
	}
	return nil
}

// setDefaults fills what the API server fills in, where something reads it.
func setDefaults(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		defaultPodSpec(&o.Spec)
	case *appsv1.Deployment:
		defaultTo(&o.Spec.Replicas, 1)
		defaultTo(&o.Spec.RevisionHistoryLimit, 10)
		defaultTo(&o.Spec.ProgressDeadlineSeconds, 600)
		if o.Spec.Strategy.Type == "" {
			o.Spec.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
		}
		if o.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
			if o.Spec.Strategy.RollingUpdate == nil {
				o.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{}
			}
			defaultTo(&o.Spec.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
			defaultTo(&o.Spec.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		}
		defaultPodSpec(&o.Spec.Template.Spec)
	case *appsv1.ReplicaSet:
		defaultTo(&o.Spec.Replicas, 1)
		defaultPodSpec(&o.Spec.Template.Spec)
	case *appsv1.DaemonSet:
		if o.Spec.UpdateStrategy.Type == "" {
			o.Spec.UpdateStrategy.Type = appsv1.RollingUpdateDaemonSetStrategyType
		}
		defaultPodSpec(&o.Spec.Template.Spec)
	case *corev1.Service:
		if o.Spec.Type == "" {
			o.Spec.Type = corev1.ServiceTypeClusterIP
		}
		if o.Spec.SessionAffinity == "" {
			o.Spec.SessionAffinity = corev1.ServiceAffinityNone
		}
		if o.Spec.ExternalTrafficPolicy == "" && (o.Spec.Type == corev1.ServiceTypeNodePort || o.Spec.Type == corev1.ServiceTypeLoadBalancer) {
			o.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
		}
		for i := range o.Spec.Ports {
			p := &o.Spec.Ports[i]
			if p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
			if p.TargetPort.IntValue() == 0 && p.TargetPort.StrVal == "" {
				p.TargetPort = intstr.FromInt32(p.Port)
			}
		}
	}
}

func defaultTo[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

func defaultPodSpec(s *corev1.PodSpec) {
	defaultTo(&s.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	defaultTo(&s.EnableServiceLinks, true)
	defaultTo(&s.SecurityContext, corev1.PodSecurityContext{})
	if s.RestartPolicy == "" {
		s.RestartPolicy = corev1.RestartPolicyAlways
	}
	if s.DNSPolicy == "" {
		s.DNSPolicy = corev1.DNSClusterFirst
	}
	if s.SchedulerName == "" {
		s.SchedulerName = corev1.DefaultSchedulerName
	}
	if s.ServiceAccountName == "" {
		s.ServiceAccountName = "default"
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.ImagePullPolicy == "" {
			c.ImagePullPolicy = corev1.PullIfNotPresent
		}
		if c.TerminationMessagePath == "" {
			c.TerminationMessagePath = corev1.TerminationMessagePathDefault
		}
		if c.TerminationMessagePolicy == "" {
			c.TerminationMessagePolicy = corev1.TerminationMessageReadFile
		}
		for j := range c.Ports {
			if c.Ports[j].Protocol == "" {
				c.Ports[j].Protocol = corev1.ProtocolTCP
			}
		}
		for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if p == nil {
				continue
			}
			p.PeriodSeconds = or(p.PeriodSeconds, 10)
			p.TimeoutSeconds = or(p.TimeoutSeconds, 1)
			p.SuccessThreshold = or(p.SuccessThreshold, 1)
			p.FailureThreshold = or(p.FailureThreshold, 3)
			if p.HTTPGet != nil {
				if p.HTTPGet.Scheme == "" {
					p.HTTPGet.Scheme = corev1.URISchemeHTTP
				}
				if p.HTTPGet.Path == "" {
					p.HTTPGet.Path = "/"
				}
			}
		}
	}
}

func or(v, otherwise int32) int32 {
	if v == 0 {
		return otherwise
	}
	return v
}

func qos(p *corev1.Pod) corev1.PodQOSClass {
	best, guaranteed := true, true
	for _, c := range p.Spec.Containers {
		if len(c.Resources.Requests) > 0 || len(c.Resources.Limits) > 0 {
			best = false
		}
		for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, ok := c.Resources.Limits[r]
			if request, has := c.Resources.Requests[r]; !ok || has && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case best:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
