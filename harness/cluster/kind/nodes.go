package kind

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

// Roles of kind's node containers.
const (
	roleControlPlane = "control-plane"
	roleWorker       = "worker"
)

// nodeList is the containers of a cluster's nodes, by name.
type nodeList []docker.Container

// nodes lists the Kubernetes nodes of the cluster: not the balancer that kind
// puts before several control planes.
func (d *Driver) nodes(ctx context.Context, name string) (nodeList, error) {
	found, err := d.docker.Containers(ctx, labelKindCluster+"="+name)
	if err != nil {
		return nil, err
	}
	nodes := slices.DeleteFunc(found, func(c docker.Container) bool {
		role := c.Labels[labelKindRole]
		return role != roleControlPlane && role != roleWorker
	})
	if len(nodes) == 0 {
		return nil, fmt.Errorf("cluster %s has no node: was it deleted by someone else?", name)
	}
	return nodes, nil
}

func (l nodeList) withRole(role string) nodeList {
	var out nodeList
	for _, n := range l {
		if n.Labels[labelKindRole] == role {
			out = append(out, n)
		}
	}
	return out
}

func (l nodeList) names() []string {
	var out []string
	for _, n := range l {
		out = append(out, n.Name)
	}
	return out
}

// node finds one node of the cluster.
func (d *Driver) node(ctx context.Context, c *cluster.Cluster, node string) (docker.Container, error) {
	name, err := clusterName(c.Spec)
	if err != nil {
		return docker.Container{}, err
	}
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return docker.Container{}, err
	}
	for _, n := range nodes {
		if n.Name == node {
			return n, nil
		}
	}
	return docker.Container{}, fmt.Errorf("cluster %s has no node %q; it has %s", name, node, strings.Join(nodes.names(), ", "))
}

// on runs a program in a container, writes its command line and all of its
// output to the step's log, and returns the output. A context that ends kills
// the client here, not the program there: that ends with its container.
func (d *Driver) on(ctx context.Context, container string, args ...string) (string, error) {
	log := cluster.Output(ctx)
	fmt.Fprintf(log, "%s$ %s\n", container, command.Quote(args))
	var out bytes.Buffer
	// Both streams in one keep the order in which a person would have seen them.
	merged := append([]string{"exec", container, "sh", "-c", `exec "$@" 2>&1`, "sh"}, args...)
	if err := d.docker.Pipe(ctx, nil, io.MultiWriter(&out, log), merged...); err != nil {
		return "", err
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// printed says for an error's message what a container has printed last.
func (d *Driver) printed(ctx context.Context, container string) string {
	var b bytes.Buffer
	if err := d.docker.Logs(ctx, container, &b); err != nil {
		return err.Error()
	}
	return "it printed: " + tail(strings.TrimSpace(b.String()), outputKept)
}

// tail returns the last max bytes of s, marked when that is not all of it.
func tail(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return "... " + s[len(s)-max:]
}
