package kops

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
	if diff := cmp.Diff([]string{
		"SSHCredential admin", "api.loadBalancer.sslCertificate", "configBase", "etcdClusters.backups", "instanceGroup.additionalSecurityGroups", "instanceGroup.iam",
		"keyStore", "masterPublicName", "networkID", "serviceAccountIssuerDiscovery", "subnets.egress", "subnets.id",
	}, got.Left); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	again, err := Render(got.Manifest, Rendering{Name: "mirror.k8s.local", StateStore: "s3://mirror/", RunID: "ab12cd", Version: "v1.33.7", Workers: 5, ControlPlanes: 3})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got.Manifest), string(again.Manifest)); diff != "" {
		t.Errorf("rendered again (-once +twice):\n%s", diff)
	}
	text := string(got.Manifest)
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

// TestRenderKeepsProportions scales groups as they are to each other, by what was
// seen of them where that is known, and lets none vanish.
func TestRenderKeepsProportions(t *testing.T) {
	const in = `
apiVersion: kops.k8s.io/v1alpha2
kind: Cluster
spec: {api: {dns: {}}, topology: {dns: {type: Public}}}
---
apiVersion: v1
kind: Secret
metadata: {name: additional}
data: {a: cHJvZHVjdGlvbg==}
---
apiVersion: kops.k8s.io/v1alpha2
kind: InstanceGroup
metadata: {name: big}
spec: {role: Node, minSize: 8, maxSize: 80, volumes: [{device: /dev/xvdb, key: arn:key}]}
---
apiVersion: kops.k8s.io/v1alpha2
kind: InstanceGroup
metadata: {name: small}
spec: {role: Node, minSize: 2, maxSize: 2}
---
apiVersion: kops.k8s.io/v1alpha2
kind: InstanceGroup
metadata: {name: gpu}
spec: {role: Node, minSize: 0, maxSize: 4}
`
	for _, c := range []struct {
		workers int
		seen    map[string]int
		want    []float64
	}{
		{0, nil, []float64{8, 2, 0}},
		{11, nil, []float64{8, 2, 1}},
		{5, nil, []float64{3, 1, 1}},
		{3, nil, []float64{1, 1, 1}},
		{2, nil, []float64{1, 1, 0}},
		{5, map[string]int{"big": 1, "small": 10, "gpu": 1}, []float64{1, 3, 1}},
		{60, map[string]int{"big": 40, "small": 2, "gpu": 18}, []float64{40, 2, 18}},
	} {
		got, err := Render([]byte(in), Rendering{Name: "m.k8s.local", StateStore: "s3://m", Version: "v1.33.7", Workers: c.workers, Sizes: c.seen})
		if err != nil {
			t.Fatal(err)
		}
		docs, err := Documents(got.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		var sizes []float64
		for _, d := range docs[1:] {
			n, _ := d.Spec["minSize"].(float64)
			sizes = append(sizes, n)
		}
		if diff := cmp.Diff(c.want, sizes); diff != "" {
			t.Errorf("%d workers of %v (-want +got):\n%s", c.workers, c.seen, diff)
		}
		text := string(got.Manifest)
		for _, gone := range []string{"Secret", "cHJvZ", "arn:key", "Public\n    dns", "rehearse"} {
			if strings.Contains(text, gone) {
				t.Errorf("%q is still there:\n%s", gone, text)
			}
		}
		if !strings.Contains(text, "class: Network\n      type: Public") || !strings.Contains(text, "type: None") {
			t.Errorf("without names the API needs a network balancer:\n%s", text)
		}
		if diff := cmp.Diff([]string{"Secret additional", "api.dns", "instanceGroup.volumes.key", "topology.dns"}, got.Left); diff != "" {
			t.Errorf("left out (-want +got):\n%s", diff)
		}
	}
}

// TestGetOnlyGets reads a cluster of the state store, by kops get alone.
func TestGetOnlyGets(t *testing.T) {
	given, err := os.ReadFile("testdata/get-all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cluster, clusters string
		rc                string
		stderr            string
		want              string
	}{
		"named":     {"t.example.com", "", "", "", ""},
		"the only":  {"", ours, "", "", ""},
		"none":      {"", "", "1", "No clusters found", "s3://kops-state holds no cluster"},
		"several":   {"", "[" + ours + "," + strings.Replace(ours, "t.example.com", "u.example.com", 1) + "]", "", "", "s3://kops-state holds 2 clusters, so name one: t.example.com, u.example.com"},
		"not there": {"x.example.com", "", "1", `Error: cluster not found "x.example.com"`, "s3://kops-state has no cluster x.example.com: look with kops get clusters --state s3://kops-state"},
		"forbidden": {"t.example.com", "", "1", "AccessDenied: Access Denied", "the credentials lack a permission; grant the action that the message names"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, func(o *Options) { o.Name = c.cluster })
			b.put("get-all.stdout", string(given))
			b.put("get-clusters.stdout", c.clusters)
			if c.rc != "" {
				for _, key := range []string{"get-all", "get-clusters"} {
					b.put(key+".rc", c.rc)
					b.put(key+".stderr", c.stderr)
				}
			}
			got, manifest, err := b.d.Get(b.ctx())
			switch {
			case c.want == "" && (err != nil || got != "t.example.com" || string(manifest) != string(given)):
				t.Errorf("%q, %d bytes, %v", got, len(manifest), err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			for _, call := range b.calls() {
				if !strings.HasPrefix(call, "get ") {
					t.Errorf("called kops %s", call)
				}
			}
			if b.d.dir != "" {
				t.Errorf("%s is left", b.d.dir)
			}
		})
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
		if err == nil && (!strings.Contains(string(out.Manifest), "kubernetesVersion: 1.33.7") || !strings.Contains(string(out.Manifest), cluster.LabelRun+": ab12cd")) {
			t.Fatalf("rendered without name or label:\n%s", out.Manifest)
		}
	})
}
