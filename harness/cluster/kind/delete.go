package kind

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Delete implements cluster.Driver. It does what kind's own Delete does, which
// takes no context, and then removes what kind does not know of.
func (d *Driver) Delete(ctx context.Context, s cluster.Spec) error {
	name, err := clusterName(s)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	// One kind of container after another even when one fails: what can go shall go.
	err = errors.Join(
		d.removeLabelled(ctx, cluster.LabelRun+"="+s.RunID),
		d.removeNodes(ctx, name),
	)
	_, networkErr := d.docker.RemoveNetworks(ctx, cluster.LabelRun+"="+s.RunID)
	if err = errors.Join(err, networkErr); err != nil {
		return fmt.Errorf("delete cluster %s: %w", name, err)
	}
	return nil
}

// DeleteCommand implements cluster.Describer: one line for a shell, which needs
// Docker's client alone, as Delete does.
func (d *Driver) DeleteCommand(s cluster.Spec) string {
	name, err := clusterName(s)
	if err != nil {
		return ""
	}
	containers := func(label string) string { return fmt.Sprintf("$(docker ps -aq --filter label=%s)", label) }
	return fmt.Sprintf("docker rm -f -v %s %s; docker network rm $(docker network ls -q --filter label=%s)",
		containers(labelKindCluster+"="+name), containers(cluster.LabelRun+"="+s.RunID), cluster.LabelRun+"="+s.RunID)
}

// removeNodes removes the containers that kind made for the cluster.
func (d *Driver) removeNodes(ctx context.Context, name string) error {
	return d.removeLabelled(ctx, labelKindCluster+"="+name)
}

// removeLabelled removes containers side by side: a node takes seconds, most
// of them for its volume.
func (d *Driver) removeLabelled(ctx context.Context, label string) error {
	found, err := d.docker.Containers(ctx, label)
	if err != nil {
		return err
	}
	errs := make([]error, len(found))
	var group errgroup.Group
	for i, container := range found {
		group.Go(func() error {
			errs[i] = d.docker.RemoveContainer(ctx, container.ID)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs, all of them
	return errors.Join(errs...)
}

// Formats and the times in them, as docker ps and docker network ls print them.
const (
	psFormat      = "{{.Names}}\t{{.CreatedAt}}\t{{.Label \"" + cluster.LabelRun + "\"}}\t{{.Label \"" + labelKindCluster + "\"}}"
	networkFormat = "{{.Name}}\t{{.CreatedAt}}\t{{.Label \"" + cluster.LabelRun + "\"}}"
	createdLayout = "2006-01-02 15:04:05 -0700 MST"
)

// Leftovers implements cluster.LeftoverFinder. It lists what any run has
// created and not yet deleted, those that are under way included. The run of a
// node whose network is gone is unknown, and empty.
func (d *Driver) Leftovers(ctx context.Context) ([]cluster.Leftover, error) {
	networks, err := d.list(ctx, []string{"network", "ls", "--filter", "label=" + cluster.LabelRun, "--format", networkFormat}, 3)
	if err != nil {
		return nil, err
	}
	ours, err := d.list(ctx, []string{"ps", "--all", "--filter", "label=" + cluster.LabelRun, "--format", psFormat}, 4)
	if err != nil {
		return nil, err
	}
	nodes, err := d.list(ctx, []string{"ps", "--all", "--filter", "label=" + labelKindCluster, "--format", psFormat}, 4)
	if err != nil {
		return nil, err
	}
	var found []cluster.Leftover
	runs := map[string]string{} // of each network
	for _, n := range networks {
		runs[n[0]] = n[2]
	}
	add := func(kind, name, run, created, remove string) {
		when, err := time.Parse(createdLayout, created)
		if err != nil {
			// A format that changed is no reason to hide a leftover.
			when = time.Time{}
		}
		found = append(found, cluster.Leftover{Kind: kind, Name: name, RunID: run, Created: when, Delete: remove + " " + name})
	}
	const removeContainer, removeNetwork = "docker rm --force --volumes", "docker network rm"
	for _, c := range ours {
		add("container", c[0], c[2], c[1], removeContainer)
	}
	for _, c := range nodes {
		if strings.HasPrefix(c[3], NamePrefix) {
			add("container", c[0], runs[c[3]], c[1], removeContainer)
		}
	}
	// A network can go only when its containers have gone.
	for _, n := range networks {
		add("network", n[0], n[2], n[1], removeNetwork)
	}
	return found, nil
}

// list runs docker and splits each line of its output into columns.
func (d *Driver) list(ctx context.Context, args []string, columns int) ([][]string, error) {
	out, err := d.docker.Output(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("look for leftovers of earlier runs: %w", err)
	}
	var rows [][]string
	for line := range strings.Lines(out) {
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(row) != columns {
			return nil, fmt.Errorf("look for leftovers of earlier runs: docker printed %q, want %d columns", line, columns)
		}
		rows = append(rows, row)
	}
	return rows, nil
}
