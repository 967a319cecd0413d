package kops

import (
	"os"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestRenderFreesTheMirrorFromProduction(t *testing.T) {
	given, err := os.ReadFile("testdata/get-all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// What a production cluster has and the captured one lacks.
	planted := strings.Replace(string(given), "spec:\n  api:\n    loadBalancer:\n", "spec:\n  networkID: vpc-production\n  masterPublicName: api.production\n  keyStore: s3://production/pki\n"+
		"  serviceAccountIssuerDiscovery: {discoveryStore: s3://production-oidc}\n  api:\n    loadBalancer:\n      sslCertificate: arn:production\n", 1)
	planted = strings.Replace(planted, "    name: main\n", "    name: main\n    backups: {backupStore: s3://production-backups}\n", 1)
	planted = strings.Replace(planted, "  - cidr: 172.20.0.0/18\n", "  - cidr: 172.20.0.0/18\n    id: subnet-production\n    egress: nat-production\n", 1)
	planted = strings.Replace(planted, "  role: Node\n", "  role: Node\n  iam: {profile: arn:production-profile}\n  additionalSecurityGroups: [sg-production]\n", 1)
	planted += "\n---\n\napiVersion: kops.k8s.io/v1alpha2\nkind: SSHCredential\nmetadata: {name: admin}\nspec: {publicKey: ssh-rsa production}\n"
	if n := strings.Count(planted, "production"); n != 11 {
		t.Fatalf("%d of 11 plants took root", n)
	}
	got, err := Render([]byte(planted), Rendering{Name: "mirror.k8s.local", StateStore: "s3://mirror/", RunID: "ab12cd", Version: "v1.33.7", Workers: 5, ControlPlanes: 3})
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	for _, gone := range []string{"production", "t.example.com", "creationTimestamp", "1.32.4"} {
		if strings.Contains(text, gone) {
			t.Errorf("%q is still there", gone)
		}
	}
	for want, n := range map[string]int{
		"name: mirror.k8s.local\n": 1, "kops.k8s.io/cluster: mirror.k8s.local\n": 6, "io.rehearse.run: ab12cd\n": 1, "kubernetesVersion: 1.33.7\n": 1,
		"configBase: s3://mirror/mirror.k8s.local\n": 1, "machineType: t3.medium\n": 6, "zone: us-east-1b\n": 1, "cilium:": 1,
		"maxSize: 2\n": 2, "maxSize: 1\n": 4, // five workers in three groups, three control planes
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q is there %d times, want %d", want, got, n)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	const group = "kind: InstanceGroup\nmetadata: {name: a}\nspec: {role: Master}\n"
	for in, want := range map[string]string{
		"":                            "0 documents of kind Cluster: want exactly one, and its InstanceGroups",
		"kind: Pod\nspec: {a: b}":     "document 1: kind Pod is unknown; accepted: Cluster, InstanceGroup, SSHCredential",
		"kind: Cluster":               "document 1: no spec: want the output of kops get all -o yaml",
		"kind: Cluster\nspec: {a: b}": "the manifest has 0 groups of control planes, the scenario asks for 1: etcd's members follow from the manifest, so correct the scenario",
		"kind: Cluster\nspec: {a: b}\n---\n" + group: "the manifest has no group of nodes to scale",
	} {
		_, err := Render([]byte(in), Rendering{Name: "m", Version: "v1.33.7", Workers: 2, ControlPlanes: 1})
		if err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", in, err, want)
		}
	}
}

func FuzzRender(f *testing.F) {
	given, err := os.ReadFile("testdata/get-all.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(given)
	f.Add([]byte("kind: Cluster\nspec: {subnets: [1, {id: x}], cloudLabels: 3}\n---\nkind: InstanceGroup\nspec: {role: 3}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := Render(in, Rendering{Name: "m", RunID: "ab12cd", Version: "v1.33.7"})
		if err == nil && (!strings.Contains(string(out), "kubernetesVersion: 1.33.7") || !strings.Contains(string(out), cluster.LabelRun+": ab12cd")) {
			t.Fatalf("rendered without name or label:\n%s", out)
		}
	})
}
