//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestFullBlockedDrain upgrades a cluster in which a budget allows no eviction:
// the rehearsal ends NO-GO and says which, why and what to do.
func TestFullBlockedDrain(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		b = b.on("blocked", 3)
		workload, planted := "canary", make(chan error, 1)
		if b.docker {
			workload = "lonely"
			go func() { planted <- plantLonely(t.Context(), "rehearse-"+b.scenario+"-") }()
		} else {
			planted <- nil
		}
		o := runScenario(t.Context(), t, b)
		if err := <-planted; err != nil {
			t.Fatal(err)
		}
		if o.code != 1 {
			t.Errorf("exit code %d, want 1 (NO-GO)", o.code)
		}
		rec := load(t, o.dir)
		if !strings.Contains(o.stdout, "NO-GO") {
			t.Errorf("standard output says no NO-GO:\n%s", o.stdout)
		}
		for _, want := range []string{"/" + workload + "-", "budget " + workload, "1 of 1", "replicas=2"} {
			if !strings.Contains(rec.Run.Failure, want) {
				t.Errorf("the failure does not name %q: %s", want, rec.Run.Failure)
			}
		}
		refused, stalled := events(rec, timeline.KindEvictRefused, workload), events(rec, timeline.KindDrainStalled, "")
		if len(refused) == 0 || len(stalled) == 0 {
			t.Fatalf("%d refused evictions and %d stalls on the timeline", len(refused), len(stalled))
		}
		if late := stalled[0].T - refused[0].T; late > int64(30*time.Second) {
			t.Errorf("the stall was named %s after the first refused eviction, want 30 s at most", at(late))
		}
		if b.docker {
			checkNothingLeft(t)
		}
	})
}

// plantLonely waits for the canary in a cluster with that prefix of its name,
// and puts a deployment of one replica beside it whose budget keeps that one.
func plantLonely(ctx context.Context, prefix string) error {
	var client *kubernetes.Clientset
	var canary *appsv1.Deployment
	for canary == nil || canary.Status.ReadyReplicas == 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Second):
		}
		if client == nil {
			client = clientOf(prefix)
			continue
		}
		canary, _ = client.AppsV1().Deployments(deploy.DefaultNamespace).Get(ctx, deploy.DefaultName, metav1.GetOptions{})
	}
	one, labels := int32(1), map[string]string{"app": "lonely"}
	_, err := client.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "lonely"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "lonely", Image: canary.Spec.Template.Spec.Containers[0].Image}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	minAvailable := intstr.FromInt32(1)
	_, err = client.PolicyV1().PodDisruptionBudgets("default").Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "lonely"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &minAvailable, Selector: &metav1.LabelSelector{MatchLabels: labels}},
	}, metav1.CreateOptions{})
	return err
}

// clientOf reaches the cluster with that prefix of its name, or is nil.
func clientOf(prefix string) *kubernetes.Clientset {
	provider := kindcluster.NewProvider(kindcluster.ProviderWithDocker())
	names, err := provider.List()
	if err != nil {
		return nil
	}
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		kubeconfig, err := provider.KubeConfig(name, false)
		if err != nil {
			return nil
		}
		config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
		if err != nil {
			return nil
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return nil
		}
		return client
	}
	return nil
}
