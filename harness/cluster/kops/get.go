package kops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
)

// Get reads a cluster of the state store, as "kops get all -o yaml" prints it,
// and returns its name. Without a name in Options, the state store's only cluster
// is meant. It calls nothing but kops get, which changes nothing, and leaves
// nothing behind on this machine.
func (d *Driver) Get(ctx context.Context) (name string, manifest []byte, err error) {
	defer func() { err = errors.Join(err, d.forget()) }()
	name = d.o.Name
	if name == "" {
		if name, err = d.only(ctx); err != nil {
			return "", nil, err
		}
	}
	var out bytes.Buffer
	if err := d.run(ctx, d.o.Timeouts.Query, call{args: d.args(name, "get", "all", "-o", "yaml"), stdout: &out}); err != nil {
		if isNotFound(err) {
			return "", nil, fmt.Errorf("%s has no cluster %s: look with kops get clusters --state %[1]s", d.o.StateStore, name)
		}
		return "", nil, fmt.Errorf("read cluster %s of %s: %w", name, d.o.StateStore, err)
	}
	return name, out.Bytes(), nil
}

// only is the name of the state store's only cluster.
func (d *Driver) only(ctx context.Context) (string, error) {
	var out bytes.Buffer
	err := d.run(ctx, d.o.Timeouts.Query, call{args: []string{d.o.Path, "get", "clusters", "-o", "json", "--state", d.o.StateStore}, stdout: &out})
	if err != nil && !isNotFound(err) {
		return "", fmt.Errorf("list the clusters of %s: %w", d.o.StateStore, err)
	}
	var all []registered
	if err == nil {
		if all, err = parseClusters(out.Bytes()); err != nil {
			return "", err
		}
	}
	switch len(all) {
	case 0:
		return "", fmt.Errorf("%s holds no cluster", d.o.StateStore)
	case 1:
		return all[0].Metadata.Name, nil
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Metadata.Name
	}
	return "", fmt.Errorf("%s holds %d clusters, so name one: %s", d.o.StateStore, len(all), strings.Join(names, ", "))
}
