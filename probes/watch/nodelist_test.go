package watch

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNodesAreThoseSeenLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		control := node("cp-1", func(n *corev1.Node) { n.Labels = map[string]string{controlPlaneLabel: ""} })
		r := newRig(t, node("w2"), control, node("w1"))
		if got := r.w.Nodes(); len(got) != 0 {
			t.Errorf("before the watch began the nodes are %+v", got)
		}
		r.start()
		ctx, nodes := t.Context(), r.CoreV1().Nodes()
		_, err := nodes.Update(ctx, node("w1", condition(corev1.NodeReady, corev1.ConditionUnknown, "NodeStatusUnknown", ""), func(n *corev1.Node) {
			n.Spec.Unschedulable, n.Status.NodeInfo.KubeletVersion = true, "v1.35.4"
		}), metav1.UpdateOptions{})
		r.must(err)
		r.must(nodes.Delete(ctx, "w2", metav1.DeleteOptions{}))
		_, err = nodes.Create(ctx, node("w3"), metav1.CreateOptions{})
		r.must(err)
		synctest.Wait()
		r.w.Stop()
		want := []Node{
			{Name: "cp-1", Version: "v1.34.4", ControlPlane: true, Ready: true},
			{Name: "w1", Version: "v1.35.4", Cordoned: true},
			{Name: "w3", Version: "v1.34.4", Ready: true},
		}
		if diff := cmp.Diff(want, r.w.Nodes()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
