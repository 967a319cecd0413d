package cli

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// mirrorBed is a production of three control planes' worth of nodes that answers,
// and rehearse mirror on it.
type mirrorBed struct {
	t   *testing.T
	p   *production
	dir string
}

func newMirrorBed(t *testing.T, label string) *mirrorBed {
	b := &mirrorBed{t: t, p: &production{methods: map[string]int{}, workers: 4, label: label}, dir: t.TempDir()}
	server := httptest.NewServer(b.p)
	t.Cleanup(server.Close)
	kubeconfigOf(t, b.at("kube"), server.URL)
	return b
}

func (b *mirrorBed) at(name string) string { return filepath.Join(b.dir, name) }

func (b *mirrorBed) run(args ...string) (code int, out, told string) {
	var stdout, stderr bytes.Buffer
	code = Main(append([]string{"mirror", "--kubeconfig", b.at("kube")}, args...), Streams{Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

func (b *mirrorBed) scenario(path string) *scenarios.Scenario {
	b.t.Helper()
	f, err := scenarios.LoadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	return &f.Scenarios[0]
}

// refused runs commands that must not begin.
func (b *mirrorBed) refused(all map[string][]string) {
	b.t.Helper()
	for want, args := range all {
		if code, _, told := b.run(args...); code != ExitUsage || !strings.Contains(told, want) {
			b.t.Errorf("%v: %d, %s; want %s", args, code, told, want)
		}
	}
}

func TestMirrorOfKops(t *testing.T) {
	const library = "../../../harness/cluster/kops/testdata/"
	given, err := os.ReadFile(library + "get-all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The cluster that answers has one control plane: so has this definition.
	text := strings.ReplaceAll(string(given), "role: Master\n  subnets:\n  - us-east-1b", "role: APIServer\n  subnets:\n  - us-east-1b")
	text = strings.ReplaceAll(text, "role: Master\n  subnets:\n  - us-east-1c", "role: APIServer\n  subnets:\n  - us-east-1c")
	text = strings.Replace(text, "spec:\n  api:\n", "spec:\n  networkID: vpc-production\n  api:\n", 1)
	b := newMirrorBed(t, `"kops.k8s.io/instancegroup":"nodes-us-east-1b"`)
	t.Setenv("FAKE", b.dir)
	for name, answer := range map[string]string{"get-all.stdout": text, "get-clusters.stdout": `[{"metadata":{"name":"t.example.com"}}]`, "all.yaml": text} {
		if err := os.WriteFile(b.at(name), []byte(answer), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kops, err := filepath.Abs(library + "kops")
	if err != nil {
		t.Fatal(err)
	}
	state := []string{"--kops", kops, "--kops-state", "s3://kops-state", "--canary-image", "registry.example/canary:1", "--to", "v1.35.4"}
	code, out, told := b.run(append(state, "--out", b.at("s.yaml"), "--facts", b.at("facts.json"))...)
	if code != 0 || out != "" || !strings.Contains(told, "on kops; not covered") || !strings.Contains(told, "The manifest of the mirror is "+b.at("production.kops.yaml")) {
		t.Fatalf("%d, %q, %s", code, out, told)
	}
	s := b.scenario(b.at("s.yaml"))
	if diff := cmp.Diff(&scenarios.Kops{Path: kops, StateStore: "s3://kops-state", Manifest: b.at("production.kops.yaml")}, s.Cluster.Kops); diff != "" || s.Cluster.Driver != "kops" || s.Cluster.Workers != 4 || s.Cluster.ControlPlanes != 1 || s.Canary.Image != "registry.example/canary:1" {
		t.Errorf("%+v\n%s", s.Cluster, diff)
	}
	manifest, err := os.ReadFile(b.at("production.kops.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for want, n := range map[string]int{"production.k8s.local": 8, "kubernetesVersion: 1.34.4": 1, "minSize: 2": 1, "vpc-production": 0, "t.example.com": 0} {
		if got := strings.Count(string(manifest), want); got != n {
			t.Errorf("%q is in the manifest %d times, want %d", want, got, n)
		}
	}
	if info, err := os.Stat(b.at("production.kops.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("manifest: %v, %v", info, err)
	}
	calls, err := os.ReadFile(b.at("calls"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("get clusters -o json --state s3://kops-state\nget all -o yaml --name t.example.com --state s3://kops-state\n", string(calls)); diff != "" {
		t.Errorf("calls of kops (-want +got):\n%s", diff)
	}
	// The definition as a source beside another driver, from a file, and in --diff.
	code, out, told = b.run("--kops-manifest", b.at("all.yaml"), "--driver", "kind")
	if code != 0 || !strings.Contains(out, "driver: kind") || !strings.Contains(out, "# network: ") && !strings.Contains(out, "# observed cilium (spec.networking in "+b.at("all.yaml")) {
		t.Errorf("%d, %s%s", code, told, out)
	}
	if code, out, told = b.run("--diff", "-f", b.at("s.yaml"), "--facts", b.at("facts.json"), "--kops-manifest", b.at("all.yaml")); code != 0 || !strings.Contains(out, " 0 differ.\n") || !strings.Contains(out, "same") {
		t.Errorf("diff: %d, %s%s", code, out, told)
	}
	b.refused(map[string][]string{
		"--driver kops needs --out: the manifest is written beside the scenario": state,
		"--driver kops needs --canary-image":                                     {"--kops-state", "s3://x", "--out", "x"},
		"--driver kops needs --kops-state or --kops-manifest":                    {"--driver", "kops", "--out", "x"},
		"--driver kops needs --state-store: where the mirror is registered":      {"--kops-manifest", b.at("all.yaml"), "--out", "x", "--canary-image", "i"},
		`--kops-state "bucket": want a bucket as s3://BUCKET`:                    {"--kops-state", "bucket"},
		"give one of --kops-state and --kops-manifest":                           {"--kops-state", "s3://x", "--kops-manifest", "y"},
		"--kops-name names a cluster of --kops-state":                            {"--kops-name", "x"},
		"a cluster is made by kops or by EKS":                                    {"--kops-state", "s3://x", "--eks", "y"},
		"--canary-image is for nodes that pull it: --driver kind":                {"--canary-image", "i"},
		"want one document of kind Cluster":                                      {"--kops-manifest", "/dev/null", "--driver", "kind"},
		"--kops-manifest: open":                                                  {"--kops-manifest", b.at("nowhere"), "--driver", "kind"},
	})
	b.p.mu.Lock()
	b.p.label = `"kops.k8s.io/instancegroup":"of-another-cluster"`
	b.p.mu.Unlock()
	b.refused(map[string][]string{"no node of the cluster that --kubeconfig names is in a group of " + b.at("all.yaml"): {"--kops-manifest", b.at("all.yaml"), "--driver", "kind"}})
}

// TestMirrorOfEKS asks an AWS over the network, with credentials from the
// environment, which nothing that is written may hold.
func TestMirrorOfEKS(t *testing.T) {
	a := fakeaws.New()
	for _, z := range []string{"a", "b"} {
		a.EC2.Subnets = append(a.EC2.Subnets, fakeaws.Subnet{ID: "subnet-" + z, Zone: "eu-west-1" + z})
	}
	a.EKS.Clusters["payments"] = &fakeaws.Cluster{
		Name: "payments", Version: "1.34", Subnets: []string{"subnet-a", "subnet-b"}, Role: "arn:aws:iam::0:role/c",
		Groups: map[string]*fakeaws.Group{"apps": {Name: "apps", Version: "1.34", Desired: 4, Types: []string{"m6i.large"}, Role: "arn:aws:iam::0:role/n", Subnets: []string{"subnet-a", "subnet-b"}}},
		Addons: map[string]string{"coredns": "v1.11.4-eksbuild.1"},
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": fakeaws.AccessKey, "AWS_SECRET_ACCESS_KEY": fakeaws.SecretKey, "AWS_SESSION_TOKEN": fakeaws.SessionToken,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_REGION": "", "AWS_PROFILE": "", "AWS_DEFAULT_REGION": "",
	} {
		t.Setenv(k, v)
	}
	b := newMirrorBed(t, `"eks.amazonaws.com/nodegroup":"apps"`)
	code, out, told := b.run("--eks", "payments", "--region", "eu-west-1", "--canary-image", "registry.example/canary:1", "--to", "v1.35.4", "--out", b.at("s.yaml"), "--facts", b.at("facts.json"))
	if code != 0 || out != "" || !strings.Contains(told, "on eks; not covered") {
		t.Fatalf("%d, %q, %s", code, out, told)
	}
	s := b.scenario(b.at("s.yaml"))
	if diff := cmp.Diff(&scenarios.EKS{
		Region: "eu-west-1", Subnets: []string{"subnet-a", "subnet-b"}, ClusterRole: "arn:aws:iam::0:role/c", NodeRole: "arn:aws:iam::0:role/n", InstanceTypes: []string{"m6i.large"},
		AMIType: "AL2023_x86_64_STANDARD", Addons: map[string]string{"coredns": "v1.11.4-eksbuild.1"},
	}, s.Cluster.EKS); diff != "" || s.Cluster.Workers != 4 {
		t.Errorf("%+v\n%s", s.Cluster, diff)
	}
	for _, call := range a.Calls() {
		if _, operation, _ := strings.Cut(call, ":"); !strings.HasPrefix(operation, "Describe") && !strings.HasPrefix(operation, "List") {
			t.Errorf("called %s", call)
		}
	}
	for _, name := range []string{"s.yaml", "facts.json"} {
		text, err := os.ReadFile(b.at(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{fakeaws.AccessKey, fakeaws.SecretKey, fakeaws.SessionToken} {
			if strings.Contains(string(text)+told, secret) {
				t.Errorf("%s holds %s", name, secret)
			}
		}
	}
	if code, _, told := b.run("--eks", "nowhere", "--region", "eu-west-1", "--canary-image", "i"); code != ExitFailed || !strings.Contains(told, "region eu-west-1 has no EKS cluster nowhere; check name, region and account") {
		t.Errorf("another name: %d, %s", code, told)
	}
	if code, _, told := b.run("--eks", "payments", "--canary-image", "i"); code != ExitFailed || !strings.Contains(told, "no AWS region") {
		t.Errorf("no region: %d, %s", code, told)
	}
	b.refused(map[string][]string{
		"--driver eks needs --eks":                 {"--driver", "eks", "--canary-image", "i"},
		"--region and --profile are for --eks":     {"--region", "eu-west-1"},
		"--driver eks needs --canary-image":        {"--eks", "payments"},
		"--mirror-kubeconfig is for a mirror that": {"--mirror-kubeconfig", "x", "--driver", "kind"},
	})
	b.p.mu.Lock()
	b.p.label = ""
	b.p.mu.Unlock()
	b.refused(map[string][]string{"is in a group of EKS cluster payments (apps): these are two clusters": {"--eks", "payments", "--region", "eu-west-1", "--canary-image", "i"}})
}

func TestMirrorThatExists(t *testing.T) {
	b := newMirrorBed(t, "")
	staging := &production{methods: map[string]int{}, workers: 2}
	server := httptest.NewServer(staging)
	t.Cleanup(server.Close)
	kubeconfigOf(t, b.at("staging"), server.URL)
	code, out, told := b.run("--mirror-kubeconfig", b.at("staging"), "--canary-image", "registry.example/canary:1", "--upgrade-command", "./roll.sh", "--upgrade-command", "--all", "--out", b.at("s.yaml"))
	if code != 0 || out != "" || !strings.Contains(told, "on existing; not covered") {
		t.Fatalf("%d, %q, %s", code, out, told)
	}
	s := b.scenario(b.at("s.yaml"))
	if s.Cluster.Driver != "existing" || s.Cluster.Kubeconfig != b.at("staging") || !cmp.Equal(s.Upgrade.Command, []string{"./roll.sh", "--all"}) {
		t.Errorf("%+v, %q", s.Cluster, s.Upgrade.Command)
	}
	if all := strings.Join(s.Mirror.Uncovered, "\n"); !strings.Contains(all, "workers: 4 in production, 2 in the mirror") {
		t.Error(all)
	}
	if len(staging.methods) != 1 || staging.methods["GET"] < 10 {
		t.Errorf("the mirror was asked %v", staging.methods)
	}
	b.refused(map[string][]string{
		"--driver existing needs --mirror-kubeconfig": {"--driver", "existing", "--canary-image", "i"},
		"--driver existing needs --canary-image":      {"--mirror-kubeconfig", b.at("staging")},
		"--mirror-kubeconfig " + b.at("nowhere"):      {"--mirror-kubeconfig", b.at("nowhere"), "--canary-image", "i"},
	})
}
