package mirror

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

func TestNetworkPlugins(t *testing.T) {
	flannel := map[string]string{"net-conf.json": `{"Backend":{"Type":"host-gw"}}`}
	kubenet := node(nodeSpec{name: "n"})
	kubenet.Spec.PodCIDR = "10.1.2.0/24"
	for _, c := range []struct {
		name          string
		objects       []runtime.Object
		network, mode string
		sure          Certainty
	}{
		{"cilium before all", []runtime.Object{
			daemonSet(system, "cilium", "c:v1"), daemonSet(system, "aws-node", "a:v1"), daemonSet(system, "calico-node", "a:v1"),
			configMap(system, "cilium-config", map[string]string{"routing-mode": "tunnel", "tunnel-protocol": "vxlan", "ipam": "cluster-pool", "kube-proxy-replacement": "true"}),
		}, "cilium", "tunnel vxlan, ipam cluster-pool, kube-proxy-replacement true", Observed},
		{"cilium of old", []runtime.Object{daemonSet(system, "cilium", "c:v1"), configMap(system, "cilium-config", map[string]string{"tunnel": "disabled"})}, "cilium", "native", Observed},
		{"aws-node, calico for policy", []runtime.Object{daemonSet(system, "aws-node", "a:v1"), daemonSet(system, "calico-node", "c:v1")}, "aws-node", "secondary addresses, policy by calico", Observed},
		{"canal before calico and flannel", []runtime.Object{daemonSet(system, "canal", "c:v1"), daemonSet(system, "calico-node", "c:v1"), configMap(system, "canal-config", flannel)}, "canal", "host-gw, policy by calico", Observed},
		{"calico", []runtime.Object{daemonSet("calico-system", "calico-node", "c:v1", "CALICO_IPV4POOL_IPIP", "Never", "CALICO_IPV4POOL_VXLAN", "CrossSubnet")}, "calico", "vxlan CrossSubnet", Observed},
		{"calico of the operator", []runtime.Object{daemonSet("calico-system", "calico-node", "c:v1")}, "calico", "", Observed},
		{"flannel", []runtime.Object{daemonSet("kube-flannel", "kube-flannel-ds", "f:v1"), configMap("kube-flannel", "kube-flannel-cfg", flannel)}, "flannel", "host-gw", Observed},
		{"flannel of kops", []runtime.Object{daemonSet(system, "kube-flannel-ds", "f:v1"), configMap(system, "kube-flannel-cfg", map[string]string{"net-conf.json": "{"})}, "flannel", "", Observed},
		{"kindnet", []runtime.Object{daemonSet(system, "kindnet", "k:v1")}, "kindnet", "routes of the host", Observed},
		{"kube-router", []runtime.Object{daemonSet(system, "kube-router", "k:v1")}, "kube-router", "", Observed},
		{"kopeio", []runtime.Object{daemonSet(system, "kopeio-networking-agent", "k:v1")}, "kopeio", "", Observed},
		{"weave", []runtime.Object{daemonSet(system, "weave-net", "k:v1")}, "weave", "", Observed},
		{"antrea", []runtime.Object{daemonSet(system, "antrea-agent", "k:v1")}, "antrea", "", Observed},
		{"ovn", []runtime.Object{daemonSet("openshift-ovn-kubernetes", "ovnkube-node", "k:v1")}, "ovn-kubernetes", "", Observed},
		{"GKE", []runtime.Object{daemonSet(system, "anetd", "k:v1")}, "cilium (GKE dataplane v2)", "", Observed},
		{"ACK", []runtime.Object{daemonSet(system, "terway-eniip", "k:v1")}, "terway", "", Observed},
		{"kubenet", []runtime.Object{kubenet}, "kubenet", "routes of the cloud", Inferred},
		{"none", nil, "", "", Unknown},
		{"by that name elsewhere", []runtime.Object{daemonSet("shop", "cilium", "c:v1")}, "", "", Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := read(t, "m", "v1.34.4", append(c.objects, node(nodeSpec{name: "m"})))
			got, mode := facts.Get(FactNetwork), facts.Get(FactNetworkMode)
			if got.Value != c.network || got.Certainty != c.sure || mode.Value != c.mode {
				t.Errorf("%q %s, mode %q; want %q %s, mode %q", got.Value, got.Certainty, mode.Value, c.network, c.sure, c.mode)
			}
		})
	}
}
