package kind

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// stageDir is where a version's commands wait on each node. It is on the same
// file system as /usr/bin, so that putting one in its place is a link.
func stageDir(v cluster.Version) string { return stageRoot + "/" + v.String() }

const stageRoot = "/opt/rehearse"

// stageContainer is the name of the container that versions are staged from.
func stageContainer(cluster string) string { return cluster + "-stage" }

// nodeCommands are what an upgrade replaces in commandDir.
var nodeCommands = []string{"kubeadm", "kubelet", "kubectl"}

const commandDir = "/usr/bin"

// containerdTimeout bounds the wait for containerd in the stage container.
const containerdTimeout = time.Minute

// controlPlaneImages never run on a worker.
var controlPlaneImages = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}

// importInto is the docker command that reads images into a node's containerd.
// They are unpacked there and then, which is part of what staging is for.
func importInto(node string) []string {
	return []string{"exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import", "-"}
}

// keepCommands puts the commands that a node has now beside those that were
// staged, so that it can be rolled back to them. cp keeps a command that is
// several links to one file as that.
const keepCommands = `set -e; dir="$1/$(kubeadm version --output short)"
if ! test -d "$dir"; then
  rm -rf "$dir.partial"; mkdir -p "$dir.partial"
  cp --archive "$2/kubeadm" "$2/kubelet" "$2/kubectl" "$dir.partial"
  mv "$dir.partial" "$dir"
fi`

// exportDir is where the stage container keeps what goes to the nodes.
const exportDir = "/rehearse"

// Stage implements cluster.Stager. It runs containerd in a container of the
// target version's node image, because the images are in containerd's store
// there, and streams them, and the commands, into each node. Images that a
// node has already are left out.
func (d *Driver) Stage(ctx context.Context, c *cluster.Cluster, to cluster.Version) error {
	name, err := clusterName(c.Spec)
	if err != nil {
		return err
	}
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return fmt.Errorf("stage %s: %w", to, err)
	}
	return d.stage(ctx, c, to, nodes)
}

// stage brings a version to some of the cluster's nodes.
func (d *Driver) stage(ctx context.Context, c *cluster.Cluster, to cluster.Version, nodes nodeList) error {
	name, err := clusterName(c.Spec)
	if err != nil {
		return err
	}
	image, err := d.images.Node(ctx, to)
	if err != nil {
		return fmt.Errorf("stage %s: %w", to, err)
	}
	d.staging.Lock()
	defer d.staging.Unlock()
	source := stageContainer(name)
	run := append([]string{"--name", source}, runLabels(c.Spec, roleStage)...)
	run = append(run, "--network", "none", "--entrypoint", "containerd", image)
	if _, err := d.docker.RunDetached(ctx, run...); err != nil {
		return fmt.Errorf("stage %s: %w", to, err)
	}
	err = d.stageFrom(ctx, source, nodes, to)
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if removeErr := d.docker.RemoveContainer(undo, source); removeErr != nil {
		err = errors.Join(err, removeErr)
	}
	if err != nil {
		return fmt.Errorf("stage %s: %w", to, err)
	}
	return nil
}

func (d *Driver) stageFrom(ctx context.Context, source string, nodes nodeList, to cluster.Version) error {
	if err := d.awaitContainerd(ctx, source); err != nil {
		return err
	}
	out, err := d.query(ctx, source, "kubeadm", "config", "images", "list", "--kubernetes-version", to.String())
	if err != nil {
		return fmt.Errorf("ask kubeadm %s for its images: %w", to, err)
	}
	wanted := imageRefs(out)
	if len(wanted) == 0 {
		return fmt.Errorf("kubeadm %s names no image, it printed: %s", to, out)
	}
	if _, err := d.on(ctx, source, "mkdir", "-p", exportDir); err != nil {
		return err
	}
	const commands = exportDir + "/commands.tar"
	pack := append([]string{"tar", "--create", "--dereference", "--directory", commandDir, "--file", commands}, nodeCommands...)
	if _, err := d.on(ctx, source, pack...); err != nil {
		return fmt.Errorf("pack the commands: %w", err)
	}
	archives := map[string]string{} // by the images in it
	for _, n := range nodes {
		start := time.Now()
		if err := d.stageImages(ctx, source, n.Name, imagesFor(n.Labels[labelKindRole], wanted), archives); err != nil {
			return fmt.Errorf("images for node %s: %w", n.Name, err)
		}
		if err := d.stageCommands(ctx, source, commands, n.Name, to); err != nil {
			return fmt.Errorf("commands for node %s: %w", n.Name, err)
		}
		if n.Labels[labelKindRole] == roleWorker {
			if _, err := d.on(ctx, n.Name, "sh", "-c", keepCommands, "sh", stageRoot, commandDir); err != nil {
				return fmt.Errorf("keep the commands of node %s for a rollback: %w", n.Name, err)
			}
		}
		cluster.Logger(ctx).Info("staged", "node", n.Name, "version", to.String(), "took", time.Since(start).Round(time.Second).String())
	}
	return nil
}

func (d *Driver) awaitContainerd(ctx context.Context, container string) error {
	deadline := time.Now().Add(containerdTimeout)
	for {
		_, err := d.docker.Exec(ctx, container, "ctr", "version")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd did not start in %s within %s: %w; %s", container, containerdTimeout, err, d.printed(ctx, container))
		}
		if err := pause.For(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

// imageRefs picks the references out of kubeadm's output, which may begin with
// warnings.
func imageRefs(out string) []string {
	var refs []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.ContainsAny(line, " \t") && strings.Contains(line, "/") && strings.Contains(line, ":") {
			refs = append(refs, line)
		}
	}
	return refs
}

// imagesFor leaves out what never runs on a node of that role.
func imagesFor(role string, refs []string) []string {
	if role == roleControlPlane {
		return refs
	}
	return slices.DeleteFunc(slices.Clone(refs), func(ref string) bool {
		repository, _, _ := strings.Cut(ref[strings.LastIndex(ref, "/")+1:], ":")
		return slices.Contains(controlPlaneImages, repository)
	})
}

// stageImages brings those of the images to the node that it lacks. archives
// holds what was exported before; most nodes lack the same.
func (d *Driver) stageImages(ctx context.Context, source, node string, refs []string, archives map[string]string) error {
	out, err := d.docker.Exec(ctx, node, "ctr", "--namespace=k8s.io", "images", "list", "--quiet")
	if err != nil {
		return fmt.Errorf("list its images: %w", err)
	}
	have := strings.Fields(out)
	missing := slices.DeleteFunc(slices.Clone(refs), func(ref string) bool { return slices.Contains(have, ref) })
	if len(missing) == 0 {
		return nil
	}
	key := strings.Join(missing, " ")
	if archives[key] == "" {
		archive := fmt.Sprintf("%s/images-%d.tar", exportDir, len(archives)+1)
		if err := d.export(ctx, source, archive, missing); err != nil {
			return fmt.Errorf("export %s: %w", key, err)
		}
		archives[key] = archive
	}
	return d.sendFile(ctx, source, archives[key], importInto(node)...)
}

// wholeArchive tells an archive of images that was cut short: tar reads it to its
// end, and what an OCI layout cannot do without is in it.
const wholeArchive = `tar --list --file "$1" >"$1.list" && grep --quiet --line-regexp index.json "$1.list" && grep --quiet --line-regexp oci-layout "$1.list"`

// exportAttempts is how often export asks for an archive that is whole.
const exportAttempts = 3

// export writes images into an archive in the stage container. ctr has been seen to
// leave out the end of it, once in many times, and to exit with 0; others have met
// the same. Why is not known: it may not wait for the end of containerd's stream.
func (d *Driver) export(ctx context.Context, source, archive string, refs []string) error {
	for attempt := 1; ; attempt++ {
		if _, err := d.on(ctx, source, append([]string{"ctr", "--namespace=k8s.io", "images", "export", archive}, refs...)...); err != nil {
			return err
		}
		_, err := d.on(ctx, source, "sh", "-c", wholeArchive, "sh", archive)
		switch {
		case err == nil || context.Cause(ctx) != nil:
			return err
		case attempt == exportAttempts:
			return fmt.Errorf("ctr wrote an archive that is cut short, %d times; see whether Docker's disk is full: %w", exportAttempts, err)
		}
		cluster.Logger(ctx).Warn("ctr wrote an archive that is cut short: it is written again", "archive", archive, "error", err)
	}
}

// stageCommands copies the commands into stageDir, which appears only when it
// is complete. A command that is several links to one file stays that.
func (d *Driver) stageCommands(ctx context.Context, source, archive, node string, to cluster.Version) error {
	const unpack = `set -e; rm -rf "$1" "$1.partial"; mkdir -p "$1.partial"; tar --extract --directory "$1.partial" --file -; mv "$1.partial" "$1"`
	if err := d.sendFile(ctx, source, archive, "exec", "--interactive", node, "sh", "-c", unpack, "sh", stageDir(to)); err != nil {
		return err
	}
	got, err := d.query(ctx, node, stageDir(to)+"/kubeadm", "version", "--output", "short")
	if err != nil {
		return fmt.Errorf("try the staged kubeadm: %w", err)
	}
	if got != to.String() {
		return fmt.Errorf("the staged kubeadm says that it is %q, want %s: is the node image mislabelled?", got, to)
	}
	return nil
}
