package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// flannelImage is the name of the flannel image in built node images. It is
// not upstream's, because what is in it is not upstream's image.
func (r recipe) flannelImage() string { return repository + "/flannel:" + r.Flannel }

// FlannelManifest returns the manifest of the pod network of built images.
// podSubnet replaces the placeholder that kind fills in when it is empty.
func (b *Builder) FlannelManifest(podSubnet string) string {
	m := strings.ReplaceAll(template("flannel.yaml.tmpl"), "FLANNEL_IMAGE", b.recipe.flannelImage())
	if podSubnet != "" {
		m = strings.ReplaceAll(m, "{{ .PodSubnet }}", podSubnet)
	}
	return m
}

// parts are the stages that the images of one node image are made of.
type parts struct {
	rootfs, kube, etcd, coreDNS, flannel, flannelCNI, pause string

	images   wanted
	warnings []string
}

// nodeParts builds what a node image of that version holds.
func (b *Builder) nodeParts(ctx context.Context, v cluster.Version) (parts, error) {
	var p parts
	var err error
	if p.kube, err = b.kubernetes(ctx, v); err != nil {
		return p, err
	}
	if p.images, err = imageList(ctx, p.kube, v); err != nil {
		return p, err
	}
	for _, want := range []struct {
		dir *string
		of  func() (component, error)
	}{
		{&p.etcd, func() (component, error) { return p.images.component("etcd", etcd) }},
		{&p.coreDNS, func() (component, error) { return p.images.component("coredns", coreDNS) }},
		{&p.flannel, func() (component, error) { return b.recipe.flannel(), nil }},
		{&p.flannelCNI, func() (component, error) { return b.recipe.flannelCNI(), nil }},
	} {
		c, err := want.of()
		if err != nil {
			return p, err
		}
		done, err := b.component(ctx, c)
		if err != nil {
			return p, err
		}
		*want.dir = done.dir
		if done.warning != "" {
			p.warnings = append(p.warnings, done.warning)
			b.progress.Note(done.warning)
		}
	}
	if p.pause, err = b.pause(ctx); err != nil {
		return p, err
	}
	p.rootfs, err = b.rootfs(ctx)
	return p, err
}

// component returns the component whose version is the tag of that image.
func (w wanted) component(name string, of func(tag string) component) (component, error) {
	_, tag, err := splitRef(w[name])
	if err != nil {
		return component{}, err
	}
	return of(tag), nil
}

// kubernetes returns the stage that holds the executable of that version.
func (b *Builder) kubernetes(ctx context.Context, v cluster.Version) (string, error) {
	return b.stage(ctx, "kubernetes-"+v.String(), b.recipe.kubernetesKey(v), "compile Kubernetes "+v.String(), minutes(9),
		func(ctx context.Context, dir string) error { return b.toolchain.buildKubernetes(ctx, v, dir) })
}

// networkTools are what kube-proxy and flannel call, with the extensions that
// iptables opens at run time.
func networkTools(architecture string) []string {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[architecture]
	return []string{
		"/usr/sbin/iptables", "/usr/sbin/iptables-save", "/usr/sbin/iptables-restore",
		"/usr/sbin/ip6tables", "/usr/sbin/ip6tables-save", "/usr/sbin/ip6tables-restore",
		"/usr/sbin/nft", "/usr/sbin/conntrack", "/usr/bin/ip", "/usr/sbin/ip", "/usr/bin/cp", "/etc/protocols",
		"/usr/lib/" + triplet + "/xtables",
	}
}

// layers says what is in each layer of a node's images.
func (b *Builder) layers(p parts) map[string]func(*layer) {
	return map[string]func(*layer){
		"kube": func(l *layer) {
			l.copyFile("usr/local/bin/"+kubeExecutable, 0o755, filepath.Join(p.kube, kubeExecutable))
			for _, name := range kubeComponents {
				l.symlink("usr/local/bin/"+name, kubeExecutable)
			}
		},
		"tools":   func(l *layer) { l.closure(p.rootfs, networkTools(b.recipe.Architecture)...) },
		"etcd":    func(l *layer) { l.executables("usr/local/bin", p.etcd) },
		"coredns": func(l *layer) { l.copyFile("coredns", 0o755, filepath.Join(p.coreDNS, "coredns")) },
		"pause":   func(l *layer) { l.copyFile("pause", 0o755, filepath.Join(p.pause, "pause")) },
		"flannel": func(l *layer) {
			l.copyFile("opt/bin/flanneld", 0o755, filepath.Join(p.flannel, "flanneld"))
			l.copyFile("flannel", 0o755, filepath.Join(p.flannelCNI, "flannel"))
		},
	}
}

// nodeImage is one image inside a node image.
type nodeImage struct {
	ref    string
	config v1.Config
	layers []string
}

// nodeImages lists them; sandbox are further names of the pause image.
func (b *Builder) nodeImages(wants wanted, sandbox []string) []nodeImage {
	images := []nodeImage{
		{wants["etcd"], v1.Config{Entrypoint: []string{"etcd"}}, []string{"etcd"}},
		{wants["coredns"], v1.Config{Entrypoint: []string{"/coredns"}}, []string{"coredns"}},
		{b.recipe.flannelImage(), v1.Config{Entrypoint: []string{"/opt/bin/flanneld"}}, []string{"tools", "flannel"}},
		// The executable first: its layer is then unpacked once for all four.
		{wants["kube-proxy"], v1.Config{Entrypoint: []string{"kube-proxy"}}, []string{"kube", "tools"}},
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		images = append(images, nodeImage{wants[name], v1.Config{Entrypoint: []string{name}}, []string{"kube"}})
	}
	for _, ref := range append([]string{wants["pause"]}, sandbox...) {
		images = append(images, nodeImage{ref, v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}, []string{"pause"}})
	}
	return images
}

// writeImages assembles the images of a node below dir and writes them as one
// archive that ctr imports.
func (b *Builder) writeImages(dir string, p parts, sandbox []string, archive string) error {
	layers := map[string]v1.Layer{}
	for name, fill := range b.layers(p) {
		layer, err := writeLayer(filepath.Join(dir, name+".tar"), func(l *layer) {
			fill(l)
			l.dir("tmp", 0o1777)
		})
		if err != nil {
			return err
		}
		layers[name] = layer
	}
	assembled := map[string]v1.Image{}
	for _, i := range b.nodeImages(p.images, sandbox) {
		own := make([]v1.Layer, len(i.layers))
		for n, name := range i.layers {
			own[n] = layers[name]
		}
		img, err := b.image(i.config, own...)
		if err != nil {
			return err
		}
		assembled[i.ref] = img
	}
	f, err := os.Create(archive)
	if err != nil {
		return fmt.Errorf("write an image archive: %w", err)
	}
	return errors.Join(writeArchive(f, assembled), f.Close())
}

var sandboxImage = regexp.MustCompile(`(?m)^\s*sandbox_image = "([^"]+)"`)

// sandboxImages returns the pause image that kind's containerd configuration
// names, which is not always the one that kubeadm asks for.
func sandboxImages(kindDir string) ([]string, error) {
	config, err := os.ReadFile(filepath.Join(kindDir, "images", "base", "files", "etc", "containerd", "config.toml"))
	if err != nil {
		return nil, fmt.Errorf("read kind's containerd configuration: %w", err)
	}
	match := sandboxImage.FindSubmatch(config)
	if match == nil {
		return nil, errors.New("kind's containerd configuration names no sandbox_image; this recipe no longer fits kind")
	}
	return []string{string(match[1])}, nil
}
