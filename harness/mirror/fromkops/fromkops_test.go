package fromkops

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/mirror"
)

// fixture is what the real kops 1.35.0 printed.
func fixture(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/get-all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func lines(t *testing.T, s *Source) []string {
	t.Helper()
	facts, err := s.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range facts {
		all = append(all, fmt.Sprintf("%s = %s %s (%s)", f.Name, f.Certainty, f.Value, strings.TrimSuffix(f.Evidence, " in kops get all")))
	}
	return all
}

func TestFactsOfRealOutput(t *testing.T) {
	s, err := New([]byte(fixture(t)), "s3://kops-state", "kops get all")
	if err != nil {
		t.Fatal(err)
	}
	const image = "099720109477/ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20251212"
	want := []string{
		"platform = observed kops (kops get all)",
		"state-store = observed s3://kops-state (kops get all)",
		"declared-version = observed 1.32.4 (spec.kubernetesVersion)",
		"control-planes = observed 3 (InstanceGroups of role Master)",
		"workers = observed 3 (InstanceGroups of role Node)",
		"instance-types = inferred t3.medium ×6 (machineType of the InstanceGroups, counted by minSize,)",
		"zones = inferred us-east-1a ×2, us-east-1b ×2, us-east-1c ×2 (subnets of the InstanceGroups)",
		"node-group/control-plane-us-east-1a = observed control plane, t3.medium, 1 to 1, us-east-1a, " + image + " (InstanceGroup control-plane-us-east-1a)",
		"node-group/control-plane-us-east-1b = observed control plane, t3.medium, 1 to 1, us-east-1b, " + image + " (InstanceGroup control-plane-us-east-1b)",
		"node-group/control-plane-us-east-1c = observed control plane, t3.medium, 1 to 1, us-east-1c, " + image + " (InstanceGroup control-plane-us-east-1c)",
		"node-group/nodes-us-east-1a = observed workers, t3.medium, 1 to 1, us-east-1a, " + image + " (InstanceGroup nodes-us-east-1a)",
		"node-group/nodes-us-east-1b = observed workers, t3.medium, 1 to 1, us-east-1b, " + image + " (InstanceGroup nodes-us-east-1b)",
		"node-group/nodes-us-east-1c = observed workers, t3.medium, 1 to 1, us-east-1c, " + image + " (InstanceGroup nodes-us-east-1c)",
		"network = observed cilium (spec.networking)",
		"network-config = observed enableNodePort=true (spec.networking.cilium)",
		"kube-proxy = observed none (spec.kubeProxy.enabled)",
		"api-access = observed balancer of class Network, Public (spec.api.loadBalancer)",
		"etcd = observed 3 members (spec.etcdClusters)",
		"rbac = observed on (spec.authorization)",
	}
	if diff := cmp.Diff(want, lines(t, s)); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestFactsOfWhatTheFixtureLacks(t *testing.T) {
	text := strings.NewReplacer(
		"  networking:\n    cilium:\n      enableNodePort: true\n", "  networking:\n    amazonvpc: {}\n  serviceClusterIPRange: 100.64.0.0/13\n  additionalPolicies: {node: '[{\"Resource\": \"arn:production\"}]'}\n  serviceAccountIssuerDiscovery: {discoveryStore: s3://production-oidc}\n",
		"    enabled: false\n", "    proxyMode: ipvs\n",
		"    anonymousAuth: false\n", "    anonymousAuth: false\n    featureGates: {Tea: \"true\", Milk: \"false\"}\n",
		"    rbac: {}\n", "    alwaysAllow: {}\n",
		"    loadBalancer:\n      class: Network\n      type: Public\n", "    dns: {}\n",
		"  name: nodes-us-east-1c\nspec:\n", "  name: nodes-us-east-1c\nspec:\n  additionalUserData: [{name: a, content: secret}]\n",
		"  maxSize: 1\n  minSize: 1\n  role: Node\n  subnets:\n  - us-east-1b", "  maxSize: 9\n  minSize: 0\n  role: Node\n  subnets:\n  - us-east-1b",
	).Replace(fixture(t))
	s, err := New([]byte(text), "", "a file")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(lines(t, s), "\n")
	for _, want := range []string{
		"network = observed aws-node (spec.networking in a file)", "kube-proxy = observed ipvs (", "declared-feature-gates = observed kubelet: Milk=false Tea=true (",
		"rbac = observed off (", "api-access = observed DNS without a balancer (", "service-cidr = observed 100.64.0.0/13 (",
		"node-group/nodes-us-east-1b = observed workers, t3.medium, 0 to 9, us-east-1b", "additional user data (InstanceGroup nodes-us-east-1c",
		"ties = observed additionalPolicies, api.dns, serviceAccountIssuerDiscovery (what a mirror may not keep in a file)",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is missing of\n%s", want, all)
		}
	}
	for _, gone := range []string{"\nworkers = ", "state-store", "secret", "arn:production", "production-oidc"} {
		if strings.Contains(all, gone) {
			t.Errorf("%q is among\n%s", gone, all)
		}
	}
}

func TestManifestOfTheMirror(t *testing.T) {
	s, err := New([]byte(fixture(t)), "s3://kops-state", "kops get all")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Manifest("payments.k8s.local", "s3://rehearsals", "v1.32.4", 6, map[string]int{"nodes-us-east-1a": 8, "nodes-us-east-1b": 2, "nodes-us-east-1c": 2})
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	for want, n := range map[string]int{"payments.k8s.local": 8, "s3://rehearsals/payments.k8s.local": 1, "kubernetesVersion: 1.32.4": 1, "minSize: 4": 1, "minSize: 1": 5, "t.example.com": 0, "io.rehearse.run": 0} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q is there %d times, want %d", want, got, n)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"": "f: want one document of kind Cluster and its InstanceGroups, as kops get all -o yaml prints them",
		"apiVersion: kops.k8s.io/v1alpha2\nkind: Cluster\nspec: {a: b}": "f: want one document of kind Cluster and its InstanceGroups, as kops get all -o yaml prints them",
		"kind: Pod\nspec: {a: b}": "f: document 1: kind Pod is unknown; accepted: Cluster, InstanceGroup, SSHCredential",
	} {
		if _, err := New([]byte(in), "", "f"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func FuzzFacts(f *testing.F) {
	f.Add(fixture(f))
	f.Add("kind: Cluster\nspec: {networking: 3, subnets: [1], api: [], etcdClusters: {a: b}, kubeProxy: x}\n---\nkind: InstanceGroup\nspec: {role: 3, subnets: [2], minSize: x}")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := New([]byte(in), "s3://x", "fuzz")
		if err != nil {
			return
		}
		facts, err := s.Facts(t.Context())
		if err != nil {
			return
		}
		for _, x := range facts {
			if (x.Value == "") != (x.Certainty == mirror.Unknown) {
				t.Errorf("%+v", x)
			}
		}
	})
}
