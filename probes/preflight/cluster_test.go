package preflight

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/probes/nodes"
)

func TestUnfitNodes(t *testing.T) {
	run(t, unfitNodes, []test{
		{"fit", State{Nodes: []corev1.Node{node("w1")}}, nil},
		{"not ready", State{Nodes: []corev1.Node{node("w1", func(n *corev1.Node) {
			n.Spec.Unschedulable = true // of less interest than the other
			n.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown", Message: "Kubelet stopped posting node status."}
		})}}, []string{"block node-not-ready node/w1: Node w1 is not Ready: NodeStatusUnknown: Kubelet stopped posting node status. | Repair the node, or remove it: kubectl describe node w1 says more."}},
		{"cordoned", State{Nodes: []corev1.Node{node("w1", func(n *corev1.Node) { n.Spec.Unschedulable = true })}},
			[]string{"warn node-cordoned node/w1: Node w1 is cordoned, so the pods of drained nodes cannot go there. | kubectl uncordon w1, or find out who cordoned it and why."}},
		{"under pressure", State{Nodes: []corev1.Node{node("w1", func(n *corev1.Node) {
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue, Message: "kubelet has disk pressure"})
		})}}, []string{"warn node-condition node/w1: Node w1 reports DiskPressure: kubelet has disk pressure. | Relieve the node first: under pressure it evicts pods by itself, and the upgrade would be blamed."}},
	})
}

func TestControlPlanes(t *testing.T) {
	planes := func(n int) State {
		s := State{Nodes: []corev1.Node{node("w1")}}
		for range n {
			s.Nodes = append(s.Nodes, node("cp", controlPlane))
		}
		return s
	}
	run(t, controlPlanes, []test{
		{"managed", planes(0), nil},
		{"one", planes(1), []string{"info single-control-plane cluster: There is one control plane, so the API is away while it is upgraded. Pods keep running; what depends on the API does not. | Use three control planes where the API must stay available during upgrades."}},
		{"two", planes(2), []string{"warn even-control-planes cluster: There are 2 control planes: etcd tolerates the loss of 0 of them, no more than it would with 1. | Use an odd number of control planes above one."}},
		{"three", planes(3), nil},
		{"four", planes(4), []string{"warn even-control-planes cluster: There are 4 control planes: etcd tolerates the loss of 1 of them, no more than it would with 3. | Use an odd number of control planes above one."}},
	})
}

func TestVersionSkew(t *testing.T) {
	at := func(server, kubelet, target string) State {
		return State{Target: target, Versions: nodes.State{Server: server, Kubelets: map[string]string{"w1": kubelet}}}
	}
	run(t, versionSkew, []test{
		{"equal", at("v1.34.4", "v1.34.4", "v1.35.4"), nil},
		{"at the limit, and beyond it once upgraded", at("v1.34.4", "v1.31.0", "v1.35.4"), []string{
			"block version-skew cluster: With API servers at v1.35.4: the kubelet of node w1 runs v1.31.0, more than 3 minor versions older than kube-apiserver on the API (v1.35.4). | Upgrade the kubelets to the API servers' present version first."}},
		{"at the limit, target unknown", at("v1.34.4", "v1.31.0", ""), nil},
		{"ahead", at("v1.34.4", "v1.35.4", "v1.35.4"), []string{
			"block version-skew cluster: The kubelet of node w1 runs v1.35.4, newer than kube-apiserver on the API (v1.34.4): it may turn NotReady. | Finish or undo the last upgrade first; see https://kubernetes.io/releases/version-skew-policy/."}},
	})
}

func TestUnavailableAPIServices(t *testing.T) {
	run(t, unavailableAPIServices, []test{
		{"one of two", State{APIServices: []APIService{{Name: "v1.apps", Available: true}, {Name: "v1beta1.metrics.k8s.io", Why: "MissingEndpoints: endpoints for service/metrics-server have no addresses"}}}, []string{
			"warn api-service-unavailable apiservice/v1beta1.metrics.k8s.io: APIService v1beta1.metrics.k8s.io is not available (MissingEndpoints: endpoints for service/metrics-server have no addresses). Discovery is incomplete, and namespaces cannot be deleted. | Repair the service behind it, or delete the APIService if its extension is gone."}},
	})
}

func TestLingeringPods(t *testing.T) {
	critical := func(p *corev1.Pod) { p.Spec.PriorityClassName = "system-cluster-critical" }
	run(t, lingeringPods, []test{
		{"healthy, and an application's own trouble", State{Pods: []corev1.Pod{pod("kube-system", "a", "w1"), pod("shop", "b", "w1", phase(corev1.PodFailed))}}, nil},
		{"failed", State{Pods: []corev1.Pod{pod("kube-system", "old", "w1", phase(corev1.PodFailed), func(p *corev1.Pod) { p.Status.Reason = "Evicted" })}}, []string{
			"warn lingering-pod pod/kube-system/old: System pod kube-system/old is broken: Failed (Evicted). | Repair it, or delete it if it is a leftover."}},
		{"failed and critical", State{Pods: []corev1.Pod{pod("kube-system", "old", "w1", critical, phase(corev1.PodFailed))}}, []string{
			"block lingering-pod pod/kube-system/old: System pod kube-system/old is broken: Failed. Its priority is system-critical, so validations between nodes wait for it. | Repair it, or delete it if it is a leftover."}},
		{"pending since an hour", State{Pods: []corev1.Pod{pod("kube-flannel", "new", "", phase(corev1.PodPending))}}, []string{
			"warn lingering-pod pod/kube-flannel/new: System pod kube-flannel/new is broken: Pending. | Repair it, or delete it if it is a leftover."}},
		{"pending since a second", State{Pods: []corev1.Pod{pod("kube-flannel", "new", "", phase(corev1.PodPending), func(p *corev1.Pod) {
			p.CreationTimestamp = metav1.NewTime(now.Add(-time.Second))
		})}}, nil},
	})
}

func TestCapacity(t *testing.T) {
	web := func(on, cpu, memory string) corev1.Pod {
		return pod("shop", "web-"+on, on, owned("ReplicaSet"), asks(cpu, memory))
	}
	three := []corev1.Node{node("cp", controlPlane), node("w1"), node("w2"), node("w3")}
	full := func(n int) []corev1.Pod {
		var out []corev1.Pod
		for range n {
			out = append(out, pod("shop", "p", "w1", owned("ReplicaSet")), pod("shop", "p", "w2", owned("ReplicaSet")))
		}
		return out
	}
	run(t, capacity, []test{
		{"room enough", State{Nodes: three, Pods: []corev1.Pod{web("w1", "2", "1Gi"), web("w2", "2", "1Gi"), web("w3", "2", "1Gi")}}, nil},
		{"no CPU", State{Nodes: three, Pods: []corev1.Pod{web("w1", "3", "1Gi"), web("w2", "3", "1Gi"), web("w3", "1500m", "1Gi")}}, nil},
		{"no CPU on two workers", State{Nodes: three[:3], Pods: []corev1.Pod{web("w1", "2500m", "1Gi"), web("w2", "2500m", "1Gi")}}, []string{
			"warn no-room node/w1: The pods of node w1 do not fit on the other workers while it is drained: they request 2500m of CPU and 1500m are free. | Add a worker before the upgrade and remove it afterwards.",
			"warn no-room node/w2: The pods of node w2 do not fit on the other workers while it is drained: they request 2500m of CPU and 1500m are free. | Add a worker before the upgrade and remove it afterwards."}},
		{"no memory", State{Nodes: three[:3], Pods: []corev1.Pod{web("w1", "1", "5Gi"), web("w2", "1", "4Gi")}}, []string{
			"warn no-room node/w1: The pods of node w1 do not fit on the other workers while it is drained: they request 5Gi of memory and 4Gi are free. | Add a worker before the upgrade and remove it afterwards.",
			"warn no-room node/w2: The pods of node w2 do not fit on the other workers while it is drained: they request 4Gi of memory and 3Gi are free. | Add a worker before the upgrade and remove it afterwards."}},
		{"a DaemonSet's pods do not move", State{Nodes: three[:3], Pods: []corev1.Pod{
			pod("kube-system", "agent", "w1", owned("DaemonSet"), asks("3", "1Gi")), pod("kube-system", "agent", "w2", owned("DaemonSet"), asks("3", "1Gi"))}}, nil},
		{"no room for their number", State{Nodes: three[:3], Pods: full(6)}, []string{
			"warn no-room node/w1: The pods of node w1 do not fit on the other workers while it is drained: they are 6 pods and there is room for 4. | Add a worker before the upgrade and remove it afterwards.",
			"warn no-room node/w2: The pods of node w2 do not fit on the other workers while it is drained: they are 6 pods and there is room for 4. | Add a worker before the upgrade and remove it afterwards."}},
		{"a single worker", State{Nodes: three[:2], Pods: []corev1.Pod{web("w1", "1", "1Gi")}}, []string{
			"warn no-room node/w1: The pods of node w1 do not fit on the other workers while it is drained: they request 1 of CPU and 0 are free. | Add a worker before the upgrade and remove it afterwards."}},
	})
}
