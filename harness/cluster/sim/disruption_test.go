package sim

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestBudgetStatus(t *testing.T) {
	owner := func(c *simulation, replicas int32) []*corev1.Pod {
		rs := &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Replicas: &replicas}}
		rs.Namespace, rs.Name = "default", "rs"
		o, err := c.store.Create(resReplicaSets, rs)
		if err != nil {
			t.Fatal(err)
		}
		var pods []*corev1.Pod
		for i := range replicas {
			p := newPod(o.(*appsv1.ReplicaSet), "ReplicaSet", "apps/v1", "default", "p-", &corev1.PodTemplateSpec{})
			p.Name = fmt.Sprint("p", i)
			setPodCondition(p, corev1.PodReady, corev1.ConditionTrue, "", "")
			pods = append(pods, p)
		}
		return pods
	}
	value := func(s string) *intstr.IntOrString { v := intstr.Parse(s); return &v }
	for _, tt := range []struct {
		name             string
		min, max         string
		replicas         int32
		unready, leaving int
		allowed, desired int32
	}{
		{name: "maxUnavailable 1 of 3", max: "1", replicas: 3, allowed: 1, desired: 2},
		{name: "one is not ready", max: "1", replicas: 3, unready: 1, allowed: 0, desired: 2},
		{name: "one is leaving", max: "1", replicas: 3, leaving: 1, allowed: 0, desired: 2},
		{name: "maxUnavailable 0", max: "0", replicas: 3, allowed: 0, desired: 3},
		{name: "maxUnavailable 50% of 3 rounds up", max: "50%", replicas: 3, allowed: 2, desired: 1},
		{name: "minAvailable 2 of 3", min: "2", replicas: 3, allowed: 1, desired: 2},
		{name: "minAvailable 100%", min: "100%", replicas: 2, allowed: 0, desired: 2},
		{name: "a single replica", max: "1", replicas: 1, allowed: 1, desired: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := still(t, 1, 1)
			pods := owner(c, tt.replicas)
			for _, p := range pods[:tt.unready] {
				setPodCondition(p, corev1.PodReady, corev1.ConditionFalse, "", "")
			}
			for _, p := range pods[:tt.leaving] {
				p.DeletionTimestamp = ptr(metav1.Now())
			}
			b := &policyv1.PodDisruptionBudget{}
			if tt.min != "" {
				b.Spec.MinAvailable = value(tt.min)
			}
			if tt.max != "" {
				b.Spec.MaxUnavailable = value(tt.max)
			}
			b.Generation = 7
			s := c.budgetStatus(b, pods)
			if s.DisruptionsAllowed != tt.allowed || s.DesiredHealthy != tt.desired || s.ExpectedPods != tt.replicas || s.ObservedGeneration != 7 {
				t.Errorf("allowed %d, desired %d, expected %d, observed %d; want %d, %d, %d, 7",
					s.DisruptionsAllowed, s.DesiredHealthy, s.ExpectedPods, s.ObservedGeneration, tt.allowed, tt.desired, tt.replicas)
			}
		})
	}
}
