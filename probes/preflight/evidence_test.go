package preflight

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakemetadata "k8s.io/client-go/metadata/fake"
	kubetesting "k8s.io/client-go/testing"
)

func helmSecret(t *testing.T, namespace, name, manifest string) *corev1.Secret {
	t.Helper()
	release, err := json.Marshal(map[string]any{"name": name, "manifest": manifest, "config": map[string]any{"password": "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(release); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sh.helm.release.v1." + name + ".v1", Labels: map[string]string{"owner": "helm", "name": name, "status": "deployed"}},
		Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(z.Bytes()))}}
}

const manifests = `---
# Source: shop/templates/old.yaml
apiVersion: autoscaling/v2beta2
kind: HorizontalPodAutoscaler
metadata: {name: web}
---
apiVersion: v1
kind: Secret
stringData: {password: hunter2}
`

// TestEvidenceOfAPIs looks at a cluster in which each sort of evidence is.
func TestEvidenceOfAPIs(t *testing.T) {
	src, client, _ := source(helmSecret(t, "shop", "store", manifests), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other"}, Data: map[string][]byte{"a": []byte("hunter2")}})
	client.Discovery().(*fakediscovery.FakeDiscovery).Resources = []*metav1.APIResourceList{
		{GroupVersion: "storage.k8s.io/v1", APIResources: []metav1.APIResource{{Name: "volumeattributesclasses", Kind: "VolumeAttributesClass", Verbs: metav1.Verbs{"list"}}, {Name: "storageclasses", Kind: "StorageClass", Verbs: metav1.Verbs{"list"}}}},
		{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "secrets", Kind: "Secret", Verbs: metav1.Verbs{"list"}}}},
	}
	scheme := fakemetadata.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	gold := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "storage.k8s.io/v1", Kind: "VolumeAttributesClass"}, ObjectMeta: metav1.ObjectMeta{Name: "gold",
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "terraform", APIVersion: "storage.k8s.io/v1alpha1"}, {Manager: "kubectl", APIVersion: "storage.k8s.io/v1"}},
		Annotations:   map[string]string{lastApplied: `{"apiVersion":"storage.k8s.io/v1beta1","kind":"VolumeAttributesClass","parameters":{"password":"hunter2"}}`}}}
	meta := fakemetadata.NewSimpleMetadataClient(scheme, gold)
	src.Metadata = meta
	src.Raw = func(_ context.Context, path string) ([]byte, error) {
		if path != "/metrics" {
			return nil, errors.New("not asked here")
		}
		return []byte(`# TYPE apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="storage.k8s.io",removed_release="1.35",resource="volumeattributesclasses",subresource="",version="v1alpha1"} 1
apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",subresource="",version="v1"} 1
`), nil
	}
	s, err := Observe(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	want := []APIUse{
		{"autoscaling", "v2beta2", "HorizontalPodAutoscaler", EvidenceHelm, "shop/store"},
		{"storage.k8s.io", "v1alpha1", "VolumeAttributesClass", EvidenceManaged, "volumeattributesclass/gold by terraform"},
		{"storage.k8s.io", "v1alpha1", "VolumeAttributesClass", EvidenceRequested, ""},
		{"storage.k8s.io", "v1beta1", "VolumeAttributesClass", EvidenceApplied, "volumeattributesclass/gold"},
	}
	if diff := cmp.Diff(want, s.APIUses); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	readOnly(t, client.Actions(), meta.Actions())
	var out bytes.Buffer
	if err := WriteSnapshot(&out, s, false); err != nil || strings.Contains(out.String(), "hunter2") {
		t.Errorf("the snapshot holds a secret, or %v", err)
	}
	s.Target = "v1.35.4"
	var got []string
	for _, r := range Examine(s) {
		if strings.HasPrefix(r.Check, "no API is used") {
			got = append(got, findings(r.Findings)...)
		}
	}
	if diff := cmp.Diff([]string{
		"block api-removed api/storage.k8s.io/v1alpha1/VolumeAttributesClass: VolumeAttributesClass of storage.k8s.io/v1alpha1 is served no more from v1.35 on: clients have asked for it since the API server started. | Move to storage.k8s.io/v1, in manifests, Helm charts and clients alike.",
		"warn api-removed api/storage.k8s.io/v1alpha1/VolumeAttributesClass: VolumeAttributesClass of storage.k8s.io/v1alpha1 is served no more from v1.35 on: last written with it: volumeattributesclass/gold by terraform. | Move to storage.k8s.io/v1, in manifests, Helm charts and clients alike.",
		"info api-deprecated api/storage.k8s.io/v1beta1/VolumeAttributesClass: VolumeAttributesClass of storage.k8s.io/v1beta1 will be served no more from v1.37 on: last applied with it: volumeattributesclass/gold. | Move to storage.k8s.io/v1, in manifests, Helm charts and clients alike.",
		"warn api-removed api/autoscaling/v2beta2/HorizontalPodAutoscaler: HorizontalPodAutoscaler of autoscaling/v2beta2 is served no more since v1.26, and manifests still have it: in the manifest of Helm release shop/store. Applying them, or upgrading the Helm release, fails. | Move to autoscaling/v2, in manifests, Helm charts and clients alike.",
	}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestEvidenceThatMayNotBeRead(t *testing.T) {
	src, client, _ := source(func() runtime.Object { n := node("w1"); return &n }())
	client.PrependReactor("list", "secrets", func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden("secrets") })
	src.Raw = func(context.Context, string) ([]byte, error) { return nil, forbidden("nodes") }
	s, err := Observe(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	want := map[Resource]string{
		Kubelets:     `forbidden: it takes the verb "get" on nodes/proxy`,
		Requests:     `forbidden: it takes the verb "get" on the non-resource URL /metrics`,
		Objects:      notOffered,
		HelmReleases: `forbidden: it takes the verb "list" on secrets`,
		Hosts:        "it takes a privileged pod on each node: ask for it with --check-pod",
	}
	if diff := cmp.Diff(want, s.NotRead); diff != "" {
		t.Errorf("NotRead (-want +got):\n%s", diff)
	}
}

func TestKubeletsAndComponents(t *testing.T) {
	cp, w := node("cp1", controlPlane), node("w1")
	api := pod("kube-system", "kube-apiserver-cp1", "cp1", func(p *corev1.Pod) {
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		p.Spec.Containers[0].Command = []string{"kube-apiserver", "--advertise-address=10.0.0.1", "--feature-gates=A=true,B=false", "--token=hunter2"}
	})
	src, _, _ := source(&cp, &w, &api)
	src.Raw = func(_ context.Context, path string) ([]byte, error) {
		switch path {
		case "/api/v1/nodes/cp1/proxy/configz":
			return []byte(`{"kubeletconfig":{"failSwapOn":false,"failCgroupV1":false,"protectKernelDefaults":true,"featureGates":{"X":true},"staticPodPath":"/x"}}`), nil
		case "/api/v1/nodes/cp1/proxy/metrics":
			return []byte("# HELP kubelet_cgroup_version\nkubelet_cgroup_version 1\n"), nil
		case "/metrics":
			return nil, nil
		}
		return nil, errors.New("dial tcp 10.0.0.2:10250: i/o timeout")
	}
	s, err := Observe(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	if diff := cmp.Diff([]Kubelet{{Node: "cp1", ProtectKernelDefaults: true, FailCgroupV1: &no, FeatureGates: map[string]bool{"X": true}, Cgroup: 1},
		{Node: "w1", Problem: "dial tcp 10.0.0.2:10250: i/o timeout"}}, s.Kubelets); diff != "" {
		t.Errorf("kubelets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Component{{Name: "kube-apiserver", Node: "cp1", Flags: []string{"advertise-address", "feature-gates", "token"}, FeatureGates: []string{"A", "B"}}}, s.Components); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
}

// checkPods is a cluster of two nodes whose check pods end as phase says.
func checkPods(phase corev1.PodPhase, logs string) (Source, func() []string) {
	w1, w2 := node("w1"), node("w2")
	src, client, _ := source(&w1, &w2)
	client.PrependReactor("create", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
		a.(kubetesting.CreateAction).GetObject().(*corev1.Pod).Status.Phase = phase
		return false, nil, nil
	})
	src.CheckPod = &CheckPod{Image: "busybox:1.37", Namespace: "kube-system", Timeout: 20 * time.Second, Logs: func(_ context.Context, ns, pod string) ([]byte, error) { return []byte(logs), nil }}
	return src, func() []string {
		l, err := client.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return []string{err.Error()}
		}
		var left []string
		for _, p := range l.Items {
			left = append(left, p.Name)
		}
		return left
	}
}

func TestCheckPods(t *testing.T) {
	src, left := checkPods(corev1.PodSucceeded, "service.kubelet=active\nservice.containerd=active\nfailed=chronyd.service\ntime=no\nkernel.net.ipv4.ip_forward=1\ncgroup=2\nkubelet=ok\nflag=config\nflag=bootstrap-kubeconfig\ndone=yes\n")
	s, err := Observe(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	var want []Host
	for _, n := range []string{"w1", "w2"} {
		want = append(want, Host{Node: n, Services: map[string]string{"kubelet": "active", "containerd": "active"}, Failed: []string{"chronyd.service"}, TimeSynchronised: "no",
			KubeletHealth: "ok", Kernel: map[string]string{"net.ipv4.ip_forward": "1"}, KubeletFlags: []string{"bootstrap-kubeconfig", "config"}, Cgroup: 2})
	}
	if diff := cmp.Diff(want, s.Hosts); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if l := left(); len(l) > 0 {
		t.Errorf("left behind: %v", l)
	}
	src, _ = checkPods(corev1.PodFailed, "chroot: failed to run command '/bin/sh'\n")
	if s, err = Observe(t.Context(), src); err != nil || s.Hosts[0].Problem != "the check pod ended early: chroot: failed to run command '/bin/sh'" {
		t.Errorf("hosts %+v, %v", s.Hosts, err)
	}
}

func TestCheckPodsAreRemovedOnInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, left := checkPods(corev1.PodPending, "")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(5 * time.Second)
			cancel(errors.New("interrupted"))
		}()
		_, err := Observe(ctx, src)
		if err == nil || err.Error() != "preflight: look at the machines under the nodes: interrupted" {
			t.Errorf("Observe = %v", err)
		}
		if l := left(); len(l) > 0 {
			t.Errorf("left behind: %v", l)
		}
	})
}

func TestCheckPodThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, left := checkPods(corev1.PodPending, "")
		s, err := Observe(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := s.Hosts[0].Problem, "the check pod is Pending: not done after 20s"; got != want {
			t.Errorf("problem %q, want %q", got, want)
		}
		if l := left(); len(l) > 0 {
			t.Errorf("left behind: %v", l)
		}
	})
}

func TestHelmReleasesThatCannotBeRead(t *testing.T) {
	for in, want := range map[string]string{
		"%%%": "illegal base64 data at input byte 0",
		base64.StdEncoding.EncodeToString([]byte("no json")): "not the release of a Helm that is known: invalid character 'o' in literal null (expecting 'u')",
	} {
		if _, err := helmManifest([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("helmManifest(%q) = %v, want %s", in, err, want)
		}
	}
	if _, err := helmManifest([]byte(base64.StdEncoding.EncodeToString([]byte("\x1f\x8b\x08torn")))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("helmManifest of a torn one = %v", err)
	}
}
