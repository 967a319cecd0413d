package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// plugin is a network plug-in and the DaemonSets by which it is known.
type plugin struct {
	name string
	sets []string // NAMESPACE/NAME
	// mode tells how it carries packets; nil where no object of the API says.
	mode func(context.Context, *reader, *appsv1.DaemonSet) (value, evidence string)
}

const system = metav1.NamespaceSystem

// plugins are in the order in which they count where several are there: the
// first carries the packets, or decides about them.
var plugins = []plugin{
	{"cilium", []string{system + "/cilium"}, ciliumMode},
	{"aws-node", []string{system + "/aws-node"}, awsMode},
	{"canal", []string{system + "/canal"}, canalMode},
	{"calico", []string{system + "/calico-node", "calico-system/calico-node"}, calicoMode},
	{"flannel", []string{"kube-flannel/kube-flannel-ds", system + "/kube-flannel-ds"}, flannelMode},
	{"kindnet", []string{system + "/kindnet"}, fixed("routes of the host")},
	{"kube-router", []string{system + "/kube-router"}, nil},
	{"kopeio", []string{system + "/kopeio-networking-agent"}, nil},
	{"weave", []string{system + "/weave-net"}, nil},
	{"antrea", []string{system + "/antrea-agent"}, nil},
	{"ovn-kubernetes", []string{"ovn-kubernetes/ovnkube-node", "openshift-ovn-kubernetes/ovnkube-node"}, nil},
	// Clouds' own names for a plug-in.
	{"cilium (GKE dataplane v2)", []string{system + "/anetd"}, nil},
	{"terway", []string{system + "/terway-eniip", system + "/terway-eni", system + "/terway"}, nil},
}

func (r *reader) network(ctx context.Context) {
	if r.daemonSetsErr != nil {
		r.unknown(FactNetwork, "list the DaemonSets: %s", why(r.daemonSetsErr))
		r.unknown(FactNetworkMode, "the plug-in is unknown")
		return
	}
	for _, p := range plugins {
		for _, id := range p.sets {
			ds := r.daemonSet(id)
			if ds == nil {
				continue
			}
			r.observed(FactNetwork, p.name, "DaemonSet %s", id)
			if p.mode == nil {
				r.unknown(FactNetworkMode, "nothing in the API tells that of %s", p.name)
				return
			}
			value, evidence := p.mode(ctx, r, ds)
			r.observed(FactNetworkMode, value, "%s", evidence)
			return
		}
	}
	for i := range r.nodes {
		if r.nodes[i].Spec.PodCIDR != "" {
			r.inferred(FactNetwork, "kubenet", "no DaemonSet of a known plug-in, and nodes have spec.podCIDR")
			r.inferred(FactNetworkMode, "routes of the cloud", "that is how kubenet works")
			return
		}
	}
	r.unknown(FactNetwork, "no DaemonSet of a known plug-in, and no node has spec.podCIDR")
	r.unknown(FactNetworkMode, "the plug-in is unknown")
}

func (r *reader) daemonSet(id string) *appsv1.DaemonSet {
	for i := range r.daemonSets {
		if ds := &r.daemonSets[i]; ds.Namespace+"/"+ds.Name == id {
			return ds
		}
	}
	return nil
}

func fixed(mode string) func(context.Context, *reader, *appsv1.DaemonSet) (string, string) {
	return func(context.Context, *reader, *appsv1.DaemonSet) (string, string) {
		return mode, "the only one that it has"
	}
}

// configMap returns one key of a ConfigMap.
func (r *reader) configMap(ctx context.Context, namespace, name, key string) (string, error) {
	data, err := r.configMapData(ctx, namespace, name)
	if err != nil {
		return "", err
	}
	if data[key] == "" {
		return "", fmt.Errorf("it has no key %s", key)
	}
	return data[key], nil
}

func (r *reader) configMapData(ctx context.Context, namespace, name string) (map[string]string, error) {
	m, err := r.o.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func ciliumMode(ctx context.Context, r *reader, ds *appsv1.DaemonSet) (string, string) {
	id := "ConfigMap " + ds.Namespace + "/cilium-config"
	data, err := r.configMapData(ctx, ds.Namespace, "cilium-config")
	if err != nil {
		return "", id + ": " + why(err)
	}
	routing := data["routing-mode"]
	protocol := data["tunnel-protocol"]
	if old := data["tunnel"]; routing == "" && old != "" { // before Cilium 1.14
		routing, protocol = "tunnel", old
		if old == "disabled" {
			routing = "native"
		}
	}
	if routing == "" {
		routing = "tunnel" // Cilium's own default
	}
	var parts []string
	switch {
	case routing == "tunnel" && protocol != "":
		parts = append(parts, "tunnel "+protocol)
	default:
		parts = append(parts, routing)
	}
	for _, key := range []string{"ipam", "kube-proxy-replacement", "cni-chaining-mode"} {
		if v := data[key]; v != "" {
			parts = append(parts, key+" "+v)
		}
	}
	return strings.Join(parts, ", "), id
}

// awsDefaultMode is how aws-node gives addresses where nobody says otherwise.
const awsDefaultMode = "secondary addresses"

func awsMode(_ context.Context, r *reader, ds *appsv1.DaemonSet) (string, string) {
	mode := awsDefaultMode
	if env(ds, "ENABLE_PREFIX_DELEGATION") == "true" {
		mode = "prefix delegation"
	}
	for _, id := range []string{system + "/calico-node", "calico-system/calico-node"} {
		if r.daemonSet(id) != nil {
			mode += ", policy by calico"
			break
		}
	}
	return mode, "environment of DaemonSet " + ds.Namespace + "/" + ds.Name
}

func calicoMode(_ context.Context, _ *reader, ds *appsv1.DaemonSet) (string, string) {
	evidence := "environment of DaemonSet " + ds.Namespace + "/" + ds.Name
	ipip, vxlan := env(ds, "CALICO_IPV4POOL_IPIP"), env(ds, "CALICO_IPV4POOL_VXLAN")
	is := func(s string) bool { return s != "" && s != "Never" }
	switch {
	case is(vxlan):
		return "vxlan " + vxlan, evidence
	case is(ipip):
		return "ipip " + ipip, evidence
	case ipip == "Never" || vxlan == "Never":
		return "no encapsulation", evidence
	}
	return "", evidence + " does not say; the operator keeps it in a resource of its own"
}

func canalMode(ctx context.Context, r *reader, ds *appsv1.DaemonSet) (string, string) {
	mode, evidence := r.flannelBackend(ctx, ds.Namespace, "canal-config")
	if mode != "" {
		mode += ", policy by calico"
	}
	return mode, evidence
}

func flannelMode(ctx context.Context, r *reader, ds *appsv1.DaemonSet) (string, string) {
	return r.flannelBackend(ctx, ds.Namespace, "kube-flannel-cfg")
}

func (r *reader) flannelBackend(ctx context.Context, namespace, name string) (string, string) {
	id := "net-conf.json of ConfigMap " + namespace + "/" + name
	text, err := r.configMap(ctx, namespace, name, "net-conf.json")
	if err != nil {
		return "", id + ": " + why(err)
	}
	var conf struct {
		Backend struct{ Type string }
	}
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		return "", id + " is no JSON: " + err.Error()
	}
	return conf.Backend.Type, id
}

// env returns the value of an environment variable of a DaemonSet's pods.
func env(ds *appsv1.DaemonSet, name string) string {
	spec := ds.Spec.Template.Spec
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
		if i >= 0 {
			return c.Env[i].Value
		}
	}
	return ""
}
