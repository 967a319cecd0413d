package nodeimage

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a change of one input compiles or installs again, and what it does not.
func TestKeysFollowTheirInputs(t *testing.T) {
	keys := func(r recipe) map[string]string {
		return map[string]string{
			"debian": r.baseKey(), "kubernetes": r.kubernetesKey("v1.34.4"), "node-base": r.nodeBaseKey(),
			"node": r.nodeKey("v1.34.4"), "balancer": r.balancerKey(),
			"etcd": r.componentKey("etcd", "v3.6.5"), "flannel": r.componentKey("flannel", r.Flannel),
		}
	}
	changed := func(change func(*recipe)) []string {
		r := current()
		before := keys(r)
		change(&r)
		var names []string
		for _, name := range []string{"balancer", "debian", "etcd", "flannel", "kubernetes", "node", "node-base"} {
			if keys(r)[name] != before[name] {
				names = append(names, name)
			}
		}
		return names
	}
	all := []string{"balancer", "debian", "etcd", "flannel", "kubernetes", "node", "node-base"}
	for name, tc := range map[string]struct {
		change func(*recipe)
		want   []string
	}{
		"nothing":      {func(*recipe) {}, nil},
		"revision":     {func(r *recipe) { r.Revision++ }, all},
		"architecture": {func(r *recipe) { r.Architecture = "mips" }, all},
		"suite":        {func(r *recipe) { r.Suite = "trixie" }, []string{"balancer", "debian", "node", "node-base"}},
		"packages":     {func(r *recipe) { r.Packages = append(r.Packages, "vim") }, []string{"balancer", "debian", "node", "node-base"}},
		"kind":         {func(r *recipe) { r.Kind = "v9" }, []string{"balancer", "node", "node-base"}},
		"containerd":   {func(r *recipe) { r.Containerd = "v9" }, []string{"node", "node-base"}},
		"flannel":      {func(r *recipe) { r.Flannel = "v9" }, []string{"flannel", "node"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, changed(tc.change)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if r := current(); r.nodeKey("v1.34.4") == r.nodeKey("v1.35.4") || r.kubernetesKey("v1.34.4") == r.kubernetesKey("v1.35.4") {
		t.Error("two versions share a key")
	}
}

func TestKeysTellPartsApart(t *testing.T) {
	if key("a", "bc") == key("ab", "c") || key([]string{"a"}, "b") == key([]string{"a", "b"}) {
		t.Error("parts run together")
	}
}

func TestKindVersionIsTheOneRequired(t *testing.T) {
	goMod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(goMod), "sigs.k8s.io/kind "+KindVersion+"\n") {
		t.Errorf("go.mod requires another kind than %s, whose base files the images are made of", KindVersion)
	}
}

func TestSupported(t *testing.T) {
	err := Supported("v1.28.15", "v1.29.0", "v1.36.3", "v1.37.0", "v2.30.0", "latest")
	want := `version v1.28.15: node images are made for v1.29 to v1.36
version v1.37.0: node images are made for v1.29 to v1.36
version v2.30.0: node images are made for v1.29 to v1.36
version "latest": want the form v1.35.4: could not parse "latest" as version`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
