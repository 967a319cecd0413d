package nodeimage

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// builtRef is the name of the built node image of that version.
func builtRef(v cluster.Version) string { return repository + "/node:" + v.String() }

// build makes the node image of one version.
func (b *Builder) build(ctx context.Context, v cluster.Version) error {
	return b.locked(ctx, "node-"+b.recipe.nodeKey(v), func() error {
		if found, err := b.has(ctx, builtRef(v), b.recipe.nodeKey(v)); err != nil || found {
			return err
		}
		base, err := b.nodeBase(ctx)
		if err != nil {
			return err
		}
		p, err := b.nodeParts(ctx, v)
		if err != nil {
			return err
		}
		kind, err := b.kind(ctx)
		if err != nil {
			return err
		}
		sandbox, err := sandboxImages(kind.Dir)
		if err != nil {
			return err
		}
		return b.work(ctx, "assemble the node image "+v.String(), minutes(0.6), func(ctx context.Context) error {
			return b.withScratch(func(dir string) error {
				archive := filepath.Join(dir, "images.tar")
				if err := b.writeImages(dir, p, sandbox, archive); err != nil {
					return err
				}
				return b.commitNode(ctx, v, base, p, archive)
			})
		})
	})
}

// startContainerd waits until containerd answers, for as long as the caller
// lets it.
const startContainerd = `containerd >/dev/null 2>&1 &
until ctr version >/dev/null 2>&1; do kill -0 $! && sleep 0.1 || exit 1; done`

// stopContainerd ends it, so that its database is complete, and removes what
// only a running one needs. The states leave out zombies, which nothing in this
// container reaps.
const stopContainerd = `pkill -x containerd; while pgrep -x -r D,R,S containerd >/dev/null; do sleep 0.1; done
rm -rf /run/containerd /var/lib/containerd/tmpmounts`

// commitNode puts a version's files and images into a container of the base
// image and makes an image of it. The container goes whatever happens.
func (b *Builder) commitNode(ctx context.Context, v cluster.Version, base string, p parts, archive string) (err error) {
	container := "rehearse-build-" + b.recipe.nodeKey(v)
	// One that an interrupted build left, for this one holds the lock.
	if err := b.docker.RemoveContainer(ctx, container); err != nil {
		return err
	}
	defer func() { err = b.removeContainer(ctx, container, err) }()
	if _, err := b.docker.RunDetached(ctx, "--name", container, "--label", LabelRecipe+"="+b.recipe.nodeKey(v),
		"--network", "none", "--security-opt", "seccomp=unconfined", "--entrypoint", "sleep", base, "infinity"); err != nil {
		return err
	}
	if err := b.copyNodeFiles(ctx, container, v, p); err != nil {
		return err
	}
	if _, err := b.docker.Exec(ctx, container, "bash", "-c", startContainerd); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open the image archive: %w", err)
	}
	defer func() { _ = f.Close() }()
	// Pinned, because a node that garbage-collects an image that exists in no
	// registry could never start that pod again.
	if err := b.docker.Pipe(ctx, f, nil, "exec", "--interactive", container, "ctr", "--namespace", "k8s.io", "images", "import",
		"--label", "io.cri-containerd.pinned=pinned", "--no-unpack", "--local", "-"); err != nil {
		return fmt.Errorf("import the images into the node: %w", err)
	}
	if _, err := b.docker.Exec(ctx, container, "bash", "-c", stopContainerd); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	changes := []string{
		`ENTRYPOINT ["` + strings.Join(nodeEntrypoint, `", "`) + `"]`, `CMD []`,
		"LABEL " + LabelKind + "=node " + LabelKubernetes + "=" + v.String() + " " + LabelRecipe + "=" + b.recipe.nodeKey(v),
	}
	if len(p.warnings) > 0 {
		changes = append(changes, "LABEL "+LabelWarnings+"="+strconv.Quote(strings.Join(p.warnings, "; ")))
	}
	return b.docker.Commit(ctx, container, builtRef(v), changes...)
}

// copyNodeFiles puts the version's executables and manifests into a container.
func (b *Builder) copyNodeFiles(ctx context.Context, container string, v cluster.Version, p parts) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		l := newLayer(w)
		first := "usr/bin/" + nodeCommands[0]
		l.copyFile(first, 0o755, filepath.Join(p.kube, kubeExecutable))
		for _, name := range nodeCommands[1:] {
			l.hardlink("usr/bin/"+name, first)
		}
		l.file("kind/version", 0o644, []byte(v.String()))
		l.file("kind/manifests/default-cni.yaml", 0o644, []byte(b.FlannelManifest("")))
		l.file("kind/manifests/default-storage.yaml", 0o644, []byte(template("storage.yaml")))
		err := l.close()
		_ = w.CloseWithError(err)
		written <- err
	}()
	err := b.docker.Pipe(ctx, r, nil, "cp", "-", container+":/")
	_ = r.Close()
	if writeErr := ignoreClosed(<-written); err == nil {
		err = writeErr
	}
	if err != nil {
		return fmt.Errorf("copy the node's files: %w", err)
	}
	return nil
}
