package mirror

import (
	"context"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// listings are what facts are made of beside nodes, each with the error for
// which it may be missing.
type listings struct {
	daemonSetsErr, deploymentsErr, statefulSetsErr, systemPodsErr, servicesErr error

	budgets       []policyv1.PodDisruptionBudget
	budgetsErr    error
	roles         []rbacv1.ClusterRole
	rolesErr      error
	drivers       []storagev1.CSIDriver
	driversErr    error
	validating    []admissionv1.ValidatingWebhookConfiguration
	validatingErr error
	mutating      []admissionv1.MutatingWebhookConfiguration
	mutatingErr   error
}

// list reads everything that is listed, each on its own: one that is forbidden
// takes nothing from the others.
func (r *reader) list(ctx context.Context) {
	c := r.o.Client
	r.daemonSets, r.daemonSetsErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*appsv1.DaemonSetList, error) {
		return c.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, o)
	}, func(l *appsv1.DaemonSetList) []appsv1.DaemonSet { return l.Items })
	r.deployments, r.deploymentsErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*appsv1.DeploymentList, error) {
		return c.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, o)
	}, func(l *appsv1.DeploymentList) []appsv1.Deployment { return l.Items })
	r.statefulSets, r.statefulSetsErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*appsv1.StatefulSetList, error) {
		return c.AppsV1().StatefulSets(metav1.NamespaceAll).List(ctx, o)
	}, func(l *appsv1.StatefulSetList) []appsv1.StatefulSet { return l.Items })
	r.systemPods, r.systemPodsErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
		return c.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, o)
	}, func(l *corev1.PodList) []corev1.Pod { return l.Items })
	r.services, r.servicesErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*corev1.ServiceList, error) {
		return c.CoreV1().Services(metav1.NamespaceAll).List(ctx, o)
	}, func(l *corev1.ServiceList) []corev1.Service { return l.Items })
	r.budgets, r.budgetsErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*policyv1.PodDisruptionBudgetList, error) {
		return c.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(ctx, o)
	}, func(l *policyv1.PodDisruptionBudgetList) []policyv1.PodDisruptionBudget { return l.Items })
	r.roles, r.rolesErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*rbacv1.ClusterRoleList, error) {
		return c.RbacV1().ClusterRoles().List(ctx, o)
	}, func(l *rbacv1.ClusterRoleList) []rbacv1.ClusterRole { return l.Items })
	r.drivers, r.driversErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*storagev1.CSIDriverList, error) {
		return c.StorageV1().CSIDrivers().List(ctx, o)
	}, func(l *storagev1.CSIDriverList) []storagev1.CSIDriver { return l.Items })
	r.validating, r.validatingErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*admissionv1.ValidatingWebhookConfigurationList, error) {
		return c.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, o)
	}, func(l *admissionv1.ValidatingWebhookConfigurationList) []admissionv1.ValidatingWebhookConfiguration {
		return l.Items
	})
	r.mutating, r.mutatingErr = all(ctx, func(ctx context.Context, o metav1.ListOptions) (*admissionv1.MutatingWebhookConfigurationList, error) {
		return c.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, o)
	}, func(l *admissionv1.MutatingWebhookConfigurationList) []admissionv1.MutatingWebhookConfiguration {
		return l.Items
	})
}
