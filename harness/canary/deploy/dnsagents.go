package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/canary"
)

// The DNS agents have a namespace of their own, so that nobody takes one that
// comes or goes with its node for a pod of the service under load.
const (
	DNSNamespace = "rehearse-dns"
	DNSName      = "dns-agent"
)

// DNSAgents are pods that watch DNS from every node: a DaemonSet of the canary's
// image that tolerates everything, in the namespace DNSNamespace.
type DNSAgents struct {
	Image          string
	Names          []string // resolved in each observation
	Every, Timeout time.Duration
}

func dnsMeta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: DNSNamespace, Name: DNSName, Labels: labels(Config{Name: DNSName})}
}

// ApplyDNSAgents creates the agents, with their namespace, or brings those of an
// earlier call to what a says. It does not wait; see WaitDNSAgents.
func ApplyDNSAgents(ctx context.Context, client kubernetes.Interface, a DNSAgents) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: DNSNamespace, Labels: labels(Config{Name: DNSName})}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("deploy the DNS agents: create namespace %s: %w", DNSNamespace, err)
	}
	sets := client.AppsV1().DaemonSets(DNSNamespace)
	want := dnsAgents(a)
	_, err := sets.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var got *appsv1.DaemonSet
		if got, err = sets.Get(ctx, DNSName, metav1.GetOptions{}); err == nil {
			want.ResourceVersion = got.ResourceVersion
			_, err = sets.Update(ctx, want, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("deploy the DNS agents: daemonset %s/%s: %w", DNSNamespace, DNSName, err)
	}
	return nil
}

// WaitDNSAgents waits until an agent runs on every node, and after the timeout
// says on how many it does.
func WaitDNSAgents(ctx context.Context, client kubernetes.Interface, timeout time.Duration) error {
	last := "nothing was seen"
	err := wait.For(func(ctx context.Context) (bool, error) {
		d, err := client.AppsV1().DaemonSets(DNSNamespace).Get(ctx, DNSName, metav1.GetOptions{})
		if err != nil {
			last = err.Error()
			return false, nil
		}
		s := d.Status
		last = fmt.Sprintf("%d of %d run", s.NumberReady, s.DesiredNumberScheduled)
		return s.ObservedGeneration >= d.Generation && s.DesiredNumberScheduled > 0 && s.NumberReady == s.DesiredNumberScheduled, nil
	}, wait.WithContext(ctx), wait.WithTimeout(timeout), wait.WithInterval(waitInterval), wait.WithImmediate())
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("wait for the DNS agents: %w", cause)
	}
	return fmt.Errorf("the DNS agents were not ready after %s: %s", timeout, last)
}

// RemoveDNSAgents deletes the agents and their namespace, and does not wait until
// they are gone. That they are gone already is no error.
func RemoveDNSAgents(ctx context.Context, client kubernetes.Interface) error {
	background := metav1.DeletePropagationBackground
	var errs []error
	for _, err := range []error{
		client.AppsV1().DaemonSets(DNSNamespace).Delete(ctx, DNSName, metav1.DeleteOptions{PropagationPolicy: &background}),
		client.CoreV1().Namespaces().Delete(ctx, DNSNamespace, metav1.DeleteOptions{}),
	} {
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove the DNS agents: %w", err))
		}
	}
	return errors.Join(errs...)
}

// IsDNSAgent reports whether a pod is one of the agents.
func IsDNSAgent(p *corev1.Pod) bool {
	return p.Namespace == DNSNamespace && p.Labels["app.kubernetes.io/name"] == DNSName
}

func dnsAgents(a DNSAgents) *appsv1.DaemonSet {
	half := intstr.FromString("50%")
	return &appsv1.DaemonSet{
		ObjectMeta: dnsMeta(),
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: selector(Config{Name: DNSName})},
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &half},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels(Config{Name: DNSName})},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: new(int64(1)),
					AutomountServiceAccountToken:  new(false),
					EnableServiceLinks:            new(false),
					Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: new(true), RunAsUser: new(int64(nobody)), RunAsGroup: new(int64(nobody)),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name: DNSName, Image: a.Image, ImagePullPolicy: corev1.PullIfNotPresent,
						Args: []string{
							"-port=" + strconv.Itoa(canary.DefaultPort), "-dns=" + strings.Join(a.Names, ","),
							"-dns-every=" + a.Every.String(), "-dns-timeout=" + a.Timeout.String(),
						},
						Env:   []corev1.EnvVar{fromField(canary.EnvPod, "metadata.name"), fromField(canary.EnvNode, "spec.nodeName")},
						Ports: []corev1.ContainerPort{{Name: portName, ContainerPort: canary.DefaultPort, Protocol: corev1.ProtocolTCP}},
						Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
							corev1.ResourceCPU: resource.MustParse("5m"), corev1.ResourceMemory: resource.MustParse("8Mi"),
						}},
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
							Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
					}},
				},
			},
		},
	}
}
