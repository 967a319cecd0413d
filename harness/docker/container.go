package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/kube-rehearse/rehearse/harness/command"
)

// Container is one container, running or not.
type Container struct {
	ID     string
	Name   string
	Image  string // as it was given when the container was made
	State  string // created, running, paused, restarting, removing, exited, dead
	Labels map[string]string
	// Addresses holds the IPv4 address in each network by the network's name.
	Addresses map[string]string
	// Ports holds the published host addresses by container port, for example
	// "80/tcp": {"127.0.0.1:32768"}.
	Ports map[string][]string
}

// RunDetached runs `docker run --detach args...` and returns the container's
// id. When it fails, docker may have left a created container behind: give it
// a name or a label, and remove it by that.
func (c *Client) RunDetached(ctx context.Context, args ...string) (string, error) {
	id, err := c.Output(ctx, append([]string{"run", "--detach"}, args...)...)
	if err != nil {
		return "", fmt.Errorf("run container: %w", err)
	}
	return id, nil
}

// Container looks a container up by name or id. A missing container is (zero,
// false, nil).
func (c *Client) Container(ctx context.Context, name string) (Container, bool, error) {
	found, err := c.inspectContainers(ctx, name)
	if IsNotFound(err) {
		return Container{}, false, nil
	}
	if err != nil {
		return Container{}, false, fmt.Errorf("inspect container %s: %w", name, err)
	}
	return found[0], true, nil
}

// Containers lists the containers that carry the label, "key" or "key=value",
// sorted by name.
func (c *Client) Containers(ctx context.Context, label string) ([]Container, error) {
	out, err := c.Output(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label="+label)
	if err != nil {
		return nil, fmt.Errorf("list containers with label %s: %w", label, err)
	}
	ids := strings.Fields(out)
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := c.inspectContainers(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("list containers with label %s: %w", label, err)
	}
	slices.SortFunc(found, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func (c *Client) inspectContainers(ctx context.Context, names ...string) ([]Container, error) {
	out, err := c.Output(ctx, append([]string{"container", "inspect"}, names...)...)
	if err != nil {
		return nil, err
	}
	type address struct{ HostIP, HostPort string }
	var raw []struct {
		ID     string `json:"Id"`
		Name   string
		State  struct{ Status string }
		Config struct {
			Image  string
			Labels map[string]string
		}
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
			Ports    map[string][]address
		}
	}
	if err := json.Unmarshal([]byte(out), &raw); err != nil {
		return nil, fmt.Errorf("decode the output of docker container inspect: %w", err)
	}
	found := make([]Container, len(raw))
	for i, r := range raw {
		found[i] = Container{
			ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), Image: r.Config.Image,
			State: r.State.Status, Labels: r.Config.Labels,
			Addresses: map[string]string{}, Ports: map[string][]string{},
		}
		for name, n := range r.NetworkSettings.Networks {
			found[i].Addresses[name] = n.IPAddress
		}
		for port, hosts := range r.NetworkSettings.Ports {
			for _, h := range hosts {
				found[i].Ports[port] = append(found[i].Ports[port], h.HostIP+":"+h.HostPort)
			}
		}
	}
	return found, nil
}

// Logs writes what a container has printed to w, both of its streams with
// times, in the order in which docker hands them out.
func (c *Client) Logs(ctx context.Context, container string, w io.Writer) error {
	both := &lockedWriter{w: w}
	if err := command.Run(ctx, command.Cmd{Args: c.argv([]string{"logs", "--timestamps", container}), Stdout: both, Stderr: both}); err != nil {
		return fmt.Errorf("read the logs of container %s: %w", container, err)
	}
	return nil
}

// lockedWriter lets two streams end in one.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// RemoveContainer kills and removes a container with its anonymous volumes. A
// missing container is not an error.
func (c *Client) RemoveContainer(ctx context.Context, name string) error {
	if err := c.Run(ctx, "rm", "--force", "--volumes", name); err != nil && !IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", name, err)
	}
	return nil
}

// RemoveContainers removes every container that carries the label and returns
// the names of those it removed. It goes on after an error and joins them.
func (c *Client) RemoveContainers(ctx context.Context, label string) ([]string, error) {
	found, err := c.Containers(ctx, label)
	if err != nil {
		return nil, err
	}
	var removed []string
	var errs []error
	for _, container := range found {
		if err := c.RemoveContainer(ctx, container.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, container.Name)
	}
	return removed, errors.Join(errs...)
}
