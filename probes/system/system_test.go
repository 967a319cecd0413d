package system

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func apiService(name, status string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": name},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": status, "reason": "MissingEndpoints", "message": "no endpoints"}}},
	}}
}

func dynamicClient(objs ...runtime.Object) *fakedynamic.FakeDynamicClient {
	return fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{apiServiceResource: "APIServiceList"}, objs...)
}

func cluster() *fake.Clientset {
	cp, w := node("cp-1", true), node("w1", false, notReady, func(n *corev1.Node) { n.Spec.Unschedulable = true })
	api := static("kube-apiserver", "cp-1", "v1.35.4")
	proxyCP := pod("kube-system", "kube-proxy-a", "cp-1", "registry.k8s.io/kube-proxy:v1.35.4", label("k8s-app", "kube-proxy"))
	proxyW := pod("kube-system", "kube-proxy-b", "w1", "registry.k8s.io/kube-proxy:v1.34.4", label("k8s-app", "kube-proxy"))
	broken := pod("kube-flannel", "kube-flannel-x", "w1", "flannel:v0.26.7", crashing)
	canary := pod("rehearse", "canary-1", "w1", "canary:v1", label("app.kubernetes.io/name", "canary"))
	other := pod("rehearse", "dns-lookup-1", "w1", "canary:v1")
	proxy, flannel := daemonSet("kube-system", "kube-proxy", 2, 2), daemonSet("kube-flannel", "kube-flannel-ds", 2, 1)
	client := fake.NewClientset(&cp, &w, &api, &proxyCP, &proxyW, &broken, &canary, &other, &proxy, &flannel)
	client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.35.4"}
	return client
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := timeline.NewClock(time.Now())
		time.Sleep(time.Minute)
		got, err := Snapshot(t.Context(), cluster(), dynamicClient(apiService("v1.apps", "True"), apiService("v1beta1.metrics.k8s.io", "False")), Options{
			Clock: clock, Components: []string{"kube-apiserver", "etcd"}, CanaryNamespace: "rehearse", CanarySelector: "app.kubernetes.io/name=canary",
			Etcd: func(context.Context) ([]record.Named, error) { return []record.Named{{Name: "cp-1", OK: true}}, nil },
			Lookup: func(context.Context) (record.Named, error) {
				return record.Named{Name: LookupName, OK: true, Detail: "10.96.0.1"}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "snapshot", got, record.Snapshot{
			T: int64(time.Minute), ServerVersion: "v1.35.4", Network: "flannel",
			Nodes: []record.Node{
				{Name: "cp-1", ControlPlane: true, KubeletVersion: "v1.35.4", KubeProxyVersion: "v1.35.4", Runtime: "containerd://2.3.7", OSImage: "Debian", Kernel: "6.12", Ready: true, BootID: "boot"},
				{Name: "w1", KubeletVersion: "v1.35.4", KubeProxyVersion: "v1.34.4", Runtime: "containerd://2.3.7", OSImage: "Debian", Kernel: "6.12", Unschedulable: true, BootID: "boot"},
			},
			Components: []record.Component{
				{Name: "kube-apiserver", Kind: "Static", Present: true, Desired: 1, Ready: 1, Instances: []record.PodState{
					{Pod: "kube-system/kube-apiserver-cp-1", Node: "cp-1", Image: "registry.k8s.io/kube-apiserver:v1.35.4", Version: "v1.35.4", Phase: "Running", Ready: true}}},
				{Name: "etcd", Members: []record.Named{{Name: "cp-1", OK: true}},
					Problem: "No Deployment, DaemonSet or static pod called etcd or etcd-server or etcd-manager-main was found in the system's namespaces."},
			},
			APIServices: []record.Named{{Name: "v1.apps", OK: true}, {Name: "v1beta1.metrics.k8s.io", Detail: "MissingEndpoints: no endpoints"}},
			DNSLookup:   record.Named{Name: LookupName, OK: true, Detail: "10.96.0.1"},
			Lingering: []record.PodState{{Pod: "kube-flannel/kube-flannel-x", Node: "w1", Image: "flannel:v0.26.7", Version: "v0.26.7", Phase: "Running",
				Restarts: 7, Reason: "CrashLoopBackOff"}},
			Canary: []record.PodState{{Pod: "rehearse/canary-1", Node: "w1", Image: "canary:v1", Version: "v1", Phase: "Running", Ready: true}},
		})
	})
}

// Right after an API server restarted it may answer Forbidden for a moment.
func TestSnapshotRepeatsWhatFailsForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := cluster()
		begin := time.Now()
		client.PrependReactor("list", "daemonsets", func(kubetesting.Action) (bool, runtime.Object, error) {
			if time.Since(begin) < 10*time.Second {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "daemonsets"}, "", errors.New("RBAC: not ready"))
			}
			return false, nil, nil
		})
		got, err := Snapshot(t.Context(), client, dynamicClient(), Options{Clock: timeline.NewClock(begin)})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "network", got.Network, "flannel")
	})
}

func TestSnapshotTellsWhatItCouldNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := cluster()
		client.PrependReactor("list", "nodes", func(kubetesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
		got, err := Snapshot(t.Context(), client, dynamicClient(), Options{Clock: timeline.NewClock(time.Now()), Components: []string{"etcd"},
			Etcd: func(context.Context) ([]record.Named, error) { return nil, errors.New("etcdctl: exit status 1") }})
		want := "snapshot of the cluster: look at nodes: connection refused\nlook at etcd's members: etcdctl: exit status 1"
		if err == nil || err.Error() != want {
			t.Errorf("error %v\nwant %s", err, want)
		}
		equal(t, "version, seen nevertheless", got.ServerVersion, "v1.35.4")
	})
}

// With the API gone for good a snapshot must not try each call for its full
// patience in turn.
func TestSnapshotGivesUpAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := cluster()
		client.PrependReactor("*", "*", func(kubetesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
		begin := time.Now()
		if _, err := Snapshot(t.Context(), client, dynamicClient(), Options{Clock: timeline.NewClock(begin)}); err == nil {
			t.Error("a snapshot without any answer is no error")
		}
		if took := time.Since(begin); took > overallPatience {
			t.Errorf("took %v, want at most %v", took, overallPatience)
		}
	})
}

func TestLookupByPod(t *testing.T) {
	ends := func(phase corev1.PodPhase, code int32, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}}}}
	}
	tests := []struct {
		name    string
		status  corev1.PodStatus
		want    record.Named
		wantErr string
	}{
		{"resolved", ends(corev1.PodSucceeded, 0, "lookup kubernetes: 10.96.0.1 in 2ms\n"), record.Named{Name: LookupName, OK: true, Detail: "lookup kubernetes: 10.96.0.1 in 2ms"}, ""},
		{"not resolved", ends(corev1.PodFailed, 1, "lookup kubernetes: no such host"), record.Named{Name: LookupName, Detail: "lookup kubernetes: no such host"}, ""},
		{"silent", ends(corev1.PodFailed, 2, ""), record.Named{Name: LookupName, Detail: "the lookup ended with exit code 2 and said nothing"}, ""},
		{"no image", corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}}}},
			record.Named{Name: LookupName}, "look at DNS: pod rehearse/NAME did not finish within 1m30s: Pending (ErrImagePull: not found)"},
		{"no room", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available"}}},
			record.Named{Name: LookupName}, "look at DNS: pod rehearse/NAME did not finish within 1m30s: Pending (Unschedulable: 0/2 nodes are available)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset()
				var made *corev1.Pod
				namespaces := 0
				client.PrependReactor("create", "namespaces", func(kubetesting.Action) (bool, runtime.Object, error) { namespaces++; return false, nil, nil })
				client.PrependReactor("create", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
					if namespaces == 0 {
						return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "rehearse")
					}
					made = a.(kubetesting.CreateAction).GetObject().(*corev1.Pod).DeepCopy()
					return false, nil, nil
				})
				client.PrependReactor("get", "pods", func(kubetesting.Action) (bool, runtime.Object, error) {
					p := made.DeepCopy()
					p.Status = tt.status
					return true, p, nil
				})
				got, err := LookupByPod(client, "rehearse", "canary:v1")(t.Context())
				equal(t, "result", got, tt.want)
				text := ""
				if err != nil {
					text = err.Error()
				}
				want := tt.wantErr
				if want != "" {
					want = "look at DNS: pod rehearse/" + made.Name + want[len("look at DNS: pod rehearse/NAME"):]
				}
				equal(t, "error", text, want)
				equal(t, "arguments", made.Spec.Containers[0].Args, []string{"lookup", "-timeout", "15s", LookupName})
				left, err := client.Tracker().List(corev1.SchemeGroupVersion.WithResource("pods"), corev1.SchemeGroupVersion.WithKind("Pod"), "rehearse")
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "pods left behind", len(left.(*corev1.PodList).Items), 0)
			})
		})
	}
}
