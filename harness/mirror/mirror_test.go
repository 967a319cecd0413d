package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/golden"
)

func TestScenarioFiles(t *testing.T) {
	for _, c := range []struct {
		name, driver, to, node string
		cluster                func() (string, []runtime.Object)
		score                  float64
	}{
		{"eks-kind", scenarios.DriverKind, "v1.36.2", "i-00", eks, 0.39},
		{"eks-sim", scenarios.DriverSim, "1.35.1", "i-00", eks, 0.23},
		{"kubeadm-kind", scenarios.DriverKind, "", "w1", kubeadm, 0.89},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, objects := c.cluster()
			facts := read(t, c.node, v, objects)
			file, digest, err := facts.Encode()
			if err != nil {
				t.Fatal(err)
			}
			m, err := Make(facts, digest, Want{Name: "production", Driver: c.driver, To: c.to})
			if err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, c.name+".yaml", m.YAML())
			parsed, err := scenarios.Parse(c.name, m.YAML())
			if err != nil {
				t.Fatal(err)
			}
			want := m.Scenario
			want.Checks = parsed.Scenarios[0].Checks // derived from the network
			want.Thresholds = parsed.Scenarios[0].Thresholds
			if diff := cmp.Diff(want.Mirror, parsed.Scenarios[0].Mirror); diff != "" {
				t.Errorf("mirror (-made +parsed):\n%s", diff)
			}
			if diff := cmp.Diff(want.Workloads, parsed.Scenarios[0].Workloads); diff != "" {
				t.Errorf("workloads (-made +parsed):\n%s", diff)
			}
			if want.Cluster != parsed.Scenarios[0].Cluster || !cmp.Equal(want.Versions, parsed.Scenarios[0].Versions) {
				t.Errorf("made %+v %+v, parsed %+v %+v", want.Cluster, want.Versions, parsed.Scenarios[0].Cluster, parsed.Scenarios[0].Versions)
			}
			if m.Fidelity.Score != c.score {
				t.Errorf("fidelity %v, want %v", m.Fidelity.Score, c.score)
			}
			back, err := Decode(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(facts, back); diff != "" {
				t.Errorf("facts file (-written +read):\n%s", diff)
			}
		})
	}
}

// TestOnlyReads holds that nothing but get and list is asked of a cluster.
func TestOnlyReads(t *testing.T) {
	v, objects := eks()
	c := client(v, objects...)
	if _, err := Read(t.Context(), Options{Client: c, Get: pages(nil), Now: now}); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, a := range c.Actions() {
		asked++
		if verb := a.GetVerb(); verb != "get" && verb != "list" {
			t.Errorf("%s %s", verb, a.GetResource().Resource)
		}
		if r := a.GetResource().Resource; r == "secrets" {
			t.Errorf("%s of secrets", a.GetVerb())
		}
	}
	if asked < 12 {
		t.Errorf("only %d requests were seen: does the fake record them?", asked)
	}
}

// wire serves nodes and the version, and 404 for all else; it keeps the methods.
type wire struct{ asked map[string]int }

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.asked[req.Method]++
	answer := func(code int, v any) (*http.Response, error) {
		b, err := json.Marshal(v)
		return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(b)), Request: req}, err
	}
	switch req.URL.Path {
	case "/version":
		return answer(http.StatusOK, map[string]string{"gitVersion": "v1.34.4"})
	case "/api/v1/nodes":
		// Two pages: what is asked for must be put together.
		list := corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, Items: []corev1.Node{*node(nodeSpec{name: "a", kubelet: "v1.34.4", plane: true})}}
		if req.URL.Query().Get("continue") == "" {
			list.Continue = "more"
		} else {
			list.Items[0].Name = "b"
		}
		return answer(http.StatusOK, list)
	}
	return answer(http.StatusNotFound, apierrors.NewNotFound(schema.GroupResource{Resource: "things"}, "x").Status())
}

// TestOnlyGetsLeaveTheProcess reads through client-go itself, over a transport
// that counts what is asked and below the one that refuses all but reading.
func TestOnlyGetsLeaveTheProcess(t *testing.T) {
	w := &wire{asked: map[string]int{}}
	cfg := &rest.Config{Host: "http://production.invalid", Transport: w, QPS: -1}
	cfg.Wrap(ReadOnly)
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := Read(t.Context(), Options{Client: c, Get: func(ctx context.Context, path string) ([]byte, error) {
		return c.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.asked) != 1 || w.asked[http.MethodGet] < 15 {
		t.Errorf("asked %v, want GET alone", w.asked)
	}
	if got := facts.Get(FactControlPlanes).Value; got != "2" {
		t.Errorf("control planes %q, want those of both pages", got)
	}
	if got := facts.Get(FactNetwork); got.Certainty != Unknown || got.Evidence != "list the DaemonSets: there is none" {
		t.Errorf("network %+v", got)
	}
	before := w.asked[http.MethodGet]
	_, err = c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "POST /api/v1/namespaces was refused: the cluster that is mirrored is only read") {
		t.Errorf("create: %v", err)
	}
	if err := c.CoreV1().Namespaces().Delete(t.Context(), "x", metav1.DeleteOptions{}); err == nil {
		t.Error("delete went through")
	}
	if len(w.asked) != 1 || w.asked[http.MethodGet] != before {
		t.Errorf("asked %v after what was refused", w.asked)
	}
}

// TestForbiddenIsUnknown goes on without what this user may not read.
func TestForbiddenIsUnknown(t *testing.T) {
	v, objects := eks()
	c := client(v, objects...)
	for _, resource := range []string{"daemonsets", "poddisruptionbudgets", "clusterroles", "services", "csidrivers", "configmaps", "pods"} {
		c.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no"))
		})
	}
	facts, err := Read(t.Context(), Options{Client: c, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		FactNetwork:       "list the DaemonSets: this user may not read it",
		FactBudgets:       "list the PodDisruptionBudgets: this user may not read it",
		FactRBAC:          "list the ClusterRoles: this user may not read it",
		FactLoadBalancers: "list the Services: this user may not read it",
		FactStorage:       "list the CSIDrivers: this user may not read it",
		FactEtcd:          "list the pods of kube-system: this user may not read it",
		FactKubeProxy:     "neither a ConfigMap nor, listing the pods of kube-system, a pod: this user may not read it",
		FactKubelet:       "configz cannot be fetched",
		FactAPIGates:      "/metrics cannot be fetched",
	} {
		if got := facts.Get(name); got.Certainty != Unknown || got.Value != "" || got.Evidence != want {
			t.Errorf("%s: %+v, want unknown: %s", name, got, want)
		}
	}
	if _, err := Make(facts, "sha256:"+strings.Repeat("0", 64), Want{Name: "x", Driver: "kind"}); err != nil {
		t.Error(err)
	}
}

func TestReadNeedsVersionAndNodes(t *testing.T) {
	if _, err := Read(t.Context(), Options{Client: client("v1.34.4"), Now: now}); err == nil || err.Error() != "the cluster has no nodes: there is nothing to mirror" {
		t.Errorf("no nodes: %v", err)
	}
	c := client("v1.34.4")
	c.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("gone") })
	if _, err := Read(t.Context(), Options{Client: c, Now: now}); err == nil || err.Error() != "list the nodes: gone; the mirror needs to read at least these" {
		t.Errorf("unreadable nodes: %v", err)
	}
}

type source struct {
	facts []Fact
	err   error
}

func (source) Name() string                            { return "the state store" }
func (s source) Facts(context.Context) ([]Fact, error) { return s.facts, s.err }

func TestSourcesFillWhatIsNotObserved(t *testing.T) {
	v, objects := eks()
	o := Options{Client: client(v, objects...), Now: now, Sources: []Source{source{facts: []Fact{
		{Name: FactControlPlanes, Value: "3", Certainty: Observed, Evidence: "the cluster's specification"},
		{Name: FactWorkers, Value: "99", Certainty: Observed, Evidence: "the cluster's specification"},
		{Name: "vpc", Value: "10.0.0.0/16", Certainty: Observed, Evidence: "the cluster's specification"},
		{Name: FactAPIGates, Value: "", Certainty: Unknown, Evidence: "not there"},
	}}}}
	facts, err := Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{FactControlPlanes: "3", FactWorkers: "6", "vpc": "10.0.0.0/16"} {
		if got := facts.Get(name).Value; got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	if got := facts.Get(FactAPIGates).Evidence; got != "/metrics cannot be fetched" {
		t.Errorf("feature gates: %s", got)
	}
	o.Sources = []Source{source{err: errors.New("no such bucket")}}
	if _, err := Read(t.Context(), o); err == nil || err.Error() != "read the state store: no such bucket" {
		t.Errorf("a source that failed: %v", err)
	}
}
