package system

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestComponent(t *testing.T) {
	nodes := []corev1.Node{node("cp-1", true), node("w1", false), node("w2", false)}
	proxyPod := func(on string) corev1.Pod {
		return pod("kube-system", "kube-proxy-"+on, on, "registry.k8s.io/kube-proxy:v1.35.4", label("k8s-app", "kube-proxy"))
	}
	dnsPod := func(name, on string, with ...func(*corev1.Pod)) corev1.Pod {
		return pod("kube-system", name, on, "registry.k8s.io/coredns/coredns:v1.13.1", append(with, label("k8s-app", "coredns"))...)
	}
	type result struct {
		Kind           string
		Present        bool
		Desired, Ready int
		Pods           []string
		Problem        string
	}
	tests := []struct {
		name, component string
		inv             inventory
		want            result
	}{
		{"a healthy Deployment", "coredns", inventory{
			deployments: []appsv1.Deployment{deployment("kube-system", "coredns", 2, 2)},
			pods:        []corev1.Pod{dnsPod("coredns-a", "w1"), dnsPod("coredns-b", "w2")},
		}, result{"Deployment", true, 2, 2, []string{"kube-system/coredns-a v1.13.1", "kube-system/coredns-b v1.13.1"}, ""}},
		{"under another name", "kube-dns-autoscaler", inventory{
			deployments: []appsv1.Deployment{deployment("kube-system", "coredns-autoscaler", 1, 1)},
		}, result{"Deployment", true, 1, 1, nil, ""}},
		{"a crashing pod is named", "coredns", inventory{
			deployments: []appsv1.Deployment{deployment("kube-system", "coredns", 2, 1)},
			pods:        []corev1.Pod{dnsPod("coredns-a", "w1"), dnsPod("coredns-b", "w2", crashing)},
		}, result{"Deployment", true, 2, 1, []string{"kube-system/coredns-a v1.13.1", "kube-system/coredns-b v1.13.1"},
			"1 of 2 pods are ready; not ready: kube-system/coredns-b on w2 (CrashLoopBackOff)."}},
		{"a pod that is missing altogether", "coredns", inventory{
			deployments: []appsv1.Deployment{deployment("kube-system", "coredns", 2, 1)},
			pods:        []corev1.Pod{dnsPod("coredns-a", "w1")},
		}, result{"Deployment", true, 2, 1, []string{"kube-system/coredns-a v1.13.1"}, "1 of 2 pods are ready."}},
		{"scaled to nothing", "coredns", inventory{deployments: []appsv1.Deployment{deployment("kube-system", "coredns", 0, 0)}},
			result{"Deployment", true, 0, 0, nil, "It is scaled to no pod at all."}},
		{"rollout not finished", "coredns", inventory{deployments: []appsv1.Deployment{func() appsv1.Deployment {
			d := deployment("kube-system", "coredns", 2, 2)
			d.Status.UpdatedReplicas = 1
			return d
		}()}}, result{"Deployment", true, 2, 2, nil, "Its rollout is not finished: 1 of 2 pods are of the latest specification."}},
		{"controller asleep", "dns-controller", inventory{deployments: []appsv1.Deployment{func() appsv1.Deployment {
			d := deployment("kube-system", "dns-controller", 1, 1)
			d.Generation, d.Status.ObservedGeneration = 3, 2
			return d
		}()}}, result{"Deployment", true, 1, 1, nil, "Its controller has not acted on its latest specification yet."}},
		{"kube-proxy on every node", "kube-proxy", inventory{
			nodes: nodes, daemonSets: []appsv1.DaemonSet{daemonSet("kube-system", "kube-proxy", 3, 3)},
			pods: []corev1.Pod{proxyPod("cp-1"), proxyPod("w1"), proxyPod("w2")},
		}, result{"DaemonSet", true, 3, 3, []string{"kube-system/kube-proxy-cp-1 v1.35.4", "kube-system/kube-proxy-w1 v1.35.4", "kube-system/kube-proxy-w2 v1.35.4"}, ""}},
		{"kube-proxy kept off a node, with which its controller is content", "kube-proxy", inventory{
			nodes: nodes, daemonSets: []appsv1.DaemonSet{daemonSet("kube-system", "kube-proxy", 2, 2)},
			pods: []corev1.Pod{proxyPod("cp-1"), proxyPod("w1")},
		}, result{"DaemonSet", true, 3, 2, []string{"kube-system/kube-proxy-cp-1 v1.35.4", "kube-system/kube-proxy-w1 v1.35.4"}, "It does not run on node w2."}},
		{"flannel in its own namespace", "kube-flannel", inventory{daemonSets: []appsv1.DaemonSet{daemonSet("kube-flannel", "kube-flannel-ds", 3, 2)}},
			result{"DaemonSet", true, 3, 2, nil, "2 of 3 pods are ready."}},
		{"static pods", "kube-apiserver", inventory{nodes: nodes, pods: []corev1.Pod{static("kube-apiserver", "cp-1", "v1.35.4")}},
			result{"Static", true, 1, 1, []string{"kube-system/kube-apiserver-cp-1 v1.35.4"}, ""}},
		{"a static pod that one control plane lacks", "kube-scheduler", inventory{
			nodes: []corev1.Node{node("cp-1", true), node("cp-2", true), node("w1", false)},
			pods:  []corev1.Pod{static("kube-scheduler", "cp-1", "v1.35.4")},
		}, result{"Static", true, 2, 1, []string{"kube-system/kube-scheduler-cp-1 v1.35.4"}, "It does not run on control plane cp-2."}},
		{"a static pod that is not ready", "kube-scheduler", inventory{nodes: nodes, pods: []corev1.Pod{static("kube-scheduler", "cp-1", "v1.35.4", crashing)}},
			result{"Static", true, 1, 0, []string{"kube-system/kube-scheduler-cp-1 v1.35.4"}, "0 of 1 pods are ready; not ready: kube-system/kube-scheduler-cp-1 on cp-1 (CrashLoopBackOff)."}},
		{"kops' etcd for events", "etcd-server-events", inventory{nodes: nodes, pods: []corev1.Pod{
			static("etcd-manager-events", "cp-1", "v3", label("k8s-app", "etcd-manager-events"))}},
			result{"Static", true, 1, 1, []string{"kube-system/etcd-manager-events-cp-1 v3"}, ""}},
		{"nothing of that name", "kube-dns-autoscaler", inventory{nodes: nodes},
			result{"", false, 0, 0, nil, "No Deployment, DaemonSet or static pod called kube-dns-autoscaler or dns-autoscaler or coredns-autoscaler was found in the system's namespaces."}},
		{"an application of the same name is not the system's", "coredns", inventory{daemonSets: []appsv1.DaemonSet{daemonSet("shop", "coredns", 1, 1)}},
			result{"", false, 0, 0, nil, "No Deployment, DaemonSet or static pod called coredns or kube-dns was found in the system's namespaces."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.inv.component(tt.component)
			got := result{Kind: c.Kind, Present: c.Present, Desired: c.Desired, Ready: c.Ready, Problem: c.Problem}
			for _, p := range c.Instances {
				got.Pods = append(got.Pods, p.Pod+" "+p.Version)
			}
			equal(t, "component", got, tt.want)
			equal(t, "name", c.Name, tt.component)
		})
	}
}

func TestEtcdMembers(t *testing.T) {
	tests := []struct {
		name    string
		members []record.Named
		planes  int
		before  string
		want    string
	}{
		{"healthy", []record.Named{{Name: "cp-1", OK: true}}, 1, "", ""},
		{"one sick", []record.Named{{Name: "cp-1", OK: true}, {Name: "cp-2", Detail: "no leader"}}, 2, "", "1 of 2 members are unhealthy: cp-2 (no leader)."},
		{"one lost", []record.Named{{Name: "cp-1", OK: true}, {Name: "cp-2", OK: true}}, 3, "", "It has 2 members for 3 control planes."},
		{"the pods' own problem comes first", nil, 1, "0 of 1 pods are ready.", "0 of 1 pods are ready."},
	}
	for _, tt := range tests {
		c := record.Component{Name: "etcd", Kind: KindStatic, Problem: tt.before}
		withMembers(&c, tt.members, tt.planes)
		equal(t, tt.name, c.Problem, tt.want)
	}
}

func TestNetwork(t *testing.T) {
	set := func(namespacedNames ...[2]string) inventory {
		var v inventory
		for _, n := range namespacedNames {
			v.daemonSets = append(v.daemonSets, daemonSet(n[0], n[1], 1, 1))
		}
		return v
	}
	withRange := node("n", false, func(n *corev1.Node) { n.Spec.PodCIDR = "10.244.0.0/24" })
	tests := []struct {
		inv  inventory
		want string
	}{
		{set([2]string{"kube-flannel", "kube-flannel-ds"}), "flannel"},
		{set([2]string{"kube-system", "kindnet"}), "kindnet"},
		{set([2]string{"kube-system", "calico-node"}, [2]string{"kube-system", "aws-node"}), "aws-vpc-cni"},
		{set([2]string{"calico-system", "calico-node"}), "calico"},
		{set([2]string{"shop", "cilium"}), "unknown"},
		{inventory{nodes: []corev1.Node{withRange}}, "kubenet"},
		{inventory{}, "unknown"},
	}
	for _, tt := range tests {
		if got := tt.inv.network(); got != tt.want {
			t.Errorf("network = %q, want %q", got, tt.want)
		}
	}
}

func TestLingering(t *testing.T) {
	now := time.Now()
	phase := func(p corev1.PodPhase, reason string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Status.Phase, pod.Status.Reason = p, reason
			pod.Status.Conditions[0].Status = corev1.ConditionFalse
		}
	}
	age := func(d time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(now.Add(-d)) }
	}
	deleted := func(ago time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now.Add(-ago)} }
	}
	unschedulable := func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable"})
		p.Status.ContainerStatuses = nil
	}
	pods := []corev1.Pod{
		pod("kube-system", "fine", "w1", "x:1"),
		pod("kube-system", "done", "w1", "x:1", phase(corev1.PodSucceeded, "")),
		pod("kube-system", "evicted", "w1", "x:1", phase(corev1.PodFailed, "Evicted")),
		pod("kube-system", "crashes", "w1", "x:1", crashing),
		pod("kube-system", "young", "", "x:1", phase(corev1.PodPending, ""), age(30*time.Second), unschedulable),
		pod("kube-system", "unplaced", "", "x:1", phase(corev1.PodPending, ""), age(2*time.Minute), unschedulable),
		pod("kube-system", "going", "w1", "x:1", deleted(5*time.Second)),
		pod("kube-system", "stuck", "w1", "x:1", deleted(5*time.Minute)),
		pod("kube-system", "unknown", "w1", "x:1", phase(corev1.PodUnknown, "NodeLost")),
	}
	var got []string
	for _, p := range Lingering(pods, now) {
		got = append(got, p.Pod+" "+p.Phase+" "+p.Reason)
	}
	equal(t, "lingering", got, []string{
		"kube-system/evicted Failed Evicted",
		"kube-system/crashes Running CrashLoopBackOff",
		"kube-system/unplaced Pending Unschedulable",
		"kube-system/stuck Running Terminating",
		"kube-system/unknown Unknown NodeLost",
	})
}

func TestAvailable(t *testing.T) {
	condition := func(c map[string]any) map[string]any {
		return map[string]any{"status": map[string]any{"conditions": []any{map[string]any{"type": "Other", "status": "False"}, c}}}
	}
	tests := []struct {
		object map[string]any
		ok     bool
		why    string
	}{
		{condition(map[string]any{"type": "Available", "status": "True", "reason": "Local"}), true, ""},
		{condition(map[string]any{"type": "Available", "status": "False", "reason": "FailedDiscoveryCheck", "message": "no response from https://10.96.4.2:443"}),
			false, "FailedDiscoveryCheck: no response from https://10.96.4.2:443"},
		{map[string]any{}, false, "its condition Available is not reported"},
		{map[string]any{"status": "?"}, false, "its condition Available is not reported"},
	}
	for _, tt := range tests {
		ok, why := Available(tt.object)
		if ok != tt.ok || why != tt.why {
			t.Errorf("Available(%v) = %v %q, want %v %q", tt.object, ok, why, tt.ok, tt.why)
		}
	}
}
