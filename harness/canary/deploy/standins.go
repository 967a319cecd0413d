package deploy

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/e2e-framework/klient/wait"
)

// StandIn is a workload in place of one of production's: canaries that nobody
// calls, as many as production has pods, under its budget.
type StandIn struct {
	Namespace, Name string
	Replicas        int
	Budget          *Budget // nil for none
	CPU, Memory     string  // requested by each pod; empty for nothing
}

// Each stand-in of a budget is one object's name in its namespace, so that an
// event names production's workload.
func (s StandIn) config(image string) Config {
	return Config{Namespace: s.Namespace, Name: s.Name, Image: image, Replicas: s.Replicas, Budget: s.Budget, BodyBytes: 1}
}

// ApplyStandIns creates the stand-ins, with their namespaces where they are
// missing, or brings those of an earlier call to what list says. It does not
// wait; see WaitStandIns.
func ApplyStandIns(ctx context.Context, client kubernetes.Interface, image string, list []StandIn) error {
	for _, s := range list {
		cfg := s.config(image)
		d, err := standInDeployment(s, cfg)
		if err != nil {
			return fmt.Errorf("deploy stand-in %s/%s: %w", s.Namespace, s.Name, err)
		}
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace, Labels: map[string]string{"app.kubernetes.io/part-of": "rehearse"}}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("deploy stand-in %s/%s: create its namespace: %w", s.Namespace, s.Name, err)
		}
		if err := applyBudget(ctx, client, cfg); err != nil {
			return fmt.Errorf("deploy stand-in %s/%s: poddisruptionbudget: %w", s.Namespace, s.Name, err)
		}
		if err := apply(ctx, client, d); err != nil {
			return fmt.Errorf("deploy stand-in %s/%s: deployment: %w", s.Namespace, s.Name, err)
		}
	}
	return nil
}

// standInDeployment is the canary's, without what its traffic needs: it may
// share a node with its like, as production's may, and ends at once.
func standInDeployment(s StandIn, cfg Config) (*appsv1.Deployment, error) {
	d := deployment(cfg)
	spec := &d.Spec.Template.Spec
	spec.TopologySpreadConstraints = nil
	requests := corev1.ResourceList{}
	for name, text := range map[corev1.ResourceName]string{corev1.ResourceCPU: s.CPU, corev1.ResourceMemory: s.Memory} {
		if text == "" {
			continue
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("requests.%s %q: %w", name, text, err)
		}
		requests[name] = q
	}
	c := &spec.Containers[0]
	c.Name, c.Resources = "stand-in", corev1.ResourceRequirements{Requests: requests}
	return d, nil
}

// WaitStandIns waits until every stand-in has all its replicas, and after the
// timeout says which has not.
func WaitStandIns(ctx context.Context, client kubernetes.Interface, list []StandIn, timeout time.Duration) error {
	last := "nothing was seen"
	err := wait.For(func(ctx context.Context) (bool, error) {
		for _, s := range list {
			d, err := client.AppsV1().Deployments(s.Namespace).Get(ctx, s.Name, metav1.GetOptions{})
			switch {
			case err != nil:
				last = err.Error()
				return false, nil
			case d.Status.ObservedGeneration < d.Generation || int(d.Status.AvailableReplicas) != s.Replicas:
				last = fmt.Sprintf("stand-in %s/%s has %d of %d replicas available", s.Namespace, s.Name, d.Status.AvailableReplicas, s.Replicas)
				return false, nil
			}
		}
		return true, nil
	}, wait.WithContext(ctx), wait.WithTimeout(timeout), wait.WithInterval(waitInterval), wait.WithImmediate())
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("wait for the stand-ins: %w", cause)
	}
	return fmt.Errorf("the stand-ins were not ready after %s: %s; a workload that does not fit belongs out of the scenario's workloads, or onto more workers", timeout, last)
}
