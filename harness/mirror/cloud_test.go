package mirror

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/golden"
)

func seen(name, value, evidence string) Fact {
	return Fact{Name: name, Value: value, Certainty: Observed, Evidence: evidence}
}

// kopsProduction is a cluster of kops with add-ons of kops' and of others.
func kopsProduction(planes int) (string, []runtime.Object) {
	var out []runtime.Object
	for i := range planes {
		out = append(out, node(nodeSpec{name: fmt.Sprintf("cp-%d", i), kubelet: "v1.34.4", instance: "t3.medium", zone: "eu-west-1" + string(rune('a'+i%3)), provider: "aws:///eu-west-1a/", group: fmt.Sprintf("control-plane-%d", i), groupLabel: "kops.k8s.io/instancegroup", plane: true}))
	}
	for i := range 7 {
		group, size := "apps", "m5.xlarge"
		if i == 6 {
			group, size = "gpu", "g5.xlarge"
		}
		out = append(out, node(nodeSpec{name: fmt.Sprintf("i-%d", i), kubelet: "v1.34.4", instance: size, zone: "eu-west-1" + string(rune('a'+i%3)), provider: "aws:///eu-west-1a/", group: group, groupLabel: "kops.k8s.io/instancegroup"}))
	}
	kops := func(o *metav1.ObjectMeta) {
		o.Labels = map[string]string{"addon.kops.k8s.io/name": o.Name + ".addons.k8s.io"}
	}
	cilium := daemonSet(system, "cilium", "quay.io/cilium/cilium:v1.18.1")
	dns := deployment(system, "coredns", "registry.k8s.io/coredns/coredns:v1.12.1", 2, map[string]string{"k8s-app": "kube-dns"})
	kops(&cilium.ObjectMeta)
	kops(&dns.ObjectMeta)
	dns.Labels["k8s-app"] = "kube-dns"
	return "v1.34.4", append(out, cilium, dns,
		configMap(system, "cilium-config", map[string]string{"routing-mode": "tunnel", "tunnel-protocol": "vxlan", "kube-proxy-replacement": "true"}),
		deployment(system, "datadog", "datadog/agent:7", 1, nil),
		deployment("shop", "api", "shop/api:7", 4, app("api")), budget("shop", "api", "api", nil, new(intstr.FromInt32(3))),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}},
	)
}

// definition is what the source of kops tells.
var definition = []Fact{
	seen(FactPlatform, PlatformKops, "kops get all"), seen(FactStateStore, "s3://production", "kops get all"), seen(FactSpecVersion, "1.34.4", "spec.kubernetesVersion in kops get all"),
	seen(GroupPrefix+"control-plane-0", "control plane, t3.medium, 1 to 1, eu-west-1a", "InstanceGroup"), seen(GroupPrefix+"apps", "workers, m5.xlarge, 3 to 90, eu-west-1a", "InstanceGroup"),
	seen(GroupPrefix+"gpu", "workers, g5.xlarge, 0 to 4, eu-west-1a", "InstanceGroup"), seen(FactTies, "additionalPolicies, serviceAccountIssuerDiscovery", "what a mirror may not keep in kops get all"),
}

func readWith(t *testing.T, v string, objects []runtime.Object, more []Fact) *Facts {
	t.Helper()
	sample := "i-00"
	if v == "v1.34.4" {
		sample = "i-0"
	}
	f, err := Read(t.Context(), Options{Client: client(v, objects...), Get: pages(configz(sample)), Now: now, Sources: []Source{source{facts: more}}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func eksDefinition() ([]Fact, *scenarios.EKS) {
	return []Fact{
			seen(FactPlatform, PlatformEKS, "eks:DescribeCluster"), seen(FactSubnets, "subnet-a in eu-west-1a, subnet-b in eu-west-1b", "ec2:DescribeSubnets"), seen(FactRoles, "arn:c, arn:n", "eks:DescribeCluster"),
			seen(GroupPrefix+"general", "6 of 3 to 9, m5.xlarge, AL2023_x86_64_STANDARD", "eks:DescribeNodegroup"),
			seen(EKSAddonPrefix+"vpc-cni", "v1.20.1-eksbuild.1", "eks:DescribeAddon"), seen(EKSAddonPrefix+"metrics-server", "v0.8.0-eksbuild.2", "eks:DescribeAddon"),
			seen(EKSAddonPrefix+"aws-ebs-csi-driver", "v1.40.0-eksbuild.1", "eks:DescribeAddon"), seen(FactTies, "roles of the add-ons aws-ebs-csi-driver", "eks:DescribeAddon"),
		}, &scenarios.EKS{
			Region: "eu-west-1", Profile: "prod", Subnets: []string{"subnet-a", "subnet-b"}, ClusterRole: "arn:c", NodeRole: "arn:n", InstanceTypes: []string{"m5.xlarge"}, AMIType: "AL2023_x86_64_STANDARD",
			Addons: map[string]string{"vpc-cni": "v1.20.1-eksbuild.1", "metrics-server": "v0.8.0-eksbuild.2", "aws-ebs-csi-driver": "v1.40.0-eksbuild.1"},
		}
}

func TestScenarioFilesOfClouds(t *testing.T) {
	const image = "registry.example/canary:1"
	kopsV, kopsObjects := kopsProduction(3)
	eksV, eksObjects := eks()
	asked, block := eksDefinition()
	builtV, builtObjects := kubeadm()
	production := readWith(t, eksV, eksObjects, asked)
	for _, c := range []struct {
		name  string
		facts *Facts
		want  Want
	}{
		{"kops-kops", readWith(t, kopsV, kopsObjects, definition), Want{Driver: scenarios.DriverKops, To: "v1.35.4", Image: image, Kops: &scenarios.Kops{StateStore: "s3://production", Manifest: "production.kops.yaml"}}},
		{"kops-few", readWith(t, kopsV, kopsObjects, definition), Want{Driver: scenarios.DriverKops, To: "v1.35.4", Workers: 1, Image: image, Kops: &scenarios.Kops{StateStore: "s3://mirror", Manifest: "production.kops.yaml", Path: "/opt/kops"}}},
		{"eks-eks", production, Want{Driver: scenarios.DriverEKS, To: "v1.35.4", Image: image, EKS: block}},
		{"eks-existing", production, Want{Driver: scenarios.DriverExisting, To: "v1.35.4", Image: image, Existing: &Existing{Kubeconfig: "staging.kube", Context: "staging", Command: []string{"./upgrade.sh", "--all"}, Facts: read(t, "w1", builtV, builtObjects)}}},
		{"itself-existing", production, Want{Driver: scenarios.DriverExisting, To: "v1.35.4", Image: image, Existing: &Existing{Kubeconfig: "k", Command: []string{"./upgrade.sh"}, Facts: production}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Name = "production"
			m, err := Make(c.facts, digest(), c.want)
			if err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, c.name+".yaml", m.YAML())
			parsed, err := scenarios.Parse(c.name, m.YAML())
			if err != nil {
				t.Fatal(err)
			}
			got := parsed.Scenarios[0]
			if diff := cmp.Diff(m.Scenario.Cluster, got.Cluster); diff != "" {
				t.Errorf("cluster (-made +parsed):\n%s", diff)
			}
			if diff := cmp.Diff(m.Scenario.Mirror, got.Mirror); diff != "" {
				t.Errorf("mirror (-made +parsed):\n%s", diff)
			}
		})
	}
}

func TestCloudsNeedTheirSources(t *testing.T) {
	f := simple("v1.34.4", 5, 4)
	for want, w := range map[string]Want{
		"the driver kops mirrors a manifest of kops: there is none":               {Driver: scenarios.DriverKops},
		"the driver eks mirrors a cluster of EKS: none was read":                  {Driver: scenarios.DriverEKS},
		"the driver existing needs the cluster that is the mirror: none was read": {Driver: scenarios.DriverExisting, Existing: &Existing{}},
		"production has 5 control planes, and a scenario 1 or 3: etcd's members follow from kops' groups of control planes, so a mirror cannot have fewer; use the driver kind or existing": {Driver: scenarios.DriverKops, Kops: &scenarios.Kops{Manifest: "m"}},
	} {
		if _, err := Make(f, digest(), w); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestCompareClouds holds each kind of mirror against production as it could be
// with its driver.
func TestCompareClouds(t *testing.T) {
	v, objects := kopsProduction(3)
	production := readWith(t, v, objects, definition)
	m, err := Make(production, digest(), Want{Name: "x", Driver: scenarios.DriverKops, To: "v1.35.4", Workers: 3, Image: "i", Kops: &scenarios.Kops{StateStore: "s3://m", Manifest: "m"}})
	if err != nil {
		t.Fatal(err)
	}
	// What kops built: three workers, one of a machine that production has not, and
	// neither cilium nor the add-ons of others.
	objects = slices.DeleteFunc(objects, func(o runtime.Object) bool {
		n, ok := o.(*corev1.Node)
		return ok && slices.Contains([]string{"i-3", "i-4", "i-5", "i-6"}, n.Name)
	})
	objects[3].(*corev1.Node).Labels[corev1.LabelInstanceTypeStable] = "m4.large"
	objects = slices.DeleteFunc(objects, func(o runtime.Object) bool {
		m, ok := o.(metav1.Object)
		return ok && (m.GetName() == "cilium" || m.GetName() == "datadog")
	})
	built := readWith(t, v, objects, nil)
	check := func(what string, p, b *Facts, s *scenarios.Scenario, want map[string]string) {
		t.Helper()
		got := map[string]string{}
		for _, d := range Compare(p, b, s) {
			if _, ok := want[d.Fact]; ok {
				got[d.Fact] = strings.TrimSuffix(d.Result+": "+d.Why, ": ")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("kops", production, built, &m.Scenario, map[string]string{
		FactVersion: Same, FactControlPlanes: Same, FactWorkers: "not covered: the scenario declares 3", FactInstanceTypes: Differs, FactZones: "not covered: the same, in other numbers",
		FactNetwork: "not known: no DaemonSet of a known plug-in, and no node has spec.podCIDR", FactRBAC: "same", AddonPrefix + "cilium": "differs: the mirror has no such add-on",
		AddonPrefix + "datadog": "not covered: the mirror has no such add-on", FactTies: "not known: not looked at",
	})

	v, objects = eks()
	asked, block := eksDefinition()
	production = readWith(t, v, objects, asked)
	m, err = Make(production, digest(), Want{Name: "x", Driver: scenarios.DriverEKS, To: "v1.35.4", Image: "i", EKS: block})
	if err != nil {
		t.Fatal(err)
	}
	built = readWith(t, "v1.34.1-eks-0000000", slices.DeleteFunc(objects, func(o runtime.Object) bool {
		m, ok := o.(metav1.Object)
		return ok && (m.GetName() == "metrics-server" || m.GetName() == "calico-node" || m.GetName() == "kube-proxy-config")
	}), nil)
	check("eks", production, built, &m.Scenario, map[string]string{
		FactVersion: "not covered: another patch version, which its provider chose", FactControlPlanes: "not known: no node is a control plane: somebody else runs it, out of sight", FactWorkers: Same,
		FactNetwork: Same, FactNetworkMode: NotCovered, FactKubeProxy: NotCovered, AddonPrefix + "metrics-server": "not known: not looked at",
		AddonPrefix + "calico-node": "not covered: the mirror has no such add-on", FactInstanceTypes: Same,
	})

	there := scenarios.Default()
	there.Cluster.Driver, there.Versions = scenarios.DriverExisting, scenarios.Versions{From: "v1.34.4", To: "v1.35.4"}
	other := simple("v1.33.9", 1, 2)
	check("existing", production, other, &there, map[string]string{
		FactVersion: Differs, FactWorkers: NotCovered, FactNetwork: Differs, FactKubeProxy: "not known: not looked at",
	})
}
