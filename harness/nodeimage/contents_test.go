package nodeimage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The archive that a node's containerd imports holds every image that kubeadm
// and kind ask for, each with a layer that has its program.
func TestWriteImages(t *testing.T) {
	stages := tree(t, map[string]string{
		"kube/kube": "k", "etcd/etcd": "e", "etcd/etcdctl": "c", "etcd/WARNING": "not for the image", "coredns/coredns": "d",
		"pause/pause": "p", "flannel/flanneld": "f", "cni/flannel": "n",
	})
	rootfs := map[string]string{}
	for _, tool := range networkTools(current().Architecture) {
		rootfs[tool] = "x"
	}
	last := networkTools(current().Architecture)
	delete(rootfs, last[len(last)-1]) // the directory of extensions
	rootfs[last[len(last)-1]+"/libxt_a.so"] = "x"
	at := func(s string) string { return filepath.Join(stages, s) }
	p := parts{
		rootfs: tree(t, rootfs), kube: at("kube"), etcd: at("etcd"), coreDNS: at("coredns"),
		flannel: at("flannel"), flannelCNI: at("cni"), pause: at("pause"),
		images: wanted{
			"kube-apiserver": "r.example/kube-apiserver:v1", "kube-controller-manager": "r.example/kube-controller-manager:v1",
			"kube-scheduler": "r.example/kube-scheduler:v1", "kube-proxy": "r.example/kube-proxy:v1",
			"etcd": "r.example/etcd:3", "coredns": "r.example/coredns/coredns:v1", "pause": "r.example/pause:3.10.1",
		},
	}
	b := newBuilder(t)
	dir := t.TempDir()
	archive := filepath.Join(dir, "images.tar")
	if err := b.writeImages(dir, p, []string{"r.example/pause:3.10"}, archive); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"r.example/kube-apiserver:v1":          "0 0755 usr/local/bin/kube = k",
		"r.example/kube-controller-manager:v1": "2 0777 usr/local/bin/kube-controller-manager -> kube",
		"r.example/kube-scheduler:v1":          "2 0777 usr/local/bin/kube-scheduler -> kube",
		"r.example/kube-proxy:v1":              "0 0755 usr/sbin/nft = x",
		"r.example/etcd:3":                     "0 0755 usr/local/bin/etcdctl = c",
		"r.example/coredns/coredns:v1":         "0 0755 coredns = d",
		"r.example/pause:3.10":                 "0 0755 pause = p",
		"r.example/pause:3.10.1":               "0 0755 pause = p",
		b.recipe.flannelImage():                "0 0755 opt/bin/flanneld = f",
	} {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(archive, &tag)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		r, err := layers[len(layers)-1].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, line := range entries(t, r) {
			found = found || line == want
			if line == "0 0755 usr/local/bin/WARNING = not for the image" {
				t.Errorf("%s holds a stage's warning", ref)
			}
		}
		if !found {
			t.Errorf("the last layer of %s lacks %q", ref, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSandboxImages(t *testing.T) {
	const config = "images/base/files/etc/containerd/config.toml"
	dir := tree(t, map[string]string{config: "[plugins]\n  # x\n  sandbox_image = \"r.example/pause:3.10\"\n"})
	got, err := sandboxImages(dir)
	if diff := cmp.Diff([]string{"r.example/pause:3.10"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	_, err = sandboxImages(tree(t, map[string]string{config: "[plugins]\n"}))
	if want := "kind's containerd configuration names no sandbox_image; this recipe no longer fits kind"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := sandboxImages(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
