package mirror

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
)

func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 30, 5, time.UTC) }

type nodeSpec struct {
	name, kubelet, instance, zone, provider, group, groupLabel string
	plane                                                      bool
}

func node(s nodeSpec) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.name, Labels: map[string]string{}}}
	for k, v := range map[string]string{corev1.LabelInstanceTypeStable: s.instance, corev1.LabelTopologyZone: s.zone, s.groupLabel: s.group} {
		if k != "" && v != "" {
			n.Labels[k] = v
		}
	}
	if s.plane {
		n.Labels[roleLabels[0]] = ""
	}
	if s.provider != "" {
		n.Spec.ProviderID = s.provider + s.name
	}
	n.Status.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("16Gi")}
	n.Status.NodeInfo = corev1.NodeSystemInfo{
		KubeletVersion: s.kubelet, Architecture: "amd64", OSImage: "Linux", KernelVersion: "6.1", ContainerRuntimeVersion: "containerd://2.1.4",
	}
	return n
}

func daemonSet(namespace, name, image string, env ...string) *appsv1.DaemonSet {
	c := corev1.Container{Name: name, Image: image}
	for i := 0; i+1 < len(env); i += 2 {
		c.Env = append(c.Env, corev1.EnvVar{Name: env[i], Value: env[i+1]})
	}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}},
	}
}

func deployment(namespace, name, image string, replicas int32, labels map[string]string) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: image, Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")},
			}}}},
		}},
	}
}

func configMap(namespace, name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
}

func budget(namespace, name, app string, maxUnavailable, minAvailable *intstr.IntOrString) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, MaxUnavailable: maxUnavailable, MinAvailable: minAvailable,
		},
	}
}

func app(name string) map[string]string { return map[string]string{"app": name} }

// eks is a managed cluster in a cloud: no control plane is seen, much of it has
// no counterpart on a laptop.
func eks() (string, []runtime.Object) {
	var out []runtime.Object
	for i := range 6 {
		out = append(out, node(nodeSpec{
			name: fmt.Sprintf("i-0%d", i), kubelet: "v1.34.4-eks-ecaa3a6", instance: "m5.xlarge", zone: "eu-west-1" + string(rune('a'+i%3)),
			provider: "aws:///eu-west-1a/", group: "general", groupLabel: "eks.amazonaws.com/nodegroup",
		}))
	}
	three := appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"},
		Spec:       appsv1.StatefulSetSpec{Replicas: new(int32(3)), Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: app("db")}}},
	}
	return "v1.34.4-eks-ecaa3a6", append(out,
		daemonSet(system, "aws-node", "amazon-k8s-cni:v1.20.1", "ENABLE_PREFIX_DELEGATION", "true"),
		daemonSet("calico-system", "calico-node", "calico/node:v3.30.0"),
		daemonSet(system, "kube-proxy", "eks/kube-proxy:v1.34.1-minimal-eksbuild.2"),
		configMap(system, "kube-proxy-config", map[string]string{"config": "kind: KubeProxyConfiguration\nmode: ipvs\n"}),
		deployment(system, "coredns", "eks/coredns:v1.12.3-eksbuild.1", 2, map[string]string{"k8s-app": "kube-dns"}),
		deployment(system, "metrics-server", "registry.k8s.io/metrics-server@sha256:abc", 1, nil),
		deployment("shop", "api", "shop/api:7", 4, app("api")),
		deployment("shop", "web.v2", "shop/web:3", 10, app("web")),
		deployment("shop", "batch", "shop/batch:1", 1, app("batch")),
		&three,
		budget("shop", "api", "api", nil, new(intstr.FromInt32(3))),
		budget("shop", "web", "web", new(intstr.FromString("25%")), nil),
		budget("shop", "db", "db", new(intstr.FromInt32(1)), nil),
		budget("other", "api", "api", new(intstr.FromInt32(0)), nil),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, Spec: corev1.ServiceSpec{ClusterIP: "172.20.0.1"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "cluster-admin"}},
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "ebs.csi.aws.com"}},
	)
}

// kubeadm is what a mirror shows best: everything it runs has its counterpart.
func kubeadm() (string, []runtime.Object) {
	var out []runtime.Object
	for i, name := range []string{"a", "b", "c", "w1", "w2"} {
		out = append(out, node(nodeSpec{name: name, kubelet: "v1.34.4", plane: i < 3}))
	}
	pod := func(name, component string, args ...string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name, Labels: map[string]string{"component": component}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: component, Command: args}}},
		}
	}
	out = append(out, pod("kube-apiserver-a", "kube-apiserver", "kube-apiserver", "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.96.0.0/16"))
	for _, n := range []string{"a", "b", "c"} {
		out = append(out, pod("etcd-"+n, "etcd", "etcd"))
	}
	return "v1.34.4", append(out,
		daemonSet("kube-flannel", "kube-flannel-ds", "ghcr.io/flannel-io/flannel:v0.27.0"),
		configMap("kube-flannel", "kube-flannel-cfg", map[string]string{"net-conf.json": `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}`}),
		daemonSet(system, "kube-proxy", "registry.k8s.io/kube-proxy:v1.34.4"),
		configMap(system, "kube-proxy", map[string]string{"config.conf": "kind: KubeProxyConfiguration\nmode: \"\"\n"}),
		deployment(system, "coredns", "registry.k8s.io/coredns/coredns:v1.12.1", 2, map[string]string{"k8s-app": "kube-dns"}),
	)
}

func client(v string, objects ...runtime.Object) *fake.Clientset {
	c := fake.NewClientset(objects...)
	d, _ := c.Discovery().(*fakediscovery.FakeDiscovery)
	d.FakedServerVersion = &version.Info{GitVersion: v}
	return c
}

// pages answers Options.Get from a table.
func pages(table map[string]string) func(context.Context, string) ([]byte, error) {
	return func(_ context.Context, path string) ([]byte, error) {
		text, ok := table[path]
		if !ok {
			return nil, fmt.Errorf("%s is not in the table", path)
		}
		return []byte(text), nil
	}
}

func configz(node string) map[string]string {
	return map[string]string{
		"/api/v1/nodes/" + node + "/proxy/configz": `{"kubeletconfig":{"maxPods":58,"cgroupDriver":"systemd","shutdownGracePeriod":"0s","failSwapOn":true,"featureGates":{"RotateKubeletServerCertificate":true}}}`,
		"/metrics": `# HELP kubernetes_feature_enabled [BETA]
kubernetes_feature_enabled{name="AllAlpha",stage="ALPHA"} 0
kubernetes_feature_enabled{name="Tea",stage="ALPHA"} 1
kubernetes_feature_enabled{name="Old",stage=""} 1
`,
	}
}

func read(t *testing.T, node string, v string, objects []runtime.Object) *Facts {
	t.Helper()
	f, err := Read(t.Context(), Options{Client: client(v, objects...), Get: pages(configz(node)), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}
