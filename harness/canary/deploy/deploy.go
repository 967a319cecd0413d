// Package deploy puts the canary into a cluster and waits until it serves.
//
// The Service is a NodePort with externalTrafficPolicy Cluster: every node
// takes connections and hands them to any ready pod, so that a balancer which
// checks nodes, as a cloud's does, never has to learn in time that a pod has
// left one of them. Under the policy Local a node whose last pod was told to
// stop drops connections from the moment the pod's endpoint is gone until the
// balancer has failed its checks. docs/decisions/0020-canary-traffic-policy.md
// has the whole argument.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Defaults of Config.
const (
	DefaultNamespace = "rehearse"
	DefaultName      = "canary"
	DefaultNodePort  = 30080
)

// Config is the canary as it is deployed.
type Config struct {
	Namespace string // DefaultNamespace when empty; created when missing
	Name      string // of every object; DefaultName when empty
	Image     string // must be on every node, or pullable
	Replicas  int
	// Budget is nil where the canary shall have no PodDisruptionBudget.
	Budget *Budget
	// NodePort is DefaultNodePort when 0.
	NodePort int32

	BodyBytes     int
	Latency       time.Duration
	ShutdownDelay time.Duration
	GracePeriod   time.Duration
}

// Budget is a PodDisruptionBudget: exactly one of the two is set.
type Budget struct {
	MaxUnavailable *int
	MinAvailable   *int
}

func (c Config) withDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.Name == "" {
		c.Name = DefaultName
	}
	if c.NodePort == 0 {
		c.NodePort = DefaultNodePort
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Image == "" {
		errs = append(errs, errors.New("no image given"))
	}
	if c.Replicas < 1 {
		errs = append(errs, fmt.Errorf("%d replicas: want at least 1", c.Replicas))
	}
	if b := c.Budget; b != nil && (b.MaxUnavailable == nil) == (b.MinAvailable == nil) {
		errs = append(errs, errors.New("budget: want exactly one of maxUnavailable and minAvailable"))
	}
	return errors.Join(errs...)
}

// Deploy creates the canary's namespace, Service, Deployment and budget, or
// brings those of an earlier call to cfg. It does not wait; see WaitReady.
func Deploy(ctx context.Context, client kubernetes.Interface, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("deploy the canary: %w", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: cfg.Namespace, Labels: labels(cfg)}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("deploy the canary: create namespace %s: %w", cfg.Namespace, err)
	}
	steps := []struct {
		kind  string
		apply func() error
	}{
		{"service", func() error { return applyService(ctx, client, cfg) }},
		{"poddisruptionbudget", func() error { return applyBudget(ctx, client, cfg) }},
		{"deployment", func() error { return applyDeployment(ctx, client, cfg) }},
	}
	for _, s := range steps {
		if err := s.apply(); err != nil {
			return fmt.Errorf("deploy the canary: %s %s/%s: %w", s.kind, cfg.Namespace, cfg.Name, err)
		}
	}
	return nil
}

func applyService(ctx context.Context, client kubernetes.Interface, cfg Config) error {
	services := client.CoreV1().Services(cfg.Namespace)
	want := service(cfg)
	// To create it once more would not be answered with AlreadyExists: its node
	// port is taken, by itself.
	got, err := services.Get(ctx, cfg.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = services.Create(ctx, want, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	// The addresses were chosen by the API server and cannot be given up.
	want.ResourceVersion = got.ResourceVersion
	want.Spec.ClusterIP, want.Spec.ClusterIPs = got.Spec.ClusterIP, got.Spec.ClusterIPs
	_, err = services.Update(ctx, want, metav1.UpdateOptions{})
	return err
}

func applyBudget(ctx context.Context, client kubernetes.Interface, cfg Config) error {
	budgets := client.PolicyV1().PodDisruptionBudgets(cfg.Namespace)
	if cfg.Budget == nil {
		if err := budgets.Delete(ctx, cfg.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	}
	want := budget(cfg)
	_, err := budgets.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	var got *policyv1.PodDisruptionBudget
	if got, err = budgets.Get(ctx, cfg.Name, metav1.GetOptions{}); err != nil {
		return err
	}
	want.ResourceVersion = got.ResourceVersion
	_, err = budgets.Update(ctx, want, metav1.UpdateOptions{})
	return err
}

func applyDeployment(ctx context.Context, client kubernetes.Interface, cfg Config) error {
	return apply(ctx, client, deployment(cfg))
}

func apply(ctx context.Context, client kubernetes.Interface, want *appsv1.Deployment) error {
	deployments := client.AppsV1().Deployments(want.Namespace)
	_, err := deployments.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	got, err := deployments.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want.ResourceVersion = got.ResourceVersion
	_, err = deployments.Update(ctx, want, metav1.UpdateOptions{})
	return err
}
