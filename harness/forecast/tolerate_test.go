package forecast

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// everywhere lets pods run on every node, a cordoned one included, as the
// Deployments of network plug-ins and their operators do.
func everywhere(pods []*corev1.Pod) {
	for _, p := range pods {
		p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	}
}

// A drain evicts the pods that it found once. One that tolerates the cordon may
// come back to the node, which a drain neither waits for nor evicts again.
func TestPodsThatTolerateTheCordon(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"in place", Options{},
			"w1: drains, 1 pod; away for a while: deployment/shop/operator\n" +
				"w2: drains, 0 pods"},
		{"the node goes", Options{Strategy: scenarios.StrategyReplace, MaxUnavailable: 1},
			"w1: drains, 1 pod; away for a while: deployment/shop/operator\n" +
				"w2: drains, 1 pod; away for a while: deployment/shop/operator"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := state(2)
			everywhere(deploy(s, "operator", "w1"))
			done := make(chan string, 1)
			go func() { done <- told(t, s, tc.o) }()
			select {
			case got := <-done:
				if got != tc.want {
					t.Errorf("got:\n%s\nwant:\n%s", got, tc.want)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the forecast did not come to its end")
			}
		})
	}
}
