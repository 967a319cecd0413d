package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

const (
	// bootTimeout bounds the wait for systemd in a new node.
	bootTimeout = 2 * time.Minute
	// nodeObjectTimeout bounds the waits for the API to take a Node in or to let
	// it go.
	nodeObjectTimeout = 2 * time.Minute
	// undoTimeout bounds the removal of a worker that could not be added.
	undoTimeout = 2 * time.Minute
)

// annotationAdded is on the Node of a worker whose AddNode has returned; its
// value is the run's id. A worker of ours without it is half-made.
const annotationAdded = cluster.LabelRun

// AddNode implements cluster.NodeProvisioner. The worker is what kind would have
// made when it created the cluster: the same container, the same kubeadm join.
func (d *Driver) AddNode(ctx context.Context, c *cluster.Cluster, v cluster.Version) (string, error) {
	name, err := clusterName(c.Spec)
	if err != nil {
		return "", fmt.Errorf("add a node: %w", err)
	}
	image, err := d.images.Node(ctx, v)
	if err != nil {
		return "", fmt.Errorf("add a node: %w", err)
	}
	node, err := d.startNode(ctx, c, name, image)
	if err == nil {
		err = d.furnish(ctx, c, name, node, v)
	}
	if err == nil {
		return node, nil
	}
	if node == "" {
		return "", fmt.Errorf("add a node: %w", err)
	}
	err = fmt.Errorf("add node %s: %w", node, err)
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if undoErr := d.discard(undo, c, name, node); undoErr != nil {
		err = errors.Join(err, fmt.Errorf("what there is of node %s is still there; remove it with `docker rm --force --volumes %s` and `kubectl delete node %s`: %w",
			node, node, node, undoErr))
	}
	return "", err
}

// discard removes what there is of a worker that could not be added, whatever
// else fails.
func (d *Driver) discard(ctx context.Context, c *cluster.Cluster, name, node string) error {
	container, _, err := d.docker.Container(ctx, node)
	if address := container.Addresses[name]; err == nil && address != "" {
		err = d.letOut(ctx, c.Spec, address)
	}
	return errors.Join(err, d.docker.RemoveContainer(ctx, node), deleteNode(ctx, c, node))
}

// startNode runs the container of a new worker. The name is that of the
// container that it may have left when it fails.
func (d *Driver) startNode(ctx context.Context, c *cluster.Cluster, name, image string) (node string, err error) {
	d.naming.Lock()
	defer d.naming.Unlock()
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return "", err
	}
	objects, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the nodes to find a free name: %w", err)
	}
	taken := nodes.names()
	for _, o := range objects.Items {
		taken = append(taken, o.Name)
	}
	number := max(d.highest[name], highestWorker(name, taken)) + 1
	node = workerName(name, number)
	args, err := d.nodeArgs(ctx, name, node, nodes[0].Name)
	if err != nil {
		return "", err
	}
	d.highest[name] = number
	if _, err := d.docker.RunDetached(ctx, append(args, image)...); err != nil {
		return node, err
	}
	return node, nil
}

// workerName is kind's name for a cluster's worker of that number.
func workerName(cluster string, number int) string {
	if number == 1 {
		return cluster + "-worker"
	}
	return cluster + "-worker" + strconv.Itoa(number)
}

// highestWorker is the highest number among names of the cluster's workers.
func highestWorker(cluster string, names []string) int {
	highest := 0
	for _, n := range names {
		digits, ok := strings.CutPrefix(n, cluster+"-worker")
		if !ok {
			continue
		}
		if digits == "" {
			digits = "1"
		}
		if number, err := strconv.Atoi(digits); err == nil {
			highest = max(highest, number)
		}
	}
	return highest
}

// inherited are the variables that kind gives to every node when they are set
// where it runs.
var inherited = regexp.MustCompile(`^((?i:https?_proxy|no_proxy)|KIND_\w+)=`)

// nodeArgs are the arguments of docker run with which kind makes a worker
// (pkg/cluster/internal/providers/docker/provision.go in kind v0.31). What
// depends on the machine and on kind's environment, such as a proxy, is taken
// over from like, a node that kind has made.
func (d *Driver) nodeArgs(ctx context.Context, name, node, like string) ([]string, error) {
	out, err := d.docker.Output(ctx, "container", "inspect", "--format", "{{json .}}", like)
	if err != nil {
		return nil, fmt.Errorf("look at node %s: %w", like, err)
	}
	var model struct {
		Config     struct{ Env []string }
		HostConfig struct {
			Binds      []string
			UsernsMode string
			Devices    []struct{ PathOnHost string }
		}
	}
	if err := json.Unmarshal([]byte(out), &model); err != nil {
		return nil, fmt.Errorf("look at node %s: decode what docker container inspect printed: %w", like, err)
	}
	args := []string{
		"--name", node, "--hostname", node,
		"--label", labelKindCluster + "=" + name, "--label", labelKindRole + "=" + roleWorker, "--label", labelRole + "=" + roleNode,
		"--privileged", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--tmpfs", "/tmp", "--tmpfs", "/run", "--volume", "/var",
		"--tty", "--network", name, "--restart=on-failure:1", "--init=false", "--cgroupns=private",
	}
	for _, b := range model.HostConfig.Binds {
		args = append(args, "--volume", b)
	}
	for _, device := range model.HostConfig.Devices {
		args = append(args, "--device", device.PathOnHost)
	}
	if model.HostConfig.UsernsMode != "" {
		args = append(args, "--userns="+model.HostConfig.UsernsMode)
	}
	for _, e := range model.Config.Env {
		if !inherited.MatchString(e) {
			continue
		}
		if strings.EqualFold(strings.SplitN(e, "=", 2)[0], "no_proxy") {
			e += "," + node
		}
		args = append(args, "--env", e)
	}
	return args, nil
}

// furnish makes the container a node of the cluster.
func (d *Driver) furnish(ctx context.Context, c *cluster.Cluster, name, node string, v cluster.Version) error {
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return err
	}
	planes := nodes.withRole(roleControlPlane)
	if len(planes) == 0 {
		return fmt.Errorf("cluster %s has no control plane: was it deleted by someone else?", name)
	}
	plane := planes[0].Name
	i := slices.IndexFunc(nodes, func(n docker.Container) bool { return n.Name == node })
	if i < 0 {
		return fmt.Errorf("its container is gone: was it removed by someone else?")
	}
	added := nodes[i]
	address := added.Addresses[name]
	if address == "" {
		return fmt.Errorf("its container is %q and has no address in network %s: %s", added.State, name, d.printed(ctx, node))
	}
	if err := d.awaitBoot(ctx, node); err != nil {
		return err
	}
	if err := d.configureContainerd(ctx, plane, node); err != nil {
		return err
	}
	if err := d.loadCanary(ctx, plane, node); err != nil {
		return err
	}
	if err := d.stageNewer(ctx, c, plane, added, v); err != nil {
		return err
	}
	if err := d.join(ctx, name, plane, node, address, v); err != nil {
		return err
	}
	if err := d.letIn(ctx, c.Spec, address); err != nil {
		return err
	}
	return markAdded(ctx, c, node)
}

// booted is what a node prints once programs may be started in it. One that is
// started before on cgroup v2 would be in the way of systemd
// (https://github.com/kubernetes-sigs/kind/issues/2409).
var booted = regexp.MustCompile(`Reached target .*Multi-User System|detected cgroup v1`)

func (d *Driver) awaitBoot(ctx context.Context, node string) error {
	deadline := time.Now().Add(bootTimeout)
	for {
		var out bytes.Buffer
		if err := d.docker.Logs(ctx, node, &out); err != nil {
			return err
		}
		if booted.Match(out.Bytes()) {
			return d.awaitContainerd(ctx, node)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("systemd did not start within %s; it printed: %s", bootTimeout, tail(strings.TrimSpace(out.String()), outputKept))
		}
		if err := pause.For(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

// restrictOOM is containerd's setting that kindConfig patches where nothing may
// lower its OOM score; kind's node images have it as false.
const (
	containerdConfig = "/etc/containerd/config.toml"
	restrictOOM      = "restrict_oom_score_adj = true"
)

// configureContainerd gives a new node the patch that kind has given to the
// others when it created them.
func (d *Driver) configureContainerd(ctx context.Context, plane, node string) error {
	patched, err := d.query(ctx, plane, "sh", "-c", "grep -c '"+restrictOOM+"' "+containerdConfig+" || true")
	if err != nil {
		return fmt.Errorf("look at the configuration of containerd on node %s: %w", plane, err)
	}
	if patched == "0" {
		return nil
	}
	const patch = `set -e; sed -i 's/restrict_oom_score_adj = false/` + restrictOOM + `/' ` + containerdConfig + `
grep -q '` + restrictOOM + `' ` + containerdConfig + ` || { echo 'no restrict_oom_score_adj in ` + containerdConfig + `'; exit 1; }
systemctl restart containerd`
	if _, err := d.on(ctx, node, "sh", "-c", patch); err != nil {
		return fmt.Errorf("configure containerd: %w", err)
	}
	return d.awaitContainerd(ctx, node)
}

// loadCanary brings the canary's images that another node has.
func (d *Driver) loadCanary(ctx context.Context, plane, node string) error {
	out, err := d.query(ctx, plane, "ctr", "--namespace=k8s.io", "images", "list", "--quiet")
	if err != nil {
		return fmt.Errorf("list the images of node %s: %w", plane, err)
	}
	for _, ref := range strings.Fields(out) {
		if ref = strings.TrimPrefix(ref, "docker.io/"); !strings.HasPrefix(ref, canaryRepository+":") {
			continue
		}
		if err := d.sendImage(ctx, ref, importInto(node)...); err != nil {
			return fmt.Errorf("load image %s: %w", ref, err)
		}
	}
	return nil
}

// stageNewer brings the node what the others hold of versions newer than its
// own: it may be upgraded to them, and runs kube-proxy at the version of the
// control plane.
func (d *Driver) stageNewer(ctx context.Context, c *cluster.Cluster, plane string, node docker.Container, v cluster.Version) error {
	out, err := d.query(ctx, plane, "sh", "-c", "ls "+stageRoot+" 2>/dev/null; echo .")
	if err != nil {
		return fmt.Errorf("look for staged versions on node %s: %w", plane, err)
	}
	for _, entry := range strings.Fields(out) {
		staged, err := cluster.ParseVersion(entry)
		if err != nil || !v.Less(staged) {
			continue
		}
		if err := d.stage(ctx, c, staged, nodeList{node}); err != nil {
			return err
		}
	}
	return nil
}

// markAdded waits for the Node and says on it that it is whole.
func markAdded(ctx context.Context, c *cluster.Cluster, node string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotationAdded, c.Spec.RunID)
	return untilAPI(ctx, "the API did not show the Node", func(ctx context.Context) error {
		_, err := c.Client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
}

// RemoveNode implements cluster.NodeProvisioner.
func (d *Driver) RemoveNode(ctx context.Context, c *cluster.Cluster, node string) error {
	name, err := clusterName(c.Spec)
	if err != nil {
		return fmt.Errorf("remove node %s: %w", node, err)
	}
	container, found, err := d.docker.Container(ctx, node)
	if err != nil {
		return fmt.Errorf("remove node %s: %w", node, err)
	}
	if found {
		if got := container.Labels[labelKindCluster]; got != name {
			return fmt.Errorf("remove node %s: its container belongs to cluster %q, not to %s", node, got, name)
		}
		if role := container.Labels[labelKindRole]; role != roleWorker {
			return fmt.Errorf("remove node %s: it is a %s, only workers can be removed", node, role)
		}
		if address := container.Addresses[name]; address != "" {
			if err := d.letOut(ctx, c.Spec, address); err != nil {
				return fmt.Errorf("remove node %s: %w", node, err)
			}
		}
		if err := d.docker.RemoveContainer(ctx, container.ID); err != nil {
			return fmt.Errorf("remove node %s: %w", node, err)
		}
	}
	if err := deleteNode(ctx, c, node); err != nil {
		return fmt.Errorf("remove node %s: its container is gone, but %w; delete it with `kubectl delete node %s`", node, err, node)
	}
	return nil
}

// deleteNode deletes the Node; one that is gone is no error.
func deleteNode(ctx context.Context, c *cluster.Cluster, node string) error {
	return untilAPI(ctx, "the API did not delete the Node", func(ctx context.Context) error {
		err := c.Client.CoreV1().Nodes().Delete(ctx, node, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// untilAPI repeats a call until it succeeds; what says what is wrong when it
// never does.
func untilAPI(ctx context.Context, what string, call func(context.Context) error) error {
	last := errors.New("it was never asked")
	err := wait.For(func(ctx context.Context) (bool, error) {
		last = call(ctx)
		return last == nil, nil
	}, wait.WithContext(ctx), wait.WithTimeout(nodeObjectTimeout), wait.WithInterval(time.Second), wait.WithImmediate())
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("%s after %s: %w", what, nodeObjectTimeout, last)
}
