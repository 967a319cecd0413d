package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// One cluster serves all tests of the API: they use objects of their own.
func TestAPI(t *testing.T) {
	d, c := newCluster(t, Options{}, spec(1, 1))
	ctx := t.Context()
	maps := c.Client.CoreV1().ConfigMaps("default")

	t.Run("a stale update is a conflict", func(t *testing.T) {
		m, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		first := m.DeepCopy()
		first.Data = map[string]string{"k": "1"}
		if _, err := maps.Update(ctx, first, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		m.Data = map[string]string{"k": "2"}
		_, err = maps.Update(ctx, m, metav1.UpdateOptions{})
		want := `Operation cannot be fulfilled on configmaps "m": the object has been modified; please apply your changes to the latest version and try again`
		if !apierrors.IsConflict(err) || err.Error() != want {
			t.Errorf("stale update: %v, want %s", err, want)
		}
	})
	t.Run("generateName", func(t *testing.T) {
		m, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "g-"}}, metav1.CreateOptions{})
		if err != nil || len(m.Name) != len("g-")+5 {
			t.Errorf("name %q, %v; want g- and five characters", m.Name, err)
		}
	})
	t.Run("patches", func(t *testing.T) {
		for kind, patch := range map[types.PatchType]string{
			types.MergePatchType:          `{"data":{"a":"1"}}`,
			types.StrategicMergePatchType: `{"data":{"b":"2"}}`,
			types.JSONPatchType:           `[{"op":"add","path":"/data/c","value":"3"}]`,
			types.ApplyPatchType:          `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"patched"},"data":{"d":"4"}}`,
		} {
			name := "patched-" + string(kind[12:15])
			if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": "v"}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			m, err := maps.Patch(ctx, name, kind, []byte(patch), metav1.PatchOptions{})
			if err != nil || len(m.Data) != 2 {
				t.Errorf("%s: %v, %v", kind, m.Data, err)
			}
		}
	})
	t.Run("status is written through its subresource alone", func(t *testing.T) {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, "t-worker", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n.Status.NodeInfo.KubeletVersion = "v9.9.9"
		n.Labels["x"] = "y"
		n, err = c.Client.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n.Status.NodeInfo.KubeletVersion != string(from) || n.Labels["x"] != "y" {
			t.Errorf("after update: kubelet %s, label %q", n.Status.NodeInfo.KubeletVersion, n.Labels["x"])
		}
	})
	t.Run("selectors", func(t *testing.T) {
		pods, err := c.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=t-worker", LabelSelector: "k8s-app=kube-proxy"})
		if err != nil || len(pods.Items) != 1 {
			t.Errorf("%d pods, %v; want the one kube-proxy of the node", len(pods.Items), err)
		}
		_, err = c.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.colour=red"})
		if want := "field label not supported: spec.colour"; err == nil || err.Error() != want {
			t.Errorf("unknown field: %v, want %s", err, want)
		}
	})
	t.Run("the dynamic client sees the same objects", func(t *testing.T) {
		list, err := c.Dynamic.Resource(resAPIServices).List(ctx, metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			t.Fatalf("APIServices: %d, %v", len(list.Items), err)
		}
		for _, as := range list.Items {
			conditions, _, _ := unstructured.NestedSlice(as.Object, "status", "conditions")
			if len(conditions) != 1 || conditions[0].(map[string]any)["status"] != "True" {
				t.Errorf("APIService %s has conditions %v", as.GetName(), conditions)
			}
		}
		u, err := c.Dynamic.Resource(resNodes).Get(ctx, "t-worker", metav1.GetOptions{})
		if err != nil || u.GetKind() != "Node" || u.GetAPIVersion() != "v1" {
			t.Errorf("node: %v, %v", u, err)
		}
		made := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "raw"}, "data": map[string]any{"k": "v"}}}
		if _, err := c.Dynamic.Resource(resConfigMaps).Namespace("default").Create(ctx, made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if m, err := maps.Get(ctx, "raw", metav1.GetOptions{}); err != nil || m.Data["k"] != "v" {
			t.Errorf("typed: %v, %v", m, err)
		}
	})
	t.Run("an unknown namespace", func(t *testing.T) {
		_, err := c.Client.CoreV1().ConfigMaps("nowhere").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{})
		if want := `namespaces "nowhere" not found`; err == nil || err.Error() != want {
			t.Errorf("create: %v, want %s", err, want)
		}
	})
	t.Run("a deleted namespace takes its content along", func(t *testing.T) {
		if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Client.CoreV1().ConfigMaps("gone").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Client.CoreV1().Namespaces().Delete(ctx, "gone", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the namespace is gone", func() error {
			_, err := c.Client.CoreV1().Namespaces().Get(ctx, "gone", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("still there: %w", err)
		})
		if _, err := c.Client.CoreV1().ConfigMaps("gone").Get(ctx, "m", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("its content: %v", err)
		}
	})
	t.Run("the DNS check pod succeeds with a message", func(t *testing.T) {
		msg, phase := runLookup(t, c, "kubernetes.default.svc.cluster.local")
		if phase != corev1.PodSucceeded || len(msg) < 40 || msg[:54] != "lookup kubernetes.default.svc.cluster.local: 10.96.0.1" {
			t.Errorf("pod %s: %q", phase, msg)
		}
		if msg, phase := runLookup(t, c, "nothing.default.svc.cluster.local"); phase != corev1.PodFailed || msg != "lookup nothing.default.svc.cluster.local: no such host" {
			t.Errorf("pod %s: %q", phase, msg)
		}
	})
	t.Run("etcd members", func(t *testing.T) {
		m, err := d.EtcdMembers(ctx, c)
		if err != nil || len(m) != 1 || !m[0].OK || m[0].Name != "t-control-plane" {
			t.Errorf("members %v, %v", m, err)
		}
	})
	t.Run("drivers refuse what is not theirs", func(t *testing.T) {
		err := d.UpgradeNode(ctx, c, "nobody", to)
		if want := `upgrade node nobody to v1.35.4: no node "nobody"; the simulated cluster has t-control-plane, t-worker`; err == nil || err.Error() != want {
			t.Errorf("unknown node: %v, want %s", err, want)
		}
		err = d.UpgradeControlPlane(ctx, c, "t-worker", to, true)
		if want := `upgrade control plane t-worker to v1.35.4: it is not a control plane`; err == nil || err.Error() != want {
			t.Errorf("worker: %v, want %s", err, want)
		}
	})
}

// runLookup runs the pod that checks DNS and returns its message and phase.
func runLookup(t *testing.T, c *cluster.Cluster, name string) (string, corev1.PodPhase) {
	t.Helper()
	ctx := t.Context()
	p, err := c.Client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "dns-"},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
			Name: "lookup", Image: CanaryImage, Args: []string{"lookup", "-timeout=2s", name}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lookup pod has ended", func() error {
		if p, err = c.Client.CoreV1().Pods("default").Get(ctx, p.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			return fmt.Errorf("phase %s", p.Status.Phase)
		}
		return nil
	})
	return p.Status.ContainerStatuses[0].State.Terminated.Message, p.Status.Phase
}

func TestInformersFollowThroughARestartOfTheAPIServer(t *testing.T) {
	d, c := newCluster(t, Options{Scale: 20}, spec(1, 1))
	ctx, cancel := context.WithCancel(t.Context())
	f := informers.NewSharedInformerFactory(c.Client, 0)
	nodes := f.Core().V1().Nodes()
	var versions atomic.Value
	versions.Store([]string{})
	if _, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, obj any) {
		n := obj.(*corev1.Node)
		if seen := versions.Load().([]string); n.Name == "t-worker" && !slices.Contains(seen, n.Status.NodeInfo.KubeletVersion) {
			versions.Store(append(slices.Clone(seen), n.Status.NodeInfo.KubeletVersion))
		}
	}}); err != nil {
		t.Fatal(err)
	}
	f.Start(ctx.Done())
	defer f.Shutdown()
	defer cancel()
	for kind, ok := range f.WaitForCacheSync(ctx.Done()) {
		if !ok {
			t.Fatalf("no sync of %v", kind)
		}
	}
	var refused atomic.Int64
	probing, stopProbing := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(probing)
		for {
			select {
			case <-stopProbing:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if _, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); errors.Is(err, syscall.ECONNREFUSED) {
				refused.Add(1)
			}
		}
	}()
	if err := d.UpgradeControlPlane(ctx, c, "t-control-plane", to, true); err != nil {
		t.Fatal(err)
	}
	close(stopProbing)
	<-probing
	if refused.Load() == 0 {
		t.Error("no call was refused while the only API server restarted")
	}
	if err := d.UpgradeNode(ctx, c, "t-worker", to); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the informer saw the new version", func() error {
		if seen := versions.Load().([]string); !slices.Contains(seen, string(to)) {
			return fmt.Errorf("saw %v", seen)
		}
		return nil
	})
}

func TestAPIServersAreRealListeners(t *testing.T) {
	_, c := newCluster(t, Options{}, spec(3, 1))
	if len(c.APIServers) != 4 || c.APIServers[0].Name != "api" || c.APIServers[3].Name != "t-control-plane3" {
		t.Fatalf("API servers %v, want api and three nodes", c.APIServers)
	}
	get := func(url string) (string, error) {
		resp, err := http.Get(url)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, b)
		}
		return string(b), err
	}
	for _, s := range c.APIServers {
		eventually(t, s.Name+" is ready", func() error { _, err := get(s.Config.Host + "/readyz"); return err })
		var ns corev1.Namespace
		body, err := get(s.Config.Host + "/api/v1/namespaces/default")
		if err == nil {
			err = json.Unmarshal([]byte(body), &ns)
		}
		if err != nil || ns.Name != "default" || ns.Kind != "Namespace" {
			t.Errorf("%s: namespace %+v, %v", s.Name, ns.ObjectMeta, err)
		}
		var v struct{ GitVersion string }
		body, err = get(s.Config.Host + "/version")
		if err == nil {
			err = json.Unmarshal([]byte(body), &v)
		}
		if err != nil || v.GitVersion != string(from) {
			t.Errorf("%s: version %q, %v", s.Name, v.GitVersion, err)
		}
	}
}

func TestCommonAddressSurvivesARollingUpgrade(t *testing.T) {
	d, c := newCluster(t, Options{Scale: 20}, spec(3, 1))
	ctx := t.Context()
	bad := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				bad <- n
				return
			case <-time.After(10 * time.Millisecond):
			}
			if _, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err != nil {
				n++
			}
		}
	}()
	for i, n := range []string{"t-control-plane", "t-control-plane2", "t-control-plane3"} {
		if err := d.UpgradeControlPlane(ctx, c, n, to, i == 0); err != nil {
			t.Fatal(err)
		}
		// Its own API server is new enough, whatever the others are.
		if err := d.UpgradeNode(ctx, c, n, to); err != nil {
			t.Fatal(err)
		}
		eventually(t, n+" is Ready at the target version", func() error {
			return expectNodes(t, c, map[string]string{n: "v1.35.4 true"})
		})
	}
	close(stop)
	if n := <-bad; n != 0 {
		t.Errorf("%d calls failed although two of three API servers were up", n)
	}
	leases, err := c.Client.CoordinationV1().Leases("kube-system").Get(ctx, "kube-scheduler", metav1.GetOptions{})
	if err != nil || leases.Spec.LeaseTransitions == nil || *leases.Spec.LeaseTransitions == 0 {
		t.Errorf("the scheduler's lease did not change hands: %+v, %v", leases.Spec, err)
	}
}
