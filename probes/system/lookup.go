package system

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// LookupName is a name that every cluster with the usual domain must resolve.
const LookupName = "kubernetes.default.svc.cluster.local"

// How long a lookup takes at most: the pod may have to be scheduled and
// started, and the resolver repeats a question that got lost after 5 s.
const (
	lookupTimeout = 15 * time.Second
	podTimeout    = 90 * time.Second
	podPoll       = 500 * time.Millisecond
	deleteTimeout = 10 * time.Second
)

// LookupByPod returns a function that resolves LookupName from inside the
// cluster: a pod of the canary's image runs its lookup command in namespace,
// which is created if missing, and is deleted afterwards. A lookup that fails is
// a result; a pod that does not come to make it is an error that says why.
func LookupByPod(client kubernetes.Interface, namespace, image string) func(context.Context) (record.Named, error) {
	return func(ctx context.Context) (record.Named, error) {
		out := record.Named{Name: LookupName}
		pod := lookupPod(namespace, "dns-lookup-"+rand.String(5), image)
		if err := create(ctx, client, pod); err != nil {
			return out, err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
			defer cancel()
			now := int64(0)
			// Best effort: the namespace goes with the mirror.
			_ = client.CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		}()
		ended, err := awaitEnd(ctx, client, pod)
		if err != nil {
			return out, err
		}
		out.OK = ended.Status.Phase == corev1.PodSucceeded
		out.Detail = termination(ended)
		return out, nil
	}
}

func create(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) error {
	_, err := patiently(ctx, "DNS: create pod "+pod.Namespace+"/"+pod.Name, func(ctx context.Context) (*corev1.Pod, error) {
		p, err := client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		switch {
		case apierrors.IsAlreadyExists(err): // made by an attempt whose answer got lost
			return pod, nil
		case apierrors.IsNotFound(err):
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pod.Namespace}}
			if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
				return nil, err
			}
		}
		return p, err
	})
	return err
}

func awaitEnd(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	last := "it was not seen at all"
	for {
		p, err := client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		switch {
		case err == nil && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed):
			return p, nil
		case err == nil:
			last = strings.TrimSpace(string(p.Status.Phase) + " " + brackets(waitingFor(p)))
		case ctx.Err() == nil:
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			err := fmt.Errorf("look at DNS: pod %s/%s did not finish within %v: %s", pod.Namespace, pod.Name, podTimeout, last)
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				err = fmt.Errorf("look at DNS: %w", cause)
			}
			return nil, err
		case <-time.After(podPoll):
		}
	}
}

// waitingFor says what keeps a pod from running.
func waitingFor(p *corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			return join(w.Reason, w.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return join(c.Reason, c.Message)
		}
	}
	return ""
}

// termination returns what the pod's container said last.
func termination(p *corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil {
			if message := strings.TrimSpace(t.Message); message != "" {
				return message
			}
			return fmt.Sprintf("the lookup ended with exit code %d and said nothing", t.ExitCode)
		}
	}
	return join(p.Status.Reason, p.Status.Message)
}

func lookupPod(namespace, name, image string) *corev1.Pod {
	no, yes, nobody := false, true, int64(65532)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{
			"app.kubernetes.io/name": "dns-lookup", "app.kubernetes.io/part-of": "rehearse",
		}},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: "lookup", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Args: []string{"lookup", "-timeout", lookupTimeout.String(), LookupName},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, RunAsNonRoot: &yes, RunAsUser: &nobody,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}
