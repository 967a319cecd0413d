package deploy

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func agents() DNSAgents {
	return DNSAgents{Image: "rehearse/canary:test", Names: []string{"kubernetes.default.svc.cluster.local.", "example.org."}, Every: time.Second, Timeout: 2 * time.Second}
}

func TestDNSAgentsAreOnEveryNode(t *testing.T) {
	client := fake.NewClientset()
	for range 2 { // as by a process that was interrupted
		if err := ApplyDNSAgents(t.Context(), client, agents()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{
		"create namespaces rehearse-dns", "create daemonsets dns-agent",
		"create namespaces rehearse-dns", "create daemonsets dns-agent", "get daemonsets dns-agent", "update daemonsets dns-agent",
	}, actions(client)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	d, err := client.AppsV1().DaemonSets(DNSNamespace).Get(t.Context(), DNSName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec := d.Spec.Template.Spec
	if diff := cmp.Diff([]string{"-port=8080", "-dns=kubernetes.default.svc.cluster.local.,example.org.", "-dns-every=1s", "-dns-timeout=2s"}, spec.Containers[0].Args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if spec.HostNetwork || !slices.Equal(spec.Tolerations, []corev1.Toleration{{Operator: corev1.TolerationOpExists}}) {
		t.Errorf("host network %v, tolerations %v", spec.HostNetwork, spec.Tolerations)
	}
	if cpu := spec.Containers[0].Resources.Requests.Cpu().String(); cpu != "5m" {
		t.Errorf("requests %s of a CPU", cpu)
	}
	if !IsDNSAgent(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: DNSNamespace, Labels: d.Spec.Template.Labels}}) {
		t.Error("its pods are not known as agents")
	}
	for range 2 {
		if err := RemoveDNSAgents(t.Context(), client); err != nil {
			t.Error(err)
		}
	}
}

func TestWaitDNSAgentsSaysHowManyRun(t *testing.T) {
	for want, status := range map[string]appsv1.DaemonSetStatus{
		"": {DesiredNumberScheduled: 3, NumberReady: 3},
		"the DNS agents were not ready after 1m0s: 2 of 3 run": {DesiredNumberScheduled: 3, NumberReady: 2},
		"the DNS agents were not ready after 1m0s: 0 of 0 run": {},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := dnsAgents(agents())
			d.Status = status
			got := ""
			if err := WaitDNSAgents(t.Context(), fake.NewClientset(d), time.Minute); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
