package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestEndpointsAndRulesFollowPods(t *testing.T) {
	c := still(t, 1, 2)
	s := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "x"},
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: 30080}}}}
	s.Name = "x"
	if _, err := c.api.create(resServices, "default", s, false); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a", "b"} {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "t-worker", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		p.Name, p.Labels = n, map[string]string{"app": "x"}
		if _, err := c.api.create(resPods, "default", p, false); err != nil {
			t.Fatal(err)
		}
	}
	c.runAll(t, c.pods("default", "app=x"), true)
	rules := func() string {
		c.run(t, c.syncEndpointSlices)
		var out []string
		for _, e := range c.proxy("t-worker2").compute()[nodePortKey(30080)].endpoints {
			out = append(out, fmt.Sprintf("%s:%d", e.ip, e.port))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	if got := rules(); got != "10.244.9.1:8080 10.244.9.2:8080" {
		t.Errorf("two ready pods give %s", got)
	}
	leave := func(name string) {
		if err := c.api.delete(resPods, "default", name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	leave("a")
	if got := rules(); got != "10.244.9.2:8080" {
		t.Errorf("with one leaving: %s", got)
	}
	leave("b")
	if got := rules(); got != "10.244.9.1:8080 10.244.9.2:8080" {
		t.Errorf("with all leaving, those that serve get the traffic: %s", got)
	}
	for _, es := range list[*discoveryv1.EndpointSlice](c.store, resEndpointSlices, "default") {
		if es.Labels[discoveryv1.LabelServiceName] != "x" {
			continue
		}
		for _, e := range es.Endpoints {
			if *e.Conditions.Ready || !*e.Conditions.Serving || !*e.Conditions.Terminating {
				t.Errorf("endpoint %s: ready %t, serving %t, terminating %t", e.TargetRef.Name, *e.Conditions.Ready, *e.Conditions.Serving, *e.Conditions.Terminating)
			}
		}
	}
	c.runAll(t, c.pods("default", "app=x"), false)
	if got := rules(); got != "" {
		t.Errorf("with none serving: %s", got)
	}
}
