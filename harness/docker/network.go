package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CreateNetwork creates a bridge network with the labels, each "key=value",
// and returns its id. A network of that name that exists already is an error.
func (c *Client) CreateNetwork(ctx context.Context, name string, labels ...string) (string, error) {
	// Docker itself allows two networks of one name.
	existing, err := c.Output(ctx, "network", "ls", "--quiet", "--filter", "name=^"+name+"$")
	if err != nil {
		return "", fmt.Errorf("create network %s: %w", name, err)
	}
	if existing != "" {
		return "", fmt.Errorf("create network %s: it exists already; remove it with: docker network rm %s", name, name)
	}
	id, err := c.Output(ctx, slices.Concat([]string{"network", "create"}, repeated("--label", labels), []string{name})...)
	if err != nil {
		return "", fmt.Errorf("create network %s: %w", name, err)
	}
	return id, nil
}

// Networks lists the names of the networks that carry the label, "key" or
// "key=value", sorted.
func (c *Client) Networks(ctx context.Context, label string) ([]string, error) {
	out, err := c.Output(ctx, "network", "ls", "--format", "{{.Name}}", "--filter", "label="+label)
	if err != nil {
		return nil, fmt.Errorf("list networks with label %s: %w", label, err)
	}
	names := strings.Fields(out)
	slices.Sort(names)
	return names, nil
}

// RemoveNetwork removes a network. A missing network is not an error; one that
// still has containers is.
func (c *Client) RemoveNetwork(ctx context.Context, name string) error {
	if err := c.Run(ctx, "network", "rm", name); err != nil && !IsNotFound(err) {
		return fmt.Errorf("remove network %s: %w", name, err)
	}
	return nil
}

// RemoveNetworks removes every network that carries the label and returns the
// names of those it removed. It goes on after an error and joins them.
func (c *Client) RemoveNetworks(ctx context.Context, label string) ([]string, error) {
	names, err := c.Networks(ctx, label)
	if err != nil {
		return nil, err
	}
	var removed []string
	var errs []error
	for _, name := range names {
		if err := c.RemoveNetwork(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, name)
	}
	return removed, errors.Join(errs...)
}
