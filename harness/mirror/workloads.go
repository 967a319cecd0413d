package mirror

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// surroundings are what a cluster outside production's cloud has not.
func (r *reader) surroundings() {
	if r.servicesErr != nil {
		r.unknown(FactLoadBalancers, "list the Services: %s", why(r.servicesErr))
	} else {
		n := 0
		for _, s := range r.services {
			if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
				n++
			}
		}
		r.observed(FactLoadBalancers, fmt.Sprint(n), "Services of the type LoadBalancer")
	}
	names := make([]string, 0, len(r.drivers))
	for _, d := range r.drivers {
		names = append(names, d.Name)
	}
	r.names(FactStorage, names, r.driversErr, "CSIDrivers")
	names = nil
	for _, w := range r.validating {
		names = append(names, w.Name)
	}
	for _, w := range r.mutating {
		names = append(names, w.Name)
	}
	r.names(FactWebhooks, names, cmp.Or(r.validatingErr, r.mutatingErr), "webhook configurations")
}

// None is the value of a list that was read and is empty.
const None = "none"

func (r *reader) names(fact string, names []string, err error, what string) {
	if err != nil {
		r.unknown(fact, "list the %s: %s", what, why(err))
		return
	}
	if len(names) == 0 {
		names = []string{None}
	}
	slices.Sort(names)
	r.observed(fact, strings.Join(slices.Compact(names), ", "), "the cluster's %s", what)
}

// workloads finds what a budget guards outside the system's namespaces.
func (r *reader) workloads() {
	for _, e := range []struct {
		what string
		err  error
	}{{"Deployments", r.deploymentsErr}, {"StatefulSets", r.statefulSetsErr}} {
		if e.err != nil {
			r.unknown(FactWorkloads, "list the %s: %s", e.what, why(e.err))
			break
		}
	}
	if r.budgetsErr != nil {
		r.unknown(FactBudgets, "list the PodDisruptionBudgets: %s", why(r.budgetsErr))
	} else {
		r.observed(FactBudgets, fmt.Sprint(len(r.budgets)), "PodDisruptionBudgets of all namespaces")
	}
	var list []Workload
	total := 0
	consider := func(kind string, m metav1.ObjectMeta, replicas *int32, t corev1.PodTemplateSpec) {
		n := 1
		if replicas != nil {
			n = int(*replicas)
		}
		if n == 0 || slices.Contains(systemNamespaces, m.Namespace) {
			return
		}
		total++
		if w, ok := r.guarded(kind, m, n, t); ok {
			list = append(list, w)
		}
	}
	for i := range r.deployments {
		d := &r.deployments[i]
		consider("Deployment", d.ObjectMeta, d.Spec.Replicas, d.Spec.Template)
	}
	for i := range r.statefulSets {
		s := &r.statefulSets[i]
		consider("StatefulSet", s.ObjectMeta, s.Spec.Replicas, s.Spec.Template)
	}
	slices.SortFunc(list, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(b.Replicas, a.Replicas), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	if list != nil {
		r.facts.Workloads = list
	}
	if r.deploymentsErr == nil && r.statefulSetsErr == nil {
		r.observed(FactWorkloads, fmt.Sprintf("%d, of them %d under a budget", total, len(list)), "Deployments and StatefulSets with replicas outside %s", strings.Join(systemNamespaces, ", "))
	}
}

// guarded returns the workload where a budget selects its pods.
func (r *reader) guarded(kind string, m metav1.ObjectMeta, replicas int, t corev1.PodTemplateSpec) (Workload, bool) {
	w := Workload{Namespace: m.Namespace, Name: m.Name, Kind: kind, Replicas: replicas}
	var budgets []*policyv1.PodDisruptionBudget
	for i := range r.budgets {
		b := &r.budgets[i]
		if b.Namespace != m.Namespace {
			continue
		}
		s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && s.Matches(labels.Set(t.Labels)) {
			budgets = append(budgets, b)
		}
	}
	if len(budgets) == 0 {
		return w, false
	}
	b := budgets[0]
	w.Evidence = fmt.Sprintf("%s %s/%s, PodDisruptionBudget %s", kind, m.Namespace, m.Name, b.Name)
	w.MaxUnavailable, w.MinAvailable = pods(b.Spec.MaxUnavailable, replicas), pods(b.Spec.MinAvailable, replicas)
	for _, s := range []*intstr.IntOrString{b.Spec.MaxUnavailable, b.Spec.MinAvailable} {
		if s != nil && s.Type == intstr.String {
			w.Evidence += fmt.Sprintf("; %s of %s were turned into pods", s, count(replicas, "replica"))
		}
	}
	if w.MaxUnavailable == nil && w.MinAvailable == nil {
		w.MinAvailable = new(1) // the API's default
	}
	if len(budgets) > 1 {
		w.Evidence += "; other budgets select the same pods, which no eviction survives: the stand-in has one"
	}
	if kind == "StatefulSet" {
		w.Evidence += "; the stand-in is a Deployment without volumes"
	}
	w.CPU, w.Memory = requests(t.Spec)
	return w, true
}

// pods turns a budget's number or share into pods, rounding up as the disruption
// controller does.
func pods(v *intstr.IntOrString, replicas int) *int {
	if v == nil {
		return nil
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, replicas, true)
	if err != nil {
		return nil
	}
	return &n
}

func requests(spec corev1.PodSpec) (cpu, memory string) {
	sum := map[corev1.ResourceName]*resource.Quantity{corev1.ResourceCPU: {}, corev1.ResourceMemory: {}}
	for _, c := range spec.Containers {
		for name, q := range sum {
			q.Add(c.Resources.Requests[name])
		}
	}
	text := func(q *resource.Quantity) string {
		if q.IsZero() {
			return ""
		}
		return q.String()
	}
	return text(sum[corev1.ResourceCPU]), text(sum[corev1.ResourceMemory])
}
