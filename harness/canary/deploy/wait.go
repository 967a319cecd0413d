package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utillabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/e2e-framework/klient/wait"
)

const waitInterval = 500 * time.Millisecond

// WaitReady waits until every replica of the current template is ready and is
// an endpoint of the Service. It returns the cause when ctx ends, and after
// the timeout an error that says what each pod was waiting for.
func WaitReady(ctx context.Context, client kubernetes.Interface, cfg Config, timeout time.Duration) error {
	cfg = cfg.withDefaults()
	last := "nothing was seen"
	err := wait.For(func(ctx context.Context) (bool, error) {
		problem, err := notReady(ctx, client, cfg)
		if err != nil {
			// The API server may be restarting; what counts is the last state.
			last = err.Error()
			return false, nil
		}
		last = problem
		return problem == "", nil
	}, wait.WithContext(ctx), wait.WithTimeout(timeout), wait.WithInterval(waitInterval), wait.WithImmediate())
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("wait for the canary %s/%s: %w", cfg.Namespace, cfg.Name, cause)
	}
	return fmt.Errorf("the canary %s/%s was not ready after %s: %s", cfg.Namespace, cfg.Name, timeout, last)
}

// notReady says what is missing, or nothing.
func notReady(ctx context.Context, client kubernetes.Interface, cfg Config) (string, error) {
	d, err := client.AppsV1().Deployments(cfg.Namespace).Get(ctx, cfg.Name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get deployment: %w", err)
	}
	want := int32(cfg.Replicas)
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.Replicas != want || s.AvailableReplicas != want {
		problems, err := podProblems(ctx, client, cfg)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d of %d replicas available%s", s.AvailableReplicas, want, problems), nil
	}
	slices, err := client.DiscoveryV1().EndpointSlices(cfg.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "kubernetes.io/service-name=" + cfg.Name,
	})
	if err != nil {
		return "", fmt.Errorf("list endpointslices: %w", err)
	}
	ready := 0
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready += len(e.Addresses)
			}
		}
	}
	if ready < cfg.Replicas {
		return fmt.Sprintf("%d of %d replicas are endpoints of the service", ready, want), nil
	}
	return "", nil
}

// podProblems says why each pod that is not ready is not.
func podProblems(ctx context.Context, client kubernetes.Interface, cfg Config) (string, error) {
	pods, err := client.CoreV1().Pods(cfg.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: utillabels.SelectorFromSet(selector(cfg)).String(),
	})
	if err != nil {
		return "", fmt.Errorf("list pods: %w", err)
	}
	var problems []string
	for _, p := range pods.Items {
		if problem := podProblem(&p); problem != "" {
			problems = append(problems, fmt.Sprintf("; pod %s: %s", p.Name, problem))
		}
	}
	slices.Sort(problems)
	return strings.Join(problems, ""), nil
}

func podProblem(p *corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
		if x := s.State.Terminated; x != nil {
			return fmt.Sprintf("ended with %d (%s)", x.ExitCode, x.Reason)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case corev1.PodScheduled, corev1.PodReady:
			return strings.TrimSuffix(c.Reason+": "+c.Message, ": ")
		}
	}
	return ""
}
