package sim

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

const (
	dnsServiceIP = "10.96.0.10"
	apiServiceIP = "10.96.0.1"
	roleLabel    = "node-role.kubernetes.io/control-plane"
	flannelImage = "ghcr.io/flannel-io/flannel:v0.26.7"
)

// images are the tags that kubeadm uses for a Kubernetes version, from
// "kubeadm config images list"; of versions not listed they are guesses that
// only have to differ between minors.
func images(v cluster.Version) map[string]string {
	dns, etcd := fmt.Sprintf("v1.%d.1", v.Minor()-22), fmt.Sprintf("3.6.%d-0", v.Minor()-29)
	switch v.Minor() {
	case 33:
		dns, etcd = "v1.12.0", "3.5.21-0"
	case 34:
		dns, etcd = "v1.12.1", "3.6.5-0"
	case 35:
		dns, etcd = "v1.13.1", "3.6.6-0"
	}
	return map[string]string{
		compEtcd: etcd, "coredns": dns,
		compAPIServer: v.String(), compController: v.String(), compScheduler: v.String(), "kube-proxy": v.String(),
	}
}

func image(name, tag string) string {
	if name == "coredns" {
		return "registry.k8s.io/coredns/coredns:" + tag
	}
	return "registry.k8s.io/" + name + ":" + tag
}

// bootstrap creates what kubeadm and the API server put into a new cluster.
func (c *simulation) bootstrap() error {
	var errs []string
	add := func(gvr schema.GroupVersionResource, obj runtime.Object) {
		setDefaults(obj)
		if _, err := c.store.Create(gvr, obj); err != nil {
			errs = append(errs, err.Error())
		}
	}
	for _, ns := range []string{"default", "kube-system", "kube-public", corev1.NamespaceNodeLease} {
		add(resNamespaces, namespace(ns, nil))
	}
	for name, value := range map[string]int32{"system-node-critical": 2000001000, "system-cluster-critical": 2000000000} {
		pc := &schedulingv1.PriorityClass{Value: value}
		pc.Name = name
		add(resPriorityClasses, pc)
	}
	for i, n := range c.nodeNames() {
		add(resNodes, c.newNode(n, i))
	}
	for _, as := range apiServices() {
		add(resAPIServices, as)
	}
	c.addConfig(add)
	c.addServices(add)
	c.addCoreDNS(add)
	add(resDaemonSets, c.kubeProxyDaemon())
	switch c.spec.Network {
	case "flannel":
		add(resNamespaces, namespace("kube-flannel", map[string]string{"pod-security.kubernetes.io/enforce": "privileged", "k8s-app": "flannel"}))
		add(resDaemonSets, flannelDaemon())
	default:
		add(resDaemonSets, kindnetDaemon())
	}
	for _, n := range c.plane.nodes {
		for _, comp := range planeComponents {
			if err := c.mirrorPod(n, comp, images(c.spec.Version)[comp]); err != nil {
				errs = append(errs, err.Error())
			}
		}
	}
	for _, o := range c.opt.Faults.Objects {
		gvr, err := resourceOf(o.Object)
		if err != nil {
			return err
		}
		add(gvr, o.Object)
	}
	if len(errs) > 0 {
		return fmt.Errorf("bootstrap the simulated cluster: %s", strings.Join(errs, "; "))
	}
	return nil
}

// resourceOf names the resource of a planted object.
func resourceOf(obj runtime.Object) (schema.GroupVersionResource, error) {
	switch obj.(type) {
	case *corev1.Pod:
		return resPods, nil
	case *policyv1.PodDisruptionBudget:
		return resBudgets, nil
	case *corev1.ConfigMap:
		return resConfigMaps, nil
	case *appsv1.Deployment:
		return resDeployments, nil
	}
	return schema.GroupVersionResource{}, fmt.Errorf("plant %T: want a Pod, PodDisruptionBudget, ConfigMap or Deployment", obj)
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	n := &corev1.Namespace{Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}}
	n.Name, n.Labels = name, copyMap(labels)
	n.Labels[corev1.LabelMetadataName] = name
	return n
}

func (c *simulation) newNode(name string, index int) *corev1.Node {
	control := index < c.spec.ControlPlanes
	n := &corev1.Node{}
	n.Name = name
	n.Labels = map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		corev1.LabelTopologyZone: fmt.Sprintf("zone-%c", 'a'+index%3), cluster.LabelRun: c.spec.RunID,
	}
	if control {
		n.Labels[roleLabel] = ""
		n.Labels[corev1.LabelNodeExcludeBalancers] = ""
		n.Spec.Taints = []corev1.Taint{{Key: roleLabel, Effect: corev1.TaintEffectNoSchedule}}
	}
	n.Spec.PodCIDR = fmt.Sprintf("10.244.%d.0/24", index)
	n.Spec.PodCIDRs = []string{n.Spec.PodCIDR}
	n.Spec.ProviderID = "simulated://" + c.spec.Name + "/" + name
	r := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	n.Status.Capacity, n.Status.Allocatable = r, r.DeepCopy()
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeIP(index)}, {Type: corev1.NodeHostName, Address: name}}
	d := newDice(c.opt.Seed, "node/"+name)
	n.Status.NodeInfo = corev1.NodeSystemInfo{
		MachineID: d.suffix(32), SystemUUID: d.suffix(32), BootID: d.suffix(32), KernelVersion: "6.12.0-simulated", OSImage: "simulated by rehearse",
		ContainerRuntimeVersion: "containerd://2.3.7", KubeletVersion: c.spec.Version.String(), OperatingSystem: "linux", Architecture: "amd64",
	}
	setNodeCondition(n, corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
	setNodeCondition(n, corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
	setNodeCondition(n, corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available")
	setNodeCondition(n, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
	return n
}

// apiServices are the APIServices of a cluster without aggregated APIs.
func apiServices() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, g := range []string{"", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apps", "authentication.k8s.io", "authorization.k8s.io",
		"autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io",
		"networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io"} {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
			"metadata": map[string]any{"name": "v1." + g, "labels": map[string]any{"kube-aggregator.kubernetes.io/automanaged": "onstart"}},
			"spec":     map[string]any{"version": "v1", "group": g, "groupPriorityMinimum": int64(17000), "versionPriority": int64(15)},
			"status": map[string]any{"conditions": []any{map[string]any{
				"type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available"}}},
		}}
		out = append(out, u)
	}
	return out
}

func (c *simulation) addConfig(add func(schema.GroupVersionResource, runtime.Object)) {
	for name, data := range map[string]map[string]string{
		"kubeadm-config": {"ClusterConfiguration": clusterConfiguration(c.spec.Version)},
		"kubelet-config": {"kubelet": "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"},
		"kube-proxy":     {"config.conf": "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: iptables\n"},
		"coredns":        {"Corefile": ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa\n    forward . /etc/resolv.conf\n    cache 30\n    loop\n    reload\n    loadbalance\n}\n"},
	} {
		cm := &corev1.ConfigMap{Data: data}
		cm.Name, cm.Namespace = name, "kube-system"
		add(resConfigMaps, cm)
	}
}

func clusterConfiguration(v cluster.Version) string {
	return "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: " + v.String() + "\nnetworking:\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: 10.96.0.0/16\n"
}

func (c *simulation) addServices(add func(schema.GroupVersionResource, runtime.Object)) {
	api := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: apiServiceIP, ClusterIPs: []string{apiServiceIP},
		Ports: []corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromInt32(6443)}}}}
	api.Name, api.Namespace = "kubernetes", "default"
	add(resServices, api)
	name, port, proto := "https", int32(6443), corev1.ProtocolTCP
	es := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &proto}}}
	es.Name, es.Namespace = "kubernetes", "default"
	es.Labels = map[string]string{discoveryv1.LabelServiceName: "kubernetes"}
	for i := range c.plane.nodes {
		es.Endpoints = append(es.Endpoints, discoveryv1.Endpoint{Addresses: []string{nodeIP(i)}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(true)}})
	}
	add(resEndpointSlices, es)
	dns := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: dnsServiceIP, ClusterIPs: []string{dnsServiceIP}, Selector: map[string]string{"k8s-app": "kube-dns"},
		Ports: []corev1.ServicePort{
			{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(53)},
			{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(53)},
			{Name: "metrics", Port: 9153, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(9153)},
		}}}
	dns.Name, dns.Namespace = "kube-dns", "kube-system"
	dns.Labels = map[string]string{"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
	add(resServices, dns)
}

func (c *simulation) addCoreDNS(add func(schema.GroupVersionResource, runtime.Object)) {
	labels := map[string]string{"k8s-app": "kube-dns"}
	d := &appsv1.Deployment{}
	d.Name, d.Namespace, d.Labels = "coredns", "kube-system", copyMap(labels)
	d.Spec.Replicas = ptr(int32(2))
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: ptr(intstr.FromInt32(1))}}
	d.Spec.Template.Labels = copyMap(labels)
	d.Spec.Template.Spec = corev1.PodSpec{
		PriorityClassName: "system-cluster-critical", ServiceAccountName: "coredns",
		Tolerations: []corev1.Toleration{{Key: "CriticalAddonsOnly", Operator: corev1.TolerationOpExists}, {Key: roleLabel, Effect: corev1.TaintEffectNoSchedule}},
		Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: labels}}}}}},
		Containers: []corev1.Container{{
			Name: "coredns", Image: image("coredns", images(c.spec.Version)["coredns"]), Args: []string{"-conf", "/etc/coredns/Corefile"},
			Resources:      corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("70Mi")}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8181)}}},
		}},
	}
	add(resDeployments, d)
}

func daemon(namespace, name string, labels map[string]string, container corev1.Container) *appsv1.DaemonSet {
	ds := &appsv1.DaemonSet{}
	ds.Name, ds.Namespace, ds.Labels = name, namespace, copyMap(labels)
	ds.Spec.Selector = &metav1.LabelSelector{MatchLabels: copyMap(labels)}
	ds.Spec.Template.Labels = copyMap(labels)
	ds.Spec.Template.Spec = corev1.PodSpec{
		HostNetwork: true, PriorityClassName: "system-node-critical", ServiceAccountName: name,
		Tolerations:  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		NodeSelector: map[string]string{corev1.LabelOSStable: "linux"},
		Containers:   []corev1.Container{container},
	}
	ds.Spec.UpdateStrategy.Type = appsv1.RollingUpdateDaemonSetStrategyType
	return ds
}

func (c *simulation) kubeProxyDaemon() *appsv1.DaemonSet {
	return daemon("kube-system", "kube-proxy", map[string]string{"k8s-app": "kube-proxy"}, corev1.Container{
		Name: "kube-proxy", Image: image("kube-proxy", images(c.spec.Version)["kube-proxy"]),
		Command: []string{"/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf"}})
}

func flannelDaemon() *appsv1.DaemonSet {
	return daemon("kube-flannel", "kube-flannel-ds", map[string]string{"app": "flannel", "tier": "node", "k8s-app": "flannel"}, corev1.Container{
		Name: "kube-flannel", Image: flannelImage, Command: []string{"/opt/bin/flanneld"}, Args: []string{"--ip-masq", "--kube-subnet-mgr"}})
}

func kindnetDaemon() *appsv1.DaemonSet {
	return daemon("kube-system", "kindnet", map[string]string{"app": "kindnet", "k8s-app": "kindnet", "tier": "node"}, corev1.Container{
		Name: "kindnet-cni", Image: "docker.io/kindest/kindnetd:simulated"})
}

// mirrorPod creates the API's image of a static pod.
func (c *simulation) mirrorPod(node, component, tag string) error {
	hash := templateHash(&corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Name: node + component + tag}})
	p := &corev1.Pod{}
	p.Name, p.Namespace = component+"-"+node, "kube-system"
	p.Labels = map[string]string{"component": component, "tier": "control-plane"}
	p.Annotations = map[string]string{
		corev1.MirrorPodAnnotationKey: hash, "kubernetes.io/config.hash": hash, "kubernetes.io/config.source": "file", "kubernetes.io/config.seen": c.started.UTC().Format("2006-01-02T15:04:05Z")}
	if n, ok := get[*corev1.Node](c.store, resNodes, "", node); ok {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID, Controller: ptr(true)}}
	}
	p.Spec = corev1.PodSpec{
		NodeName: node, HostNetwork: true, PriorityClassName: "system-node-critical", Priority: ptr(int32(2000001000)),
		Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}},
		Containers:  []corev1.Container{{Name: component, Image: image(component, tag), Command: []string{component}}},
	}
	defaultPodSpec(&p.Spec)
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBurstable}
	setPodCondition(p, corev1.PodScheduled, corev1.ConditionTrue, "", "")
	if _, err := c.store.Create(resPods, p); err != nil {
		return fmt.Errorf("mirror pod %s: %w", p.Name, err)
	}
	return nil
}
