package deploy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/kube-rehearse/rehearse/test/golden"
)

func three() Config {
	return Config{
		Image: "rehearse/canary:test", Replicas: 3, Budget: &Budget{MaxUnavailable: new(1)},
		BodyBytes: 1024, ShutdownDelay: 12 * time.Second, GracePeriod: 10*time.Second + time.Millisecond,
	}
}

// actions lists what was asked of the API: verb, resource and name.
func actions(client *fake.Clientset) []string {
	var got []string
	for _, a := range client.Actions() {
		name := ""
		switch a := a.(type) {
		case clienttesting.CreateActionImpl:
			name = a.GetObject().(metav1.Object).GetName()
		case clienttesting.UpdateActionImpl:
			name = a.GetObject().(metav1.Object).GetName()
		case clienttesting.GetActionImpl:
			name = a.GetName()
		case clienttesting.DeleteActionImpl:
			name = a.GetName()
		}
		got = append(got, fmt.Sprintf("%s %s %s", a.GetVerb(), a.GetResource().Resource, name))
	}
	return got
}

func TestDeployCreatesEverythingInOrder(t *testing.T) {
	client := fake.NewClientset()
	if err := Deploy(t.Context(), client, three()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create namespaces rehearse", "get services canary", "create services canary",
		"create poddisruptionbudgets canary", "create deployments canary",
	}
	if diff := cmp.Diff(want, actions(client)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestObjectsAreAsReviewed(t *testing.T) {
	cfg := three().withDefaults()
	var got strings.Builder
	for i, o := range []runtime.Object{service(cfg), budget(cfg), deployment(cfg)} {
		b, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			got.WriteString("---\n")
		}
		got.Write(b)
	}
	golden.Equal(t, "objects.yaml", got.String())
}

func TestDeployTwiceBringsTheFirstToTheSecond(t *testing.T) {
	client := fake.NewClientset()
	if err := Deploy(t.Context(), client, three()); err != nil {
		t.Fatal(err)
	}
	second := three()
	second.Replicas, second.Budget, second.Image = 1, nil, "rehearse/canary:other"
	client.ClearActions()
	if err := Deploy(t.Context(), client, second); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create namespaces rehearse", "get services canary", "update services canary",
		"delete poddisruptionbudgets canary",
		"create deployments canary", "get deployments canary", "update deployments canary",
	}
	if diff := cmp.Diff(want, actions(client)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	d, err := client.AppsV1().Deployments(DefaultNamespace).Get(t.Context(), DefaultName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if *d.Spec.Replicas != 1 || d.Spec.Template.Spec.Containers[0].Image != "rehearse/canary:other" {
		t.Errorf("%d replicas of %s", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image)
	}
}

func TestDeployNamesEveryMistake(t *testing.T) {
	client := fake.NewClientset()
	err := Deploy(t.Context(), client, Config{Budget: &Budget{}})
	const want = "deploy the canary: no image given\n0 replicas: want at least 1\nbudget: want exactly one of maxUnavailable and minAvailable"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := actions(client); len(got) > 0 {
		t.Errorf("asked the API for %q", got)
	}
}

func TestDeployNamesTheObjectThatTheAPIRefused(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, fmt.Errorf("quota exceeded")
	})
	err := Deploy(t.Context(), client, three())
	if want := "deploy the canary: deployment rehearse/canary: quota exceeded"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func ready(cfg Config) []runtime.Object {
	d := deployment(cfg.withDefaults())
	d.Status = appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
	return []runtime.Object{d, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: DefaultNamespace, Name: "canary-x", Labels: map[string]string{"kubernetes.io/service-name": DefaultName},
		},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.244.1.2"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}},
			{Addresses: []string{"10.244.2.2"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}},
		},
	}}
}

func TestWaitReady(t *testing.T) {
	cfg := three()
	cfg.Replicas = 2
	pulling := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: DefaultNamespace, Name: "canary-1", Labels: labels(cfg.withDefaults())},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
		}}}},
	}
	unplaced := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: DefaultNamespace, Name: "canary-2", Labels: labels(cfg.withDefaults())},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available",
		}}},
	}
	starting := deployment(cfg.withDefaults())
	starting.Status = appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2}
	for _, tc := range []struct {
		name    string
		objects []runtime.Object
		want    string
	}{
		{"ready", ready(cfg), ""},
		{"no deployment", nil, `the canary rehearse/canary was not ready after 1m0s: get deployment: deployments.apps "canary" not found`},
		{"pods waiting", []runtime.Object{starting, pulling, unplaced}, "the canary rehearse/canary was not ready after 1m0s: " +
			"0 of 2 replicas available; pod canary-1: ImagePullBackOff: no such image; pod canary-2: Unschedulable: 0/3 nodes are available"},
		{"no endpoints", ready(cfg)[:1], "the canary rehearse/canary was not ready after 1m0s: 0 of 2 replicas are endpoints of the service"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := WaitReady(t.Context(), fake.NewClientset(tc.objects...), cfg, time.Minute)
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != tc.want {
					t.Errorf("\n got %s\nwant %s", got, tc.want)
				}
			})
		})
	}
}
