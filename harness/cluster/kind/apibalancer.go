package kind

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// kind's balancer before several API servers is a haproxy of the same kind as
// ours, in TCP mode, whose servers are named after their nodes.
const (
	apiBackend = "kube-apiservers"
	// apiCheckTimeout bounds the wait until an API server that is back passes
	// the balancer's checks, of which it takes two, 2 s apart.
	apiCheckTimeout = 2 * time.Minute
	apiCheckPoll    = 500 * time.Millisecond
	// A kubelet that starts containers anew does so within two seconds of its
	// first report; an API server that answers for ten is left alone.
	settledAnswers = 10
	settlePoll     = time.Second
)

// apiBalancerName is kind's name for the balancer's container.
func apiBalancerName(cluster string) string { return cluster + "-external-load-balancer" }

// askAPIBalancer is how a node asks the balancer's runtime API: its port is not
// published, and the balancer's image has no client. The last line tells an
// empty answer from one that was lost.
const askAPIBalancer = `exec 3<>"/dev/tcp/$1/$2" && printf '%s\n' "$3" >&3 && cat <&3 && echo .`

// openAPIBalancer gives kind's balancer a runtime API.
func (d *Driver) openAPIBalancer(ctx context.Context, name string) error {
	balancer := apiBalancerName(name)
	fail := func(err error) error { return fmt.Errorf("configure the API's balancer %s: %w", balancer, err) }
	var archived bytes.Buffer
	if err := d.docker.Pipe(ctx, nil, &archived, "cp", balancer+":"+balancerConfigDir+"/"+balancerConfigFile, "-"); err != nil {
		return fail(err)
	}
	files := tar.NewReader(&archived)
	if _, err := files.Next(); err != nil {
		return fail(err)
	}
	config, err := io.ReadAll(files)
	if err != nil {
		return fail(err)
	}
	before, after, found := strings.Cut(string(config), "global\n")
	if !found || !strings.Contains(after, "backend "+apiBackend+"\n") {
		return fail(fmt.Errorf("its configuration is not kind's: %s", config))
	}
	archive, err := docker.OneFile(balancerConfigFile, 0o644, fmt.Appendf(nil, "%sglobal\n  stats socket ipv4@:%d level admin\n%s", before, balancerAdminPort, after))
	if err != nil {
		return fail(err)
	}
	if err := d.docker.Pipe(ctx, archive, nil, "cp", "-", balancer+":"+balancerConfigDir); err != nil {
		return fail(err)
	}
	// It is not enough to have haproxy reload: the worker that was there before
	// keeps the connections that exist, out of the runtime API's reach.
	if err := d.docker.Pipe(ctx, nil, nil, "restart", "--time", "1", balancer); err != nil {
		return fail(err)
	}
	return nil
}

// withoutTraffic carries out work on a control plane while the API's balancer
// does not send to it, as kops deregisters an instance before it touches it.
// Connections to its API server are cut at the beginning: clients that keep one
// would otherwise be answered with errors for as long as the etcd beside it is
// away, and the balancer's checks do nothing about a connection that exists.
func (d *Driver) withoutTraffic(ctx context.Context, c *cluster.Cluster, node string, work func() error) error {
	if c.Spec.ControlPlanes < 2 {
		return work()
	}
	name, err := clusterName(c.Spec)
	if err != nil {
		return err
	}
	server := apiBackend + "/" + node
	if err := d.changeAPIBalancer(ctx, name, node, "set server "+server+" state maint", "shutdown sessions server "+server); err != nil {
		return err
	}
	err = work()
	// A failure is looked into with the API as it was.
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiCheckTimeout)
	defer cancel()
	set := "set server " + server
	// It has no weight while haproxy takes it for healthy without a check.
	back := d.changeAPIBalancer(again, name, node, set+" weight 0", set+" state ready", set+" health down", set+" weight 1")
	if err != nil || back != nil {
		return errors.Join(err, back)
	}
	return d.awaitAPIServer(ctx, name, node)
}

// askAPIServer asks a node's own API server, whatever the balancer does.
var askAPIServer = []string{
	"kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "--server", "https://127.0.0.1:6443",
	"--request-timeout", "2s", "get", "--raw", "/readyz",
}

// settleAPIServer waits until a kubelet of another version has made up its mind
// about the containers that it found. It starts those anew that it would define
// differently, the API server and its etcd among them, a second or two after it
// has reported itself; while it does not, nothing tells that it will not.
func (d *Driver) settleAPIServer(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version) error {
	deadline := time.Now().Add(componentsTimeout)
	last := "its kubelet has not reported " + to.String()
	for inARow := 0; inARow < settledAnswers; {
		if time.Now().After(deadline) {
			return fmt.Errorf("the API server of node %s did not answer %d times in a row within %s of the kubelet's restart: %s", node, settledAnswers, componentsTimeout, last)
		}
		if err := pause.For(ctx, d.settlePoll); err != nil {
			return err
		}
		if inARow == 0 {
			n, err := c.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
			if err != nil {
				last = err.Error()
				continue
			}
			if n.Status.NodeInfo.KubeletVersion != to.String() {
				continue
			}
		}
		answer, err := d.query(ctx, node, askAPIServer...)
		switch {
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case err != nil:
			inARow, last = 0, err.Error()
		case answer != "ok":
			inARow, last = 0, answer
		default:
			inARow++
		}
	}
	return nil
}

// awaitAPIServer waits until the balancer sends to the node's API server.
func (d *Driver) awaitAPIServer(ctx context.Context, name, node string) error {
	deadline := time.Now().Add(apiCheckTimeout)
	for {
		answer, err := d.askAPIBalancer(ctx, name, node, "show stat "+apiBackend+" 4 -1")
		if err != nil {
			return err
		}
		members, err := parseMembers(answer)
		if err != nil {
			return fmt.Errorf("the API's balancer: %w", err)
		}
		status := "unknown to it"
		for _, m := range members {
			if m.Name == node {
				status = m.Status
			}
		}
		if strings.HasPrefix(status, "UP") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the API server of node %s does not pass the checks of the API's balancer %s after its upgrade: it is %s", node, apiCheckTimeout, status)
		}
		if err := pause.For(ctx, apiCheckPoll); err != nil {
			return err
		}
	}
}

func (d *Driver) changeAPIBalancer(ctx context.Context, name, node string, commands ...string) error {
	answer, err := d.askAPIBalancer(ctx, name, node, commands...)
	if err != nil {
		return err
	}
	if err := refusal(answer, commands); err != nil {
		return fmt.Errorf("the API's balancer: %w", err)
	}
	return nil
}

func (d *Driver) askAPIBalancer(ctx context.Context, name, node string, commands ...string) (string, error) {
	answer, err := d.query(ctx, node, "bash", "-c", askAPIBalancer, "bash", apiBalancerName(name), fmt.Sprint(balancerAdminPort), strings.Join(commands, "; "))
	if err != nil {
		return "", fmt.Errorf("ask the API's balancer from node %s: %w", node, err)
	}
	return strings.TrimSuffix(answer, "."), nil
}
