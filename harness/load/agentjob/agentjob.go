// Package agentjob runs load agents in a Kubernetes cluster, as an Indexed Job in a
// namespace of their own, and reaches each through the API server's proxy to pods:
// what can be reached with kubectl can be reached so, and nothing has to be opened
// for it.
package agentjob

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/load/fleet"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Config says which agents to run.
type Config struct {
	RunID  string // marks everything, see cluster.LabelRun
	Agents int    // pods
	Image  string // of cmd/canary, which the nodes can pull or have
	// Rate is the number of requests a second on all lanes and agents together; what
	// the pods ask for follows from it.
	Rate float64
}

// Cluster is where agents run.
type Cluster struct {
	Client kubernetes.Interface
	Config *rest.Config
	// Kubeconfig and Context are as the user gave them, for commands that a person is
	// told.
	Kubeconfig, Context string
}

// Connect returns clients of the cluster that a kubeconfig names; an empty context
// is its current one. Nothing is asked of the cluster.
func Connect(kubeconfig, context string) (*Cluster, error) {
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}, &clientcmd.ConfigOverrides{CurrentContext: context})
	cfg, err := loaded.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("load.agentsKubeconfig: %s: %w", kubeconfig, err)
	}
	cfg.QPS = -1 // every agent is asked twice a second
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("load.agentsKubeconfig: %s: %w", kubeconfig, err)
	}
	return &Cluster{Client: client, Config: cfg, Kubeconfig: kubeconfig, Context: context}, nil
}

// String names the cluster for a person.
func (c *Cluster) String() string {
	if c.Context != "" {
		return "context " + c.Context
	}
	return "the current context of " + c.Kubeconfig
}

// DeleteCommand is how a person removes a run's agents.
func (c *Cluster) DeleteCommand(runID string) string {
	args := []string{"kubectl", "--kubeconfig", c.Kubeconfig}
	if c.Context != "" {
		args = append(args, "--context", c.Context)
	}
	return command.Quote(append(args, "delete", "namespace", Namespace(runID)))
}

// ID tells one cluster from another: the UID of its namespace kube-system, which
// lasts as long as the cluster.
func ID(ctx context.Context, client kubernetes.Interface) (types.UID, error) {
	ns, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get namespace %s: %w", metav1.NamespaceSystem, err)
	}
	return ns.UID, nil
}

// Create creates a run's agents and returns at once with the token that they ask
// for. What it leaves behind on error Remove removes.
func Create(ctx context.Context, c *Cluster, cfg Config) (token string, err error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("the load agents' token: %w", err)
	}
	token = hex.EncodeToString(random)
	ns := Namespace(cfg.RunID)
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, namespace(cfg), metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("start the load agents in %s: create namespace %s: %w", c, ns, err)
	}
	if _, err := c.Client.CoreV1().Secrets(ns).Create(ctx, secret(cfg, token), metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("start the load agents in %s: create secret %s/%s: %w", c, ns, name, err)
	}
	if _, err := c.Client.BatchV1().Jobs(ns).Create(ctx, job(cfg), metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("start the load agents in %s: create job %s/%s: %w", c, ns, name, err)
	}
	return token, nil
}

const every = time.Second

// Wait returns the agents, in order of their index, once all are ready. After the
// time within, and when one of them has ended, the error says what each pod does.
func Wait(ctx context.Context, c *Cluster, cfg Config, token string, within time.Duration) ([]fleet.Agent, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errTime)
	defer cancel()
	last := errors.New("nothing was seen")
	for {
		pods, err := c.Client.CoreV1().Pods(Namespace(cfg.RunID)).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err == nil {
			var ended bool
			if ended, err = ready(pods.Items, cfg.Agents); err == nil {
				return agents(c, pods.Items, token)
			}
			if ended {
				return nil, fmt.Errorf("a load agent in %s has ended before it was told what to send; its image must be of this release (load.agentImage):\n%w", c, err)
			}
		}
		if ctx.Err() == nil {
			last = err
		}
		if err := pause.For(ctx, every); errors.Is(context.Cause(ctx), errTime) {
			return nil, fmt.Errorf("the load agents in %s were not ready after %s:\n%w", c, within, last)
		} else if err != nil {
			return nil, fmt.Errorf("wait for the load agents: %w", err)
		}
	}
}

var errTime = errors.New("the time is over")

// ready reports what each pod waits for, and whether one of them has ended.
func ready(pods []corev1.Pod, want int) (ended bool, err error) {
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(index(&a), index(&b)) })
	var text []string
	if len(pods) != want {
		text = append(text, fmt.Sprintf("%d pods exist, %d are wanted; a quota or an admission webhook may keep the Job from making them", len(pods), want))
	}
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			ended = true
		}
		if why := waiting(p); why != "" {
			text = append(text, fmt.Sprintf("pod %s/%s: %s", p.Namespace, p.Name, why))
		}
	}
	if text == nil {
		return false, nil
	}
	return ended, errors.New(strings.Join(text, "\n"))
}

// index is the completion index of a pod, or -1.
func index(p *corev1.Pod) int {
	n, err := strconv.Atoi(p.Labels[batchv1.JobCompletionIndexAnnotation])
	if err != nil {
		return -1
	}
	return n
}

// waiting says why a pod is not ready, or "".
func waiting(p *corev1.Pod) string {
	if why := over(p); why != "" {
		return why
	}
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue:
			return strings.TrimSuffix(c.Reason+": "+c.Message, ": ")
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
			return ""
		}
	}
	return "it runs, and is not ready"
}

// over says why a pod does not come back, or "".
func over(p *corev1.Pod) string {
	var what string
	switch {
	case p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded:
		what = "its pod has ended"
	case p.DeletionTimestamp != nil:
		what = "its pod is being deleted"
	default:
		return ""
	}
	if p.Status.Reason != "" {
		what += ", " + p.Status.Reason
	}
	if p.Status.Message != "" {
		what += ": " + p.Status.Message
	}
	for _, s := range p.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil {
			what += fmt.Sprintf(" (exit code %d, %s)", t.ExitCode, t.Reason)
		}
	}
	return what
}

// Left reports whether a run's agents, or some of them, are still there.
func Left(ctx context.Context, c *Cluster, runID string) (bool, error) {
	ns := Namespace(runID)
	got, err := c.Client.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for load agents in %s: get namespace %s: %w", c, ns, err)
	}
	return got.Labels[cluster.LabelRun] == runID, nil
}

// passing is for how long a cluster that does not answer is asked again while agents
// are removed: its API server may be upgraded just then.
const passing = time.Minute

// Remove deletes a run's agents with their namespace, and returns when they are
// gone. That they are gone already is no error. The error says how a person
// removes them.
func Remove(ctx context.Context, c *Cluster, runID string) error {
	ns := Namespace(runID)
	var failing time.Time
	for asked := false; ; {
		gone, err := remove(ctx, c, runID, &asked)
		switch {
		case gone:
			return nil
		case err == nil:
			failing = time.Time{}
		case failing.IsZero():
			failing = time.Now()
		}
		if errors.Is(err, errForeign) {
			return fmt.Errorf("remove the load agents in %s: %w", c, err)
		}
		over := err != nil && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || time.Since(failing) >= passing)
		var why error
		if !over {
			why = pause.For(ctx, every)
		}
		switch {
		case err != nil && (over || why != nil):
			return fmt.Errorf("remove the load agents in %s: %w; delete them with: %s", c, err, c.DeleteCommand(runID))
		case why != nil:
			return fmt.Errorf("namespace %s in %s is being deleted and not gone: %w; see what keeps it, and delete it with: %s", ns, c, why, c.DeleteCommand(runID))
		}
	}
}

// errForeign is that a namespace by the agents' name is not of the run.
var errForeign = errors.New("is not this run's: it is left as it is")

// remove looks once whether the namespace is gone, and deletes it unless that was
// asked already.
func remove(ctx context.Context, c *Cluster, runID string, asked *bool) (gone bool, err error) {
	ns := Namespace(runID)
	got, err := c.Client.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("get namespace %s: %w", ns, err)
	case got.Labels[cluster.LabelRun] != runID:
		return false, fmt.Errorf("namespace %s %w", ns, errForeign)
	case *asked || got.DeletionTimestamp != nil:
		return false, nil
	}
	if err := c.Client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("delete namespace %s: %w", ns, err)
	}
	*asked = true
	_, err = c.Client.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
	return apierrors.IsNotFound(err), nil
}
