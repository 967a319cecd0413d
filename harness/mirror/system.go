package mirror

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// kubeProxy tells how Services are carried: by kube-proxy in a mode, or by the
// network plug-in in its place.
func (r *reader) kubeProxy(ctx context.Context) {
	for _, name := range []string{"kube-proxy", "kube-proxy-config"} {
		data, err := r.configMapData(ctx, system, name)
		if err != nil {
			continue
		}
		for _, key := range []string{"config.conf", "config", "kube-proxy-config.yaml"} {
			var conf struct {
				Kind string `json:"kind"`
				Mode string `json:"mode"`
			}
			if data[key] == "" || yaml.Unmarshal([]byte(data[key]), &conf) != nil {
				continue
			}
			evidence := fmt.Sprintf("%s of ConfigMap %s/%s", key, system, name)
			if conf.Mode == "" {
				r.inferred(FactKubeProxy, "iptables", "%s names no mode, and that is the default", evidence)
				return
			}
			r.observed(FactKubeProxy, conf.Mode, "%s", evidence)
			return
		}
	}
	if p := r.systemPod(func(p *corev1.Pod) bool {
		return p.Labels["k8s-app"] == "kube-proxy" || p.Labels["component"] == "kube-proxy"
	}); p != nil {
		if mode := argument(p, "proxy-mode"); mode != "" {
			r.observed(FactKubeProxy, mode, "arguments of pod %s/%s", system, p.Name)
			return
		}
		r.inferred(FactKubeProxy, "iptables", "pod %s/%s names no mode, and that is the default", system, p.Name)
		return
	}
	mode := r.facts.Get(FactNetworkMode).Value
	if strings.Contains(mode, "kube-proxy-replacement true") || strings.Contains(mode, "kube-proxy-replacement strict") {
		r.observed(FactKubeProxy, "none", "cilium replaces it")
		return
	}
	if r.systemPodsErr != nil {
		r.unknown(FactKubeProxy, "neither a ConfigMap nor, listing the pods of %s, a pod: %s", system, why(r.systemPodsErr))
		return
	}
	r.inferred(FactKubeProxy, "none", "neither a ConfigMap nor a pod of it in %s", system)
}

// system tells add-ons, DNS, etcd, RBAC and the addresses of Services.
func (r *reader) system() {
	r.addons()
	r.dns()
	r.etcd()
	api := r.systemPod(func(p *corev1.Pod) bool {
		return p.Labels["component"] == "kube-apiserver" || p.Labels["k8s-app"] == "kube-apiserver"
	})
	r.rbac(api)
	switch cidr := argument(api, "service-cluster-ip-range"); {
	case cidr != "":
		r.observed(FactServiceCIDR, cidr, "arguments of pod %s/%s", system, api.Name)
	default:
		r.serviceAddress()
	}
}

func (r *reader) serviceAddress() {
	for _, s := range r.services {
		if s.Namespace == metav1.NamespaceDefault && s.Name == "kubernetes" && s.Spec.ClusterIP != "" {
			r.inferred(FactServiceCIDR, "begins below "+s.Spec.ClusterIP, "the address of Service default/kubernetes is the range's first")
			return
		}
	}
	r.unknown(FactServiceCIDR, "no API server's arguments are visible")
}

// rbac never asks by a SubjectAccessReview: see the package comment.
func (r *reader) rbac(api *corev1.Pod) {
	if modes := argument(api, "authorization-mode"); modes != "" {
		value := "off"
		if slices.Contains(strings.Split(modes, ","), "RBAC") {
			value = "on"
		}
		r.observed(FactRBAC, value, "--authorization-mode=%s of pod %s/%s", modes, system, api.Name)
		return
	}
	if r.rolesErr != nil {
		r.unknown(FactRBAC, "list the ClusterRoles: %s", why(r.rolesErr))
		return
	}
	for _, role := range r.roles {
		if role.Name == "cluster-admin" {
			r.inferred(FactRBAC, "on", "an API server makes ClusterRole cluster-admin only where RBAC is on")
			return
		}
	}
	r.inferred(FactRBAC, "off", "there is no ClusterRole cluster-admin, which an API server makes where RBAC is on")
}

func (r *reader) dns() {
	if r.deploymentsErr != nil {
		r.unknown(FactDNS, "list the Deployments: %s", why(r.deploymentsErr))
		return
	}
	// CoreDNS and kube-dns carry the same label: the image tells them apart.
	for i := range r.deployments {
		d := &r.deployments[i]
		if d.Namespace != system || d.Labels["k8s-app"] != "kube-dns" && d.Spec.Template.Labels["k8s-app"] != "kube-dns" {
			continue
		}
		replicas := int32(1)
		if d.Spec.Replicas != nil {
			replicas = *d.Spec.Replicas
		}
		for _, c := range d.Spec.Template.Spec.Containers {
			for _, kind := range []string{"coredns", "kube-dns", "kubedns"} {
				if strings.Contains(c.Image, kind) {
					r.observed(FactDNS, fmt.Sprintf("%s, %s", strings.Replace(kind, "kubedns", "kube-dns", 1), count(int(replicas), "replica")), "image %s of Deployment %s/%s", c.Image, system, d.Name)
					return
				}
			}
		}
	}
	r.unknown(FactDNS, "no Deployment of %s has the label k8s-app=kube-dns", system)
}

func (r *reader) etcd() {
	if r.systemPodsErr != nil {
		r.unknown(FactEtcd, "list the pods of %s: %s", system, why(r.systemPodsErr))
		return
	}
	members := 0
	for i := range r.systemPods {
		if l := r.systemPods[i].Labels; l["component"] == "etcd" || l["k8s-app"] == "etcd-manager-main" {
			members++
		}
	}
	if members == 0 {
		r.unknown(FactEtcd, "no pod of %s is a member: it is outside, or out of sight", system)
		return
	}
	r.observed(FactEtcd, count(members, "member"), "pods of %s", system)
}

// systemNamespaces hold add-ons.
var systemNamespaces = []string{system, "kube-flannel", "calico-system", "tigera-operator"}

func (r *reader) addons() {
	found := map[string]Fact{}
	add := func(kind string, m metav1.ObjectMeta, pod corev1.PodSpec) {
		if !slices.Contains(systemNamespaces, m.Namespace) || len(pod.Containers) == 0 {
			return
		}
		image := pod.Containers[0].Image
		f := Fact{Name: AddonPrefix + m.Name, Value: tag(image), Certainty: Observed, Evidence: fmt.Sprintf("image %s of %s %s/%s", image, kind, m.Namespace, m.Name)}
		if f.Value == "" {
			f.Certainty = Unknown
		}
		if name := m.Labels["addon.kops.k8s.io/name"]; name != "" {
			f.Evidence, f.By = f.Evidence+"; add-on "+name+" of kops", ByKops
		}
		for a := range m.Annotations {
			if name, ok := strings.CutPrefix(a, "addons.k8s.io/"); ok {
				f.Evidence += "; add-on " + name
			}
		}
		found[f.Name] = f
	}
	for i := range r.deployments {
		add("Deployment", r.deployments[i].ObjectMeta, r.deployments[i].Spec.Template.Spec)
	}
	for i := range r.daemonSets {
		add("DaemonSet", r.daemonSets[i].ObjectMeta, r.daemonSets[i].Spec.Template.Spec)
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r.facts.Facts = append(r.facts.Facts, found[name])
	}
}

// tag is the version of an image, without its registry, name and digest.
func tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndexByte(image, '/')+1:]
	_, t, _ := strings.Cut(name, ":")
	return t
}

func (r *reader) systemPod(is func(*corev1.Pod) bool) *corev1.Pod {
	for i := range r.systemPods {
		if is(&r.systemPods[i]) {
			return &r.systemPods[i]
		}
	}
	return nil
}

// argument returns the value of --name in a pod's command line; kops runs it in
// a shell, where all of it is one argument.
func argument(p *corev1.Pod, name string) string {
	if p == nil {
		return ""
	}
	find := regexp.MustCompile(`--` + regexp.QuoteMeta(name) + `=(\S+)`)
	for _, c := range p.Spec.Containers {
		for _, a := range slices.Concat(c.Command, c.Args) {
			if m := find.FindStringSubmatch(a); m != nil {
				return strings.Trim(m[1], `"'`)
			}
		}
	}
	return ""
}
