package cloud

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func node(name, version string, controlPlane bool) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	if controlPlane {
		n.Labels[LabelControlPlane] = ""
	}
	n.Status.NodeInfo.KubeletVersion = version
	return n
}

func TestAssertKubelets(t *testing.T) {
	client := fake.NewClientset(node("cp", "v1.35.4", true), node("w1", "v1.35.4", false), node("w2", "v1.34.4", false))
	is := func(v string) bool { return v == "v1.35.4" }
	if err := AssertKubelets(t.Context(), client, true, "v1.35.4", is); err != nil {
		t.Error(err)
	}
	err := AssertKubelets(t.Context(), client, false, "v1.35.4", is)
	if want := "the roll to v1.35.4 ended without an error, and 1 of 2 nodes (worker) have not that version: w2 runs v1.34.4"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	err = AssertKubelets(t.Context(), fake.NewClientset(), false, "v1.35.4", is)
	if want := "the roll to v1.35.4 ended without an error, and the cluster shows no worker: there is nothing that it can have upgraded"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func service(port int32, ingress ...corev1.LoadBalancerIngress) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "rehearse", Name: "canary"}}
	s.Spec.Ports = []corev1.ServicePort{{Port: port}}
	s.Status.LoadBalancer.Ingress = ingress
	return s
}

func TestExposeWaitsUntilTheBalancerAnswers(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked < 3 || r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(service(int32(port), corev1.LoadBalancerIngress{Hostname: "127.0.0.1"}))
	b := Balancer{Annotations: map[string]string{"type": "nlb"}, Timeout: 10 * time.Second, Every: time.Millisecond}
	got, err := b.Expose(t.Context(), &cluster.Cluster{Client: client}, cluster.Service{Namespace: "rehearse", Name: "canary", HealthPath: "/readyz"})
	if err != nil || got.URL != srv.URL || asked != 3 {
		t.Errorf("%+v after %d questions, %v", got, asked, err)
	}
	svc, err := client.CoreV1().Services("rehearse").Get(t.Context(), "canary", metav1.GetOptions{})
	if err != nil || svc.Spec.Type != corev1.ServiceTypeLoadBalancer || svc.Annotations["type"] != "nlb" {
		t.Errorf("%+v, %v", svc, err)
	}
}

func TestExposeSaysWhatItWaitsFor(t *testing.T) {
	b := Balancer{Timeout: 20 * time.Millisecond, Every: time.Millisecond}
	s := cluster.Service{Namespace: "rehearse", Name: "canary", HealthPath: "/readyz"}
	_, err := b.Expose(t.Context(), &cluster.Cluster{Client: fake.NewClientset(service(80))}, s)
	const want = "service rehearse/canary: its balancer is not ready after 20ms: it has no address yet; look at the Service's events (kubectl -n rehearse describe service canary)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Expose(ctx, &cluster.Cluster{Client: fake.NewClientset(service(80))}, s); err == nil || strings.Contains(err.Error(), "not ready") {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTwinServesLikeTheCanary(t *testing.T) {
	var twin Twin
	e, err := twin.Start(t.Context(), cluster.Workload{Args: []string{"-body-bytes=77", "-latency=0s"}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, size := range map[string]int{canary.PathRoot: 77, canary.PathReady: -1} {
		resp, err := client.Get(e.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || size >= 0 && len(body) != size {
			t.Errorf("%s: status %d, %d bytes, %v", path, resp.StatusCode, len(body), err)
		}
	}
	if err := twin.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := client.Get(e.URL); err == nil {
		t.Error("it still serves")
	}
	if _, err := twin.Start(t.Context(), cluster.Workload{Args: []string{"-unknown"}}); err == nil {
		t.Error("an unknown argument was taken")
	}
}
