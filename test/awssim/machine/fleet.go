package machine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/test/awssim/account"
	"github.com/kube-rehearse/rehearse/test/awssim/bucket"
)

// Fleet is all machines of one cluster. The first control plane that boots brings
// the API server up, with the authority and keys of the state store.
type Fleet struct {
	Store *bucket.Store
	Plane *Plane
	Log   *slog.Logger

	mu     sync.Mutex
	broken map[string]bool // groups whose machines never join
	nodes  map[string]bool
}

// Break makes machines of a group that boot from now on never join, or mends it.
func (f *Fleet) Break(group string, broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = map[string]bool{}
	}
	f.broken[group] = broken
}

// Running implements account.Machines: the machine becomes a Node.
func (f *Fleet) Running(ctx context.Context, m account.Machine) error {
	b, err := read(m.UserData, f.Store.Name, f.Store.Read)
	if err != nil {
		return err
	}
	f.mu.Lock()
	broken := f.broken[b.group]
	f.mu.Unlock()
	if broken {
		return fmt.Errorf("machines of group %s are made not to join", b.group)
	}
	var client kubernetes.Interface
	if b.controlPlane() {
		client, err = f.Plane.Ensure(ctx, b.cluster, f.Store.Read)
	} else {
		client, err = f.Plane.Wait(ctx)
	}
	if err != nil {
		return err
	}
	if err := f.join(ctx, client, m, b); err != nil {
		return fmt.Errorf("instance %s: join: %w", m.ID, err)
	}
	f.Log.Info("joined", "instance", m.ID, "group", b.group, "role", b.role, "version", b.version)
	return nil
}

// Ended implements account.Machines: the cloud's controller deletes the Node and
// what ran there.
func (f *Fleet) Ended(ctx context.Context, m account.Machine) {
	client := f.Plane.client()
	if client == nil {
		return
	}
	f.mu.Lock()
	delete(f.nodes, m.ID)
	f.mu.Unlock()
	err := client.CoreV1().Nodes().Delete(ctx, m.ID, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		f.Log.Error("delete a node", "node", m.ID, "error", err)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + m.ID})
	if err != nil {
		f.Log.Error("list a node's pods", "node", m.ID, "error", err)
		return
	}
	for _, p := range pods.Items {
		f.remove(ctx, client, &p)
	}
}

func (f *Fleet) remove(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) {
	now := int64(0)
	err := client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		f.Log.Error("remove a pod", "pod", p.Name, "error", err)
	}
}

func (f *Fleet) join(ctx context.Context, client kubernetes.Interface, m account.Machine, b boot) error {
	labels := map[string]string{
		"kubernetes.io/hostname": m.ID, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kops.k8s.io/instancegroup": b.group,
		"node.kubernetes.io/instance-type": m.Type, "topology.kubernetes.io/region": account.Region, "topology.kubernetes.io/zone": m.Zone,
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.ID, Labels: labels}, Spec: corev1.NodeSpec{ProviderID: "aws:///" + m.Zone + "/" + m.ID}}
	if b.controlPlane() {
		labels["node-role.kubernetes.io/control-plane"] = ""
		node.Spec.Taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
	} else {
		labels["node-role.kubernetes.io/node"] = ""
	}
	node, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("110")}
	now := metav1.Now()
	node.Status = corev1.NodeStatus{
		Capacity: size, Allocatable: size,
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: m.IP}, {Type: corev1.NodeHostName, Address: m.ID}},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
		NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: b.version, OperatingSystem: "linux", Architecture: "amd64", MachineID: m.ID, SystemUUID: m.ID, BootID: m.ID},
	}
	if _, err := client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return err
	}
	f.mu.Lock()
	if f.nodes == nil {
		f.nodes = map[string]bool{}
	}
	f.nodes[m.ID] = true
	f.mu.Unlock()
	if !b.controlPlane() {
		return nil
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd-manager-main"} {
		if err := static(ctx, client, name, m, b); err != nil {
			return fmt.Errorf("static pod %s: %w", name, err)
		}
	}
	return nil
}

// static makes the mirror of a static pod, by which kops sees that a component of
// the control plane runs.
func static(ctx context.Context, client kubernetes.Interface, name string, m account.Machine, b boot) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceSystem, Name: name + "-" + m.ID, Labels: map[string]string{"k8s-app": name},
			Annotations: map[string]string{corev1.MirrorPodAnnotationKey: m.ID},
		},
		Spec: corev1.PodSpec{
			NodeName: m.ID, HostNetwork: true, PriorityClassName: "system-cluster-critical", Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: name, Image: "registry.k8s.io/" + name + ":" + b.version}},
		},
	}
	_, err := client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// Kubelets runs pods in name only until the context ends: those bound to a node
// are ready at once, those that are deleted are gone at once.
func (f *Fleet) Kubelets(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		client := f.Plane.client()
		if client == nil {
			continue
		}
		pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			continue
		}
		for i := range pods.Items {
			p := &pods.Items[i]
			f.mu.Lock()
			ours := f.nodes[p.Spec.NodeName]
			f.mu.Unlock()
			switch {
			case !ours:
			case p.DeletionTimestamp != nil:
				f.remove(ctx, client, p)
			case p.Status.Phase == corev1.PodPending:
				f.start(ctx, client, p)
			}
		}
	}
}

func (f *Fleet) start(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) {
	node, err := client.CoreV1().Nodes().Get(ctx, p.Spec.NodeName, metav1.GetOptions{})
	if err != nil || len(node.Status.Addresses) == 0 {
		return
	}
	ip := node.Status.Addresses[0].Address
	var containers []string
	for _, c := range p.Spec.Containers {
		containers = append(containers, fmt.Sprintf(`{"name":%q,"image":%q,"imageID":"","ready":true,"started":true,"restartCount":0,"state":{"running":{"startedAt":%q}}}`, c.Name, c.Image, time.Now().UTC().Format(time.RFC3339)))
	}
	patch := fmt.Sprintf(`{"status":{"phase":"Running","hostIP":%[1]q,"podIP":%[1]q,"podIPs":[{"ip":%[1]q}],"conditions":[{"type":"PodScheduled","status":"True"},{"type":"Initialized","status":"True"},{"type":"ContainersReady","status":"True"},{"type":"Ready","status":"True"}],"containerStatuses":[%[2]s]}}`,
		ip, strings.Join(containers, ","))
	_, err = client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		f.Log.Error("start a pod", "pod", p.Name, "error", err)
	}
}
