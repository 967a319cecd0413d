package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

const (
	from = cluster.Version("v1.34.4")
	to   = cluster.Version("v1.35.4")
)

func spec(controlPlanes, workers int) cluster.Spec {
	return cluster.Spec{RunID: "run-1", Name: "t", Version: from, ControlPlanes: controlPlanes, Workers: workers, Network: "flannel"}
}

// testLog shows what the cluster logs only when the test fails.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) { w.t.Log(string(p)); return len(p), nil }

// newCluster creates a cluster that is deleted with the test, after which no
// goroutine may be left.
func newCluster(t *testing.T, opt Options, s cluster.Spec) (*Driver, *cluster.Cluster) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	if opt.Scale == 0 {
		opt.Scale = 40
	}
	opt.Log = testLog(t)
	d := New(opt)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Cleanup(func() {
		if err := d.Delete(context.Background(), s); err != nil {
			t.Errorf("Delete: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
		goleak.VerifyNone(t, before)
	})
	c, err := d.Create(ctx, s)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return d, c
}

// canaryOptions shape the canary that tests deploy.
type canaryOptions struct {
	replicas int32
	args     []string
	grace    int64
}

func deployCanary(t *testing.T, d *Driver, c *cluster.Cluster, o canaryOptions) cluster.Endpoint {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "rehearse"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	img, err := d.CanaryImage(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "canary"}
	if _, err := c.Client.AppsV1().Deployments("rehearse").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "canary"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &o.replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: &o.grace,
				TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
					LabelSelector: &metav1.LabelSelector{MatchLabels: labels}}},
				Containers: []corev1.Container{{Name: "canary", Image: img, Args: o.args,
					Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
					ReadinessProbe: &corev1.Probe{PeriodSeconds: 2, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(8080)}}},
				}},
			}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	svc, err := c.Client.CoreV1().Services("rehearse").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "canary"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: labels,
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one := intstr.FromInt32(1)
	if _, err := c.Client.PolicyV1().PodDisruptionBudgets("rehearse").Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "canary"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ep, err := d.Expose(ctx, c, cluster.Service{Namespace: "rehearse", Name: "canary", NodePort: svc.Spec.Ports[0].NodePort, HealthPath: "/readyz"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the canary is served by every replica", func() error {
		dep, err := c.Client.AppsV1().Deployments("rehearse").Get(ctx, "canary", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if dep.Status.AvailableReplicas != o.replicas {
			return fmt.Errorf("%d of %d available", dep.Status.AvailableReplicas, o.replicas)
		}
		return fetch(ep.URL)
	})
	return ep
}

// fetch makes one request on a connection of its own.
func fetch(url string) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestUpgradeOfAWholeCluster(t *testing.T) {
	d, c := newCluster(t, Options{}, spec(1, 2))
	deployCanary(t, d, c, canaryOptions{replicas: 3, grace: 30, args: []string{"--shutdown-delay=10s", "--grace-period=5s"}})
	ctx := t.Context()
	if v, err := c.Client.Discovery().ServerVersion(); err != nil || v.GitVersion != string(from) {
		t.Fatalf("version before is %v, %v; want %s", v, err, from)
	}
	if err := d.UpgradeControlPlane(ctx, c, "t-control-plane", to, true); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Client.Discovery().ServerVersion(); err != nil || v.GitVersion != string(to) {
		t.Fatalf("version after is %v, %v; want %s", v, err, to)
	}
	for _, n := range []string{"t-control-plane", "t-worker", "t-worker2"} {
		if err := d.UpgradeNode(ctx, c, n, to); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "every node is Ready at the target version", func() error {
		nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(nodes.Items) != 3 {
			t.Fatalf("%d nodes, want 3", len(nodes.Items))
		}
		for _, n := range nodes.Items {
			if n.Status.NodeInfo.KubeletVersion != string(to) || !nodeIsReady(&n) {
				return fmt.Errorf("node %s: %s, ready %t", n.Name, n.Status.NodeInfo.KubeletVersion, nodeIsReady(&n))
			}
		}
		return nil
	})
	eventually(t, "system pods run the images of the target version", func() error {
		pods, err := c.Client.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		want := map[string]string{
			"etcd": "registry.k8s.io/etcd:3.6.6-0", "kube-apiserver": "registry.k8s.io/kube-apiserver:v1.35.4",
			"kube-proxy": "registry.k8s.io/kube-proxy:v1.35.4", "coredns": "registry.k8s.io/coredns/coredns:v1.13.1",
			"kube-scheduler": "registry.k8s.io/kube-scheduler:v1.35.4", "kube-controller-manager": "registry.k8s.io/kube-controller-manager:v1.35.4",
		}
		for _, p := range pods.Items {
			name := p.Spec.Containers[0].Name
			if p.Spec.Containers[0].Image != want[name] || !isReady(&p) {
				return fmt.Errorf("pod %s: image %s, ready %t", p.Name, p.Spec.Containers[0].Image, isReady(&p))
			}
		}
		if len(pods.Items) != 4+2+3 {
			return fmt.Errorf("%d pods, want 9", len(pods.Items))
		}
		return nil
	})
}
