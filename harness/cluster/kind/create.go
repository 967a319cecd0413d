package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/e2e-framework/klient/wait"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// loopback is the only address that anything is published on.
const loopback = "127.0.0.1"

const (
	// nodesReadyTimeout bounds the wait for the nodes once kubeadm is through.
	nodesReadyTimeout = 5 * time.Minute
	// removeInterval is how often a cancelled Create looks for containers that
	// kind has started in the meantime.
	removeInterval = 500 * time.Millisecond
	// kubeletsTimeout bounds the questions to the kubelets of a failed cluster.
	kubeletsTimeout = 30 * time.Second
)

// networkVariable is how kind is told of a Docker network other than its own.
const networkVariable = "KIND_EXPERIMENTAL_DOCKER_NETWORK"

// creating serialises Create: kind takes the network from the environment,
// which belongs to the whole process.
var creating sync.Mutex

// Create implements cluster.Driver.
func (d *Driver) Create(ctx context.Context, s cluster.Spec) (*cluster.Cluster, error) {
	name, err := clusterName(s)
	if err != nil {
		return nil, err
	}
	image, err := d.images.Node(ctx, s.Version)
	if err != nil {
		return nil, err
	}
	if s.ControlPlanes > 1 {
		// kind takes it for granted, and would try to pull it.
		if _, err := d.images.Balancer(ctx); err != nil {
			return nil, err
		}
	}
	m, err := d.inspectMachine(ctx, image)
	if err != nil {
		return nil, err
	}
	config, err := kindConfig(name, s, image, m)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	rendered, err := renderConfig(config)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(cluster.Output(ctx), "kind configuration:\n%s\n", rendered)

	// The network is made first: its label is what leads from a node's
	// container, which has only its cluster's name, to the run.
	if _, err := d.docker.CreateNetwork(ctx, name, cluster.LabelRun+"="+s.RunID); err != nil {
		return nil, err
	}
	kind := d.newProvider(kindLogger{cluster.Output(ctx)})
	if err := d.createNodes(ctx, kind, name, kindcluster.CreateWithV1Alpha4Config(config)); err != nil {
		if context.Cause(ctx) == nil {
			err = d.kubeletsSay(ctx, name, err)
		}
		return nil, fmt.Errorf("create cluster %s: %w", name, err)
	}
	if s.ControlPlanes > 1 {
		if err := d.openAPIBalancer(ctx, name); err != nil {
			return nil, fmt.Errorf("create cluster %s: %w", name, err)
		}
	}
	c, err := d.connect(ctx, kind, name, s)
	if err != nil {
		return nil, fmt.Errorf("create cluster %s: %w", name, err)
	}
	if err := waitNodes(ctx, c.Client, s.ControlPlanes+s.Workers, nodesReadyTimeout); err != nil {
		return nil, fmt.Errorf("create cluster %s: %w", name, err)
	}
	return c, nil
}

// createNodes runs kind, which knows no context. When ctx ends it removes the
// nodes under kind's hands, so that kind fails, and waits for that: when
// createNodes returns, kind has ended and, after a cancellation, no node is left.
func (d *Driver) createNodes(ctx context.Context, kind provider, name string, config kindcluster.CreateOption) error {
	creating.Lock()
	defer creating.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	restore, err := setenv(networkVariable, name)
	if err != nil {
		return err
	}
	defer restore()
	// kind writes a kubeconfig whatever one does; the user's own is not its business.
	dir, err := os.MkdirTemp("", "rehearse-kind-")
	if err != nil {
		return fmt.Errorf("make a directory for kind's kubeconfig: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	done := make(chan error, 1)
	go func() {
		done <- kind.Create(name, config,
			// A failed cluster is kept for its logs; Delete removes it.
			kindcluster.CreateWithRetain(true),
			// kind's own wait looks at control planes only and does not stop when
			// their containers are gone.
			kindcluster.CreateWithWaitForReady(0),
			kindcluster.CreateWithKubeconfigPath(filepath.Join(dir, "kubeconfig")))
	}()
	select {
	case err := <-done:
		return withOutput(ctx, err)
	case <-ctx.Done():
	}
	uncancelled := context.WithoutCancel(ctx)
	for {
		removeErr := d.removeNodes(uncancelled, name)
		select {
		case kindErr := <-done:
			fmt.Fprintf(cluster.Output(ctx), "kind ended after the cancellation: %v\n", kindErr)
			// A node may have appeared after it was looked for the last time.
			return errors.Join(context.Cause(ctx), d.removeNodes(uncancelled, name))
		case <-time.After(removeInterval):
			if removeErr != nil {
				cluster.Logger(ctx).Warn("cannot remove the nodes of a cancelled cluster; trying again", "cluster", name, "error", removeErr)
			}
		}
	}
}

// setenv sets a variable of this process and returns what puts it back.
func setenv(key, value string) (restore func(), err error) {
	before, was := os.LookupEnv(key)
	if err := os.Setenv(key, value); err != nil {
		return nil, fmt.Errorf("set %s: %w", key, err)
	}
	return func() {
		// Neither can fail for a key that was just set.
		if was {
			_ = os.Setenv(key, before)
		} else {
			_ = os.Unsetenv(key)
		}
	}, nil
}

// outputKept is how much of a failed command's output an error carries where no
// line of it tells the reason.
const outputKept = 4 << 10

// withOutput adds to an error of kind's what the failed command said about it;
// all of what it printed goes to the step's log.
func withOutput(ctx context.Context, err error) error {
	run := kindexec.RunErrorForError(err)
	if run == nil || len(run.Output) == 0 {
		return err
	}
	out := strings.TrimSpace(string(run.Output))
	fmt.Fprintf(cluster.Output(ctx), "the command that failed printed:\n%s\n", out)
	if line := lastOf(out, "error: "); line != "" {
		out = line
	}
	return fmt.Errorf("%w\n  %s", err, strings.ReplaceAll(tail(out, outputKept), "\n", "\n  "))
}

// kubeletsSay adds to the error of a cluster that did not come up what those of
// its kubelets said last that do not run.
func (d *Driver) kubeletsSay(ctx context.Context, name string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), kubeletsTimeout)
	defer cancel()
	nodes, listErr := d.docker.Containers(ctx, labelKindCluster+"="+name)
	if listErr != nil {
		return err
	}
	for _, n := range nodes {
		if n.Labels[labelKindRole] != roleControlPlane && n.Labels[labelKindRole] != roleWorker {
			continue
		}
		said, readErr := d.on(ctx, n.Name, "journalctl", "--unit=kubelet", "--no-pager", "--output=cat", "--lines=200")
		if readErr != nil {
			continue
		}
		if line := lastOf(said, "E"); strings.Contains(line, "run.go") {
			err = fmt.Errorf("%w\n  the kubelet of node %s says: %s", err, n.Name, line)
		}
	}
	return err
}

// lastOf returns the last line of s with the prefix, or nothing.
func lastOf(s, prefix string) string {
	lines := strings.Split(s, "\n")
	for _, line := range slices.Backward(lines) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}

// connect makes the clients of a cluster that runs.
func (d *Driver) connect(ctx context.Context, kind provider, name string, s cluster.Spec) (*cluster.Cluster, error) {
	kubeconfig, err := kind.KubeConfig(name, false)
	if err != nil {
		return nil, fmt.Errorf("get the kubeconfig: %w", withOutput(ctx, err))
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1 // after an outage everything that watches asks again at once
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	servers, err := d.apiServers(ctx, name, config)
	if err != nil {
		return nil, err
	}
	return &cluster.Cluster{
		Spec: s, Client: client, Dynamic: dyn, Config: config, Kubeconfig: []byte(kubeconfig), APIServers: servers,
	}, nil
}

// apiServers are the common address and, where that is a balancer, each server
// behind it. All are published on loopback.
func (d *Driver) apiServers(ctx context.Context, name string, config *rest.Config) ([]cluster.APIServer, error) {
	servers := []cluster.APIServer{{Name: "api", Config: config}}
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return nil, err
	}
	planes := nodes.withRole(roleControlPlane)
	if len(planes) < 2 {
		return servers, nil
	}
	for _, n := range planes {
		published := n.Ports["6443/tcp"]
		if len(published) == 0 {
			return nil, fmt.Errorf("node %s publishes no port for its API server", n.Name)
		}
		own := rest.CopyConfig(config)
		own.Host = "https://" + published[0]
		servers = append(servers, cluster.APIServer{Name: n.Name, Config: own})
	}
	return servers, nil
}

// waitNodes waits until the cluster has so many nodes and all are Ready.
func waitNodes(ctx context.Context, client kubernetes.Interface, want int, timeout time.Duration) error {
	last := "nothing was seen"
	err := wait.For(func(ctx context.Context) (bool, error) {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			last = err.Error()
			return false, nil
		}
		var unready []string
		for _, n := range list.Items {
			if !nodeReady(&n) {
				unready = append(unready, n.Name)
			}
		}
		last = fmt.Sprintf("%d of %d nodes joined", len(list.Items), want)
		if len(unready) > 0 {
			last += ", not Ready: " + strings.Join(unready, ", ")
		}
		return len(list.Items) == want && len(unready) == 0, nil
	}, wait.WithContext(ctx), wait.WithTimeout(timeout), wait.WithInterval(time.Second), wait.WithImmediate())
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("its nodes were not Ready after %s: %s", timeout, last)
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
