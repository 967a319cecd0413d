package nodeimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kube-rehearse/rehearse/harness/command"
)

// rootfs returns the stage that holds Debian with the recipe's packages as a
// tree of files in the directory "rootfs".
func (b *Builder) rootfs(ctx context.Context) (string, error) {
	r := b.recipe
	dir, err := b.stage(ctx, "debian", r.baseKey(), "install Debian "+r.Suite, minutes(4), func(ctx context.Context, dir string) error {
		if os.Geteuid() != 0 {
			return errors.New("building from source runs debootstrap, which needs root: " + remedyRoot)
		}
		if _, err := exec.LookPath("debootstrap"); err != nil {
			return errors.New("building from source needs debootstrap: " + remedyDebootstrap)
		}
		err := command.Run(ctx, command.Cmd{
			Args: []string{
				"debootstrap", "--variant=minbase", "--include=" + strings.Join(r.Packages, ","),
				r.Suite, filepath.Join(dir, "rootfs"),
			},
			// It mounts /proc into the tree; killed, it would leave it there.
			PrivateMounts: true,
		})
		if err != nil {
			return fmt.Errorf("install Debian %s: %w", r.Suite, err)
		}
		return nil
	})
	return filepath.Join(dir, "rootfs"), err
}

// kind returns kind's own sources, whose base files make a node image.
func (b *Builder) kind(ctx context.Context) (module, error) {
	m, err := b.toolchain.download(ctx, "sigs.k8s.io/kind", b.recipe.Kind)
	if err != nil {
		return module{}, fmt.Errorf("find kind's base files: %w", err)
	}
	return m, nil
}

// droppedFromNode says what of Debian is left out of a node image: caches and
// documentation, the balancer, what the container runtime provides, and the
// units that kind's Dockerfile removes, because they make no sense in a
// container.
func droppedFromNode(name string) bool {
	dir, base := path.Split(name)
	switch dir {
	case "lib/systemd/system/multi-user.target.wants/", "lib/systemd/system/local-fs.target.wants/",
		"lib/systemd/system/basic.target.wants/", "dev/", "proc/", "sys/", "run/", "tmp/",
		"var/cache/apt/", "var/lib/apt/lists/", "var/log/", "usr/share/doc/", "usr/share/man/", "usr/share/locale/",
		"usr/share/info/", "usr/share/lintian/":
		return true
	case "lib/systemd/system/sockets.target.wants/":
		return strings.Contains(base, "udev") || strings.Contains(base, "initctl")
	}
	if strings.HasPrefix(name, "usr/lib/systemd/") {
		return droppedFromNode(strings.TrimPrefix(name, "usr/"))
	}
	if strings.HasPrefix(dir, "etc/systemd/system/") && strings.HasSuffix(dir, ".wants/") {
		return true
	}
	switch name {
	case "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
		"etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/machine-id", "etc/systemd/journald.conf",
		"etc/haproxy", "usr/sbin/haproxy", "var/lib/haproxy":
		return true
	}
	return false
}

// enabledUnits and maskedUnits are those of kind's Dockerfile.
var (
	enabledUnits = []string{"kubelet.service", "containerd.service", "undo-mount-hacks.service"}
	maskedUnits  = []string{"systemd-binfmt.service"}
)

// nodeBase makes sure that Docker has the image that all node images of this
// recipe are made from, and returns its name.
func (b *Builder) nodeBase(ctx context.Context) (string, error) {
	ref := repository + "/node-base:" + b.recipe.nodeBaseKey()
	if found, err := b.has(ctx, ref, b.recipe.nodeBaseKey()); err != nil || found {
		return ref, err
	}
	rootfs, err := b.rootfs(ctx)
	if err != nil {
		return "", err
	}
	kind, err := b.kind(ctx)
	if err != nil {
		return "", err
	}
	parts := map[string]string{}
	for _, c := range []component{b.recipe.containerd(), b.recipe.cni(), b.recipe.flannelCNI()} {
		done, err := b.component(ctx, c)
		if err != nil {
			return "", err
		}
		parts[c.name] = done.dir
	}
	spec, err := containerSpec(ctx, filepath.Join(parts["containerd"], "ctr"))
	if err != nil {
		return "", err
	}
	return ref, b.work(ctx, "assemble the base of the node images", minutes(0.5), func(ctx context.Context) error {
		return b.withScratch(func(dir string) error {
			layer, err := writeLayer(filepath.Join(dir, "base.tar"), func(l *layer) {
				fillNodeBase(l, rootfs, filepath.Join(kind.Dir, "images", "base", "files"), parts, spec)
			})
			if err != nil {
				return err
			}
			img, err := b.image(v1.Config{
				// Tells systemd that it is in a container: systemd.io/CONTAINER_INTERFACE.
				Env: []string{"container=docker"}, StopSignal: "SIGRTMIN+3",
				Entrypoint: nodeEntrypoint,
				Labels:     map[string]string{LabelKind: "node-base", LabelRecipe: b.recipe.nodeBaseKey()},
			}, layer)
			if err != nil {
				return err
			}
			return load(ctx, b.docker, ref, img)
		})
	})
}

// nodeEntrypoint is kind's, which prepares the container and becomes systemd.
var nodeEntrypoint = []string{"/usr/local/bin/entrypoint", "/sbin/init"}

func fillNodeBase(l *layer, rootfs, kindFiles string, parts map[string]string, spec []byte) {
	l.tree(rootfs, droppedFromNode)
	for _, dir := range []string{"dev", "proc", "sys", "run", "var/log", "var/cache/apt", "var/lib/apt/lists", "opt/cni/bin", "etc/kubernetes/manifests"} {
		l.dir(dir, 0o755)
	}
	l.dir("tmp", 0o1777)
	if journald, err := os.ReadFile(filepath.Join(rootfs, "etc/systemd/journald.conf")); err != nil {
		l.fail(err)
	} else {
		// The kernel's messages are the host's, and would only confuse.
		l.file("etc/systemd/journald.conf", 0o644, append(journald, "ReadKMsg=no\n"...))
	}
	l.file("etc/containerd/cri-base.json", 0o644, spec)
	l.kindFiles(kindFiles)
	for _, unit := range enabledUnits {
		l.symlink("etc/systemd/system/multi-user.target.wants/"+unit, "/etc/systemd/system/"+unit)
	}
	for _, unit := range maskedUnits {
		l.symlink("etc/systemd/system/"+unit, "/dev/null")
	}
	l.executables("usr/local/bin", parts["containerd"])
	l.executables("opt/cni/bin", parts["cni"])
	l.executables("opt/cni/bin", parts["cni-flannel"])
}

func (l *layer) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// kindFiles writes kind's base files with the modes that its Dockerfile gives
// them; in the module cache they have lost theirs.
func (l *layer) kindFiles(dir string) {
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if strings.HasPrefix(name, "usr/local/bin/") || strings.HasPrefix(name, "kind/bin/") {
			mode = 0o755
		}
		l.copyFile(name, mode, p)
		return l.err
	})
	if err != nil {
		l.fail(err)
	}
}

// executables writes the executables of a stage.
func (l *layer) executables(to, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.fail(err)
		return
	}
	for _, e := range entries {
		if e.Name() != warningFile && e.Type().IsRegular() {
			l.copyFile(path.Join(to, e.Name()), 0o755, filepath.Join(dir, e.Name()))
		}
	}
}

// containerSpec returns the spec that kind's containerd configuration starts
// every container from: the default one of ctr, with kind's hook and without
// limits on resources, which would be those of the machine that built the image.
func containerSpec(ctx context.Context, ctr string) ([]byte, error) {
	out, err := command.Output(ctx, command.Cmd{Args: []string{ctr, "oci", "spec"}})
	if err != nil {
		return nil, fmt.Errorf("ask ctr for the default container spec: %w", err)
	}
	var spec map[string]any
	if err := json.Unmarshal([]byte(out), &spec); err != nil {
		return nil, fmt.Errorf("decode the default container spec: %w", err)
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return nil, errors.New("the default container spec has no process")
	}
	delete(process, "rlimits")
	hooks, ok := spec["hooks"].(map[string]any)
	if !ok {
		hooks = map[string]any{}
		spec["hooks"] = hooks
	}
	existing, _ := hooks["createContainer"].([]any)
	hooks["createContainer"] = append(existing, map[string]any{"path": "/kind/bin/mount-product-files.sh"})
	b, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the container spec: %w", err)
	}
	return b, nil
}
