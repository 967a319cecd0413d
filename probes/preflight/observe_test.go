package preflight

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
)

// source is a cluster at v1.34.4 that holds the objects.
func source(objects ...runtime.Object) (Source, *fake.Clientset, *fakedynamic.FakeDynamicClient) {
	client := fake.NewClientset(objects...)
	client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.34.4"}
	service := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1.apps"}}}
	dyn := fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{apiServiceResource: "APIServiceList"}, service)
	return Source{Client: client, Dynamic: dyn}, client, dyn
}

func TestLook(t *testing.T) {
	w, bare, b := node("w1"), pod("shop", "web-1", "w1"), budget("web", maxUnavailable("0"))
	w.Status.NodeInfo.KubeletVersion = "v1.31.0"
	src, client, dyn := source(&w, &bare, &b)
	got, err := Look(t.Context(), src, "v1.35.4")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range got {
		for _, f := range r.Findings {
			ids = append(ids, f.Severity+" "+f.ID+" "+f.Object)
		}
	}
	if diff := cmp.Diff([]string{
		"block version-skew cluster", "info runtime-unknown node/w1", "warn network-unknown cluster", "warn api-service-unavailable apiservice/v1.apps", "block budget-allows-none poddisruptionbudget/shop/web", "warn bare-pod pod/shop/web-1", "warn no-room node/w1",
	}, ids); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	readOnly(t, client.Actions(), dyn.Actions())
}

// readOnly fails for every call that could change something.
func readOnly(t *testing.T, made ...[]kubetesting.Action) {
	t.Helper()
	n := 0
	for _, actions := range made {
		for _, a := range actions {
			n++
			if v := a.GetVerb(); v != "get" && v != "list" && v != "watch" {
				t.Errorf("%s %s: preflight may only read", v, a.GetResource().Resource)
			}
		}
	}
	if n == 0 {
		t.Error("no call was seen")
	}
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New(`User "ci" cannot list resource`))
}

func TestWhatMayNotBeReadCostsOnlyItsChecks(t *testing.T) {
	tests := map[string]struct {
		resource Resource
		why      string
		checks   []string
	}{
		"nodes":                           {Nodes, `forbidden: it takes the verb "list" on nodes`, nil},
		"deployments":                     {Workloads, `forbidden: it takes the verb "list" on deployments.apps`, []string{"the network plug-in works with the target", "workloads survive the loss of a node"}},
		"statefulsets":                    {Workloads, `forbidden: it takes the verb "list" on statefulsets.apps`, nil},
		"poddisruptionbudgets":            {Budgets, `forbidden: it takes the verb "list" on poddisruptionbudgets.policy`, []string{"disruption budgets allow evictions", "no pod has two disruption budgets", "workloads survive the loss of a node"}},
		"endpointslices":                  {Endpoints, `forbidden: it takes the verb "list" on endpointslices.discovery.k8s.io`, nil},
		"validatingwebhookconfigurations": {Webhooks, `forbidden: it takes the verb "list" on validatingwebhookconfigurations.admissionregistration.k8s.io`, nil},
		"mutatingwebhookconfigurations":   {Webhooks, `forbidden: it takes the verb "list" on mutatingwebhookconfigurations.admissionregistration.k8s.io`, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src, client, _ := source()
			client.PrependReactor("list", name, func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden(name) })
			s, err := Observe(t.Context(), src)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.NotRead[tt.resource]; got != tt.why {
				t.Errorf("NotRead = %q, want %q", got, tt.why)
			}
			var not []string
			for _, r := range Examine(s) {
				if r.NotChecked == tt.why {
					not = append(not, r.Check)
				}
			}
			if len(not) == 0 {
				t.Error("no check was left out")
			}
			if tt.checks != nil {
				if diff := cmp.Diff(tt.checks, not); diff != "" {
					t.Errorf("checks left out (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestLookThatCannot(t *testing.T) {
	src, client, _ := source()
	client.PrependReactor("list", "*", func(a kubetesting.Action) (bool, runtime.Object, error) {
		return true, nil, forbidden(a.GetResource().Resource)
	})
	_, err := Observe(t.Context(), src)
	const want = `preflight: there is nothing to look at: forbidden: it takes the verb "list" on nodes; forbidden: it takes the verb "list" on pods`
	if err == nil || err.Error() != want {
		t.Errorf("Observe = %v, want %s", err, want)
	}
	src, client, _ = source()
	client.PrependReactor("list", "pods", func(kubetesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("dial tcp: connection refused")
	})
	if _, err := Look(t.Context(), src, ""); err == nil || err.Error() != "preflight: list pods: dial tcp: connection refused" {
		t.Errorf("Look = %v", err)
	}
}

// TestSnapshotHoldsNoSecrets plants a secret wherever people put them.
func TestSnapshotHoldsNoSecrets(t *testing.T) {
	const planted = "hunter2"
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"},
			Annotations:   map[string]string{"kubectl.kubernetes.io/last-applied-configuration": planted, "token": planted},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: planted}}, Finalizers: []string{planted}}
	}
	container := corev1.Container{Name: "main", Image: "web:1", Command: []string{"sh", "-c", planted}, Args: []string{"--password=" + planted},
		Env: []corev1.EnvVar{{Name: "PASSWORD", Value: planted}}, LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{planted}}}}}
	p := corev1.Pod{ObjectMeta: meta("web-1")}
	p.Spec.Containers, p.Spec.InitContainers = []corev1.Container{container}, []corev1.Container{container}
	p.Spec.Volumes = []corev1.Volume{{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "x", VolumeAttributes: map[string]string{"key": planted}}}},
		{Name: "own", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{ObjectMeta: meta("x")}}}}}
	p.Spec.NodeName = "w1"
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Message: planted, ContainerStatuses: []corev1.ContainerStatus{{Name: "main",
		State:                corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", Message: planted}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: planted}}}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Message: planted}}}
	template := corev1.PodTemplateSpec{ObjectMeta: meta("x"), Spec: p.Spec}
	one := int32(1)
	n := node("w1")
	n.ObjectMeta = meta("w1")
	n.Namespace = ""
	b := budget("web", maxUnavailable("1"))
	b.ObjectMeta = meta("web")
	url := "https://" + planted + "@example.org/hook?token=" + planted
	fail := admissionv1.Fail
	src, client, _ := source(&n, &p, &b,
		&appsv1.Deployment{ObjectMeta: meta("web"), Spec: appsv1.DeploymentSpec{Replicas: &one, Selector: selecting("web"), Template: template}},
		&appsv1.ReplicaSet{ObjectMeta: meta("web-1"), Spec: appsv1.ReplicaSetSpec{Replicas: &one, Selector: selecting("web"), Template: template}},
		&appsv1.StatefulSet{ObjectMeta: meta("db"), Spec: appsv1.StatefulSetSpec{Replicas: &one, Selector: selecting("web"), Template: template}},
		&appsv1.DaemonSet{ObjectMeta: meta("agent"), Spec: appsv1.DaemonSetSpec{Selector: selecting("web"), Template: template}},
		&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "v", Annotations: map[string]string{"a": planted}}, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "v.io", FailurePolicy: &fail, ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: []byte(planted)}, MatchConditions: []admissionv1.MatchCondition{{Expression: planted}}}}},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "m", Annotations: map[string]string{"a": planted}}, Webhooks: []admissionv1.MutatingWebhook{{
			Name: "m.io", ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: []byte(planted)}}}},
		&corev1.Secret{ObjectMeta: meta("password"), StringData: map[string]string{"password": planted}, Data: map[string][]byte{"password": []byte(planted)}},
		&corev1.ConfigMap{ObjectMeta: meta("settings"), Data: map[string]string{"password": planted}},
	)
	s, err := Observe(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	readOnly(t, client.Actions())
	var out bytes.Buffer
	if err := WriteSnapshot(&out, s, false); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{planted, "aHVudGVyMg"} { // the second as base64
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("the snapshot holds %q: …%s…", secret, out.String()[max(0, i-200):min(out.Len(), i+50)])
		}
	}
	if !strings.Contains(out.String(), `"web:1"`) || len(s.Pods) != 1 || len(s.DaemonSets) != 1 || len(s.ReplicaSets) != 1 {
		t.Errorf("the snapshot lacks what it should hold:\n%s", out.String())
	}
	// Read again it yields the same findings.
	for _, compress := range []bool{false, true} {
		out.Reset()
		if err := WriteSnapshot(&out, s, compress); err != nil {
			t.Fatal(err)
		}
		again, err := ReadSnapshot(&out)
		if err != nil {
			t.Fatal(err)
		}
		s.Target, again.Target = "v1.35.4", "v1.35.4"
		if diff := cmp.Diff(Run(s), Run(again)); diff != "" {
			t.Errorf("compress %t: findings of the snapshot (-of the cluster +again):\n%s", compress, diff)
		}
	}
}

func TestReadSnapshotRefuses(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"format":1,"taken":"2026-01-02T03:04:05Z","versions":{},"colour":"red"}`)
	_ = z.Close()
	tests := []struct{ name, in, want string }{
		{"nothing", "", "read snapshot: not a document of JSON as 'rehearse preflight --save' writes it: unexpected end of JSON input"},
		{"another format", `{"format": 2}`, "read snapshot: its format is 2, this build reads 1; take it again, or read it with the version of rehearse that wrote it"},
		{"something else", `{"kind": "List"}`, "read snapshot: its format is 0, this build reads 1; take it again, or read it with the version of rehearse that wrote it"},
		{"an unknown key", zipped.String(), `read snapshot: json: unknown field "colour"`},
		{"two documents", `{"format":1}{"format":1}`, "read snapshot: not a document of JSON as 'rehearse preflight --save' writes it: invalid character '{' after top-level value"},
		{"torn", zipped.String()[:20], "read snapshot: unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ReadSnapshot(strings.NewReader(tt.in)); err == nil || err.Error() != tt.want {
				t.Errorf("ReadSnapshot = %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzReadSnapshot(f *testing.F) {
	f.Add([]byte(`{"format":1,"pods":[{"metadata":{"name":"a"}}]}`))
	f.Add([]byte(`{"format":1,"nodes":[{"status":{"allocatable":{"cpu":"x"}}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSnapshot(bytes.NewReader(data))
		if err != nil {
			return
		}
		s.Target = "v1.35.4"
		for _, r := range Examine(s) {
			for _, found := range r.Findings {
				if _, err := json.Marshal(found); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
