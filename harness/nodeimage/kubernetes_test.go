package nodeimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseImageList(t *testing.T) {
	const out = `registry.example/kube-apiserver:v1.34.4
registry.example/kube-controller-manager:v1.34.4
registry.example/kube-scheduler:v1.34.4
registry.example/kube-proxy:v1.34.4
registry.example/coredns/coredns:v1.12.1
registry.example/pause:3.10.1
registry.example:5000/etcd:3.6.5-0`
	got, err := parseImageList(out)
	if err != nil {
		t.Fatal(err)
	}
	want := wanted{
		"kube-apiserver":          "registry.example/kube-apiserver:v1.34.4",
		"kube-controller-manager": "registry.example/kube-controller-manager:v1.34.4",
		"kube-scheduler":          "registry.example/kube-scheduler:v1.34.4",
		"kube-proxy":              "registry.example/kube-proxy:v1.34.4",
		"coredns":                 "registry.example/coredns/coredns:v1.12.1",
		"pause":                   "registry.example/pause:3.10.1",
		"etcd":                    "registry.example:5000/etcd:3.6.5-0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, wantVersion := range map[string]string{"etcd": "v3.6.5", "coredns": "v1.12.1"} {
		of := map[string]func(string) component{"etcd": etcd, "coredns": coreDNS}[name]
		c, err := got.component(name, of)
		if err != nil || c.version != wantVersion {
			t.Errorf("%s: %s, %v", name, c.version, err)
		}
	}
	for out, want := range map[string]string{
		"registry.example/etcd:3":   "kubeadm config images list names no kube-apiserver image, it printed: registry.example/etcd:3",
		"registry.example:5000/x":   `read the output of kubeadm config images list: image "registry.example:5000/x" has no tag`,
		"registry.example/etcd:":    `read the output of kubeadm config images list: image "registry.example/etcd:" has no tag`,
		"registry.example/no-colon": `read the output of kubeadm config images list: image "registry.example/no-colon" has no tag`,
	} {
		if _, err := parseImageList(out); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", out, err, want)
		}
	}
}

func TestStagingReplaces(t *testing.T) {
	goMod := filepath.Join(t.TempDir(), "go.mod")
	// Both ways in which Kubernetes has required its staging modules.
	content := `module k8s.io/kubernetes
require (
	github.com/x/y v0.0.0
	k8s.io/api v0.0.0
	k8s.io/cri-api v0.0.0 // indirect
	k8s.io/kube-openapi v0.0.0-20250710124328-f3f2b991d03b
	k8s.io/klog/v2 v2.130.1
)
replace (
	k8s.io/api => ./staging/src/k8s.io/api
)
`
	if err := os.WriteFile(goMod, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := stagingReplaces(module{GoMod: goMod}, "v1.34.4")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"k8s.io/api => k8s.io/api v0.34.4", "k8s.io/cri-api => k8s.io/cri-api v0.34.4"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMulticall(t *testing.T) {
	dir := t.TempDir()
	for _, name := range kubeComponents {
		for file, content := range map[string]string{
			"main.go":      "// Package main is " + name + ".\npackage main // import \"x\"\n\nfunc main() {\n\tmain := 1\n\t_ = main\n}\n",
			"extra.go":     "package main\n\nvar extra = 1\n",
			"main_test.go": "package main\n\nfunc TestX() {}\n",
		} {
			path := filepath.Join(dir, "cmd", name, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := multicall(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2*len(kubeComponents)+1 {
		t.Errorf("%d files", len(files))
	}
	want := "// Package main is kube-proxy.\npackage kubeproxy\n\nfunc Main() {\n\tmain := 1\n\t_ = main\n}\n"
	if diff := cmp.Diff(want, files["cmd/kubeproxy/main.go"]); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"\t\"node/cmd/kubeproxy\"\n", "\tcase \"kube-proxy\":\n\t\tkubeproxy.Main()\n"} {
		if !strings.Contains(files["main.go"], line) {
			t.Errorf("main.go lacks %q:\n%s", line, files["main.go"])
		}
	}
	if err := os.Remove(filepath.Join(dir, "cmd", "kubectl", "main.go")); err != nil {
		t.Fatal(err)
	}
	_, err = multicall(dir)
	if want := "cmd/kubectl of Kubernetes has 0 main functions, want 1; this recipe no longer fits"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestVersionFlags(t *testing.T) {
	got := versionFlags("v1.35.4")
	for _, want := range []string{
		"-X k8s.io/component-base/version.gitVersion=v1.35.4", "-X k8s.io/client-go/pkg/version.gitVersion=v1.35.4",
		"-X k8s.io/component-base/version.gitMajor=1", "-X k8s.io/component-base/version.gitMinor=35 ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}
