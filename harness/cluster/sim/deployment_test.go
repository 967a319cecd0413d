package sim

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestDeploymentRollsWithinItsLimits(t *testing.T) {
	c := still(t, 1, 2)
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: ptr(int32(4)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}}}
	d.Name = "x"
	d.Spec.Template.Labels = map[string]string{"app": "x"}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: "old"}}
	d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: ptr(intstr.FromInt32(1)), MaxUnavailable: ptr(intstr.FromInt32(0))}
	if _, err := c.api.create(resDeployments, "default", d, false); err != nil {
		t.Fatal(err)
	}
	round := func() {
		c.run(t, c.syncDeployments, c.syncReplicaSets, c.schedule)
		// What was told to go has gone by the next round.
		for _, p := range c.pods("default", "app=x") {
			if p.DeletionTimestamp != nil {
				if _, err := c.store.Delete(resPods, p.Namespace, p.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	round()
	round()
	c.runAll(t, c.pods("default", "app=x"), true)
	round()
	round()
	if s := mustGet[*appsv1.Deployment](t, c, resDeployments, "default", "x").Status; s.AvailableReplicas != 4 || s.UpdatedReplicas != 4 {
		t.Fatalf("status %+v, want 4 available", s)
	}
	if err := update(c.store, resDeployments, "default", "x", func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = "new"
		d.Generation++
	}); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		round()
		pods := c.pods("default", "app=x")
		ready := 0
		for _, p := range pods {
			if isReady(p) {
				ready++
			}
		}
		if len(pods) > 5 || ready < 4 {
			t.Fatalf("%d pods of which %d are ready: want at most 5 and at least 4", len(pods), ready)
		}
		c.runAll(t, pods, true)
	}
	for _, p := range c.pods("default", "app=x") {
		if p.Spec.Containers[0].Image != "new" {
			t.Errorf("pod %s still has image %s", p.Name, p.Spec.Containers[0].Image)
		}
		rs := mustGet[*appsv1.ReplicaSet](t, c, resReplicaSets, "default", metav1.GetControllerOf(p).Name)
		if up := metav1.GetControllerOf(rs); up == nil || up.Name != "x" || up.Kind != "Deployment" {
			t.Errorf("ReplicaSet %s is owned by %v", rs.Name, up)
		}
	}
	// Its pods go with it.
	if err := c.api.delete(resDeployments, "default", "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.collectGarbage, c.collectGarbage)
	for _, p := range c.pods("default", "app=x") {
		if p.DeletionTimestamp == nil {
			t.Errorf("pod %s outlives its Deployment", p.Name)
		}
	}
}
