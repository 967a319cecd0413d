package deploy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestStandIns(t *testing.T) {
	client := fake.NewClientset()
	list := []StandIn{
		{Namespace: "shop", Name: "api", Replicas: 4, Budget: &Budget{MinAvailable: new(3)}, CPU: "250m"},
		{Namespace: "shop", Name: "web", Replicas: 1},
	}
	if err := ApplyStandIns(t.Context(), client, "rehearse/canary:test", list); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create namespaces shop", "create poddisruptionbudgets api", "create deployments api",
		"create namespaces shop", "delete poddisruptionbudgets web", "create deployments web",
	}
	if diff := cmp.Diff(want, actions(client)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	d, err := client.AppsV1().Deployments("shop").Get(t.Context(), "api", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec := d.Spec.Template.Spec
	if *d.Spec.Replicas != 4 || len(spec.TopologySpreadConstraints) != 0 || spec.Containers[0].Resources.Requests.Cpu().String() != "250m" || len(spec.Containers[0].Resources.Requests) != 1 {
		t.Errorf("%d replicas, spec %+v", *d.Spec.Replicas, spec)
	}
	b, err := client.PolicyV1().PodDisruptionBudgets("shop").Get(t.Context(), "api", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.Spec.Selector.MatchLabels, d.Spec.Selector.MatchLabels); diff != "" || b.Spec.MinAvailable.IntValue() != 3 {
		t.Errorf("budget %+v, selectors:\n%s", b.Spec, diff)
	}
}

func TestStandInsThatDoNotFitAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		list := []StandIn{{Namespace: "shop", Name: "api", Replicas: 4}}
		if err := ApplyStandIns(t.Context(), client, "i", list); err != nil {
			t.Fatal(err)
		}
		err := WaitStandIns(t.Context(), client, list, time.Minute)
		if err == nil || !strings.HasPrefix(err.Error(), "the stand-ins were not ready after 1m0s: stand-in shop/api has 0 of 4 replicas available; ") {
			t.Errorf("error %v", err)
		}
	})
	if err := ApplyStandIns(t.Context(), fake.NewClientset(), "i", []StandIn{{Namespace: "a", Name: "b", Replicas: 1, CPU: "x"}}); err == nil || !strings.HasPrefix(err.Error(), `deploy stand-in a/b: requests.cpu "x": `) {
		t.Errorf("error %v", err)
	}
}
