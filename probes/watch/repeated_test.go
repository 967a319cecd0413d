package watch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestARepeatedWarningIsAFinding(t *testing.T) {
	warning := func(uid, namespace, pod, reason, message string, count int32) *corev1.Event {
		return &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}, Type: corev1.EventTypeWarning, Reason: reason, Message: message, Count: count,
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: pod}, Source: corev1.EventSource{Component: "kubelet"},
		}
	}
	d := newEventDiffer()
	d.learn(warning("1", "shop", "old", "BackOff", "Back-off restarting failed container", 500))
	for _, e := range []*corev1.Event{
		warning("1", "shop", "old", "BackOff", "Back-off restarting failed container", 510), // mostly from before
		warning("2", "shop", "web", "BackOff", "Back-off restarting failed container", 20),
		warning("3", "shop", "web", "BackOff", "Back-off restarting failed container web", 1), // together 21
		warning("4", "shop", "db", "FailedMount", "MountVolume.SetUp failed", 20),             // not over 20
		warning("5", "shop", "going", "Unhealthy", "Readiness probe failed: 503", 40),         // told to stop
		warning("6", "shop", "staying", "Unhealthy", "Readiness probe failed: 503", 40),
		warning("7", "shop", "going", "Unhealthy", "Liveness probe failed: 503", 41),
		warning("8", "kube-system", "kube-apiserver-cp1", "Unhealthy", "Readiness probe failed: 500", 40),
		warning("9", "kube-system", "coredns-1", "Unhealthy", "Readiness probe failed: 503", 30),
	} {
		d.changes([]pair[corev1.Event]{{nil, e}})
	}
	var got []string
	for _, r := range d.repeated(func(object string) bool { return object == "pod/shop/going" }) {
		got = append(got, r.object+" "+r.reason+" "+itoa(r.count)+" "+r.source+": "+r.message)
	}
	want := []string{
		"pod/shop/going Unhealthy 41 kubelet: Liveness probe failed: 503",
		"pod/shop/staying Unhealthy 40 kubelet: Readiness probe failed: 503",
		"pod/kube-system/coredns-1 Unhealthy 30 kubelet: Readiness probe failed: 503",
		"pod/shop/web BackOff 21 kubelet: Back-off restarting failed container web",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("repeated (-want +got):\n%s", diff)
	}
}
