package kops

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops/output"
	"github.com/kube-rehearse/rehearse/harness/command"
)

// Delete implements cluster.Driver: the cluster with all its cloud resources,
// and its state. A failure names every resource that is still there.
func (d *Driver) Delete(ctx context.Context, s cluster.Spec) error {
	errTwin := d.twin.Stop()
	name := d.name(s)
	_, err := d.own(ctx, name, s.RunID)
	switch {
	case isNotFound(err) || errors.Is(err, errNoCluster):
		return errors.Join(errTwin, d.forget())
	case err != nil:
		return errors.Join(errTwin, err)
	}
	if err := d.run(ctx, d.o.Timeouts.Delete, call{args: d.deleteArgs(name, true)}); err != nil {
		return errors.Join(errTwin, &cluster.RollError{Err: fmt.Errorf("delete cluster %s: %w", name, err), Left: d.remaining(ctx, name)})
	}
	return errors.Join(errTwin, d.forget())
}

// remaining lists what still costs money, as kops' preview of the deletion has
// it. That it could not be listed is itself an entry: silence would look like
// nothing.
func (d *Driver) remaining(ctx context.Context, name string) []cluster.Leftover {
	remove := command.Quote(d.deleteArgs(name, true))
	var out bytes.Buffer
	// The context that ended the deletion must not end the report of it.
	if err := d.run(context.WithoutCancel(ctx), d.o.Timeouts.Query, call{args: d.deleteArgs(name, false), stdout: &out}); err != nil {
		return []cluster.Leftover{{Kind: "kops cluster", Name: name + " (its resources could not be listed)", Delete: remove}}
	}
	var all []cluster.Leftover
	for _, r := range output.ParseResources(out.String()) {
		all = append(all, cluster.Leftover{Kind: r.Type, Name: r.ID, Delete: remove})
	}
	return all
}

// Leftovers implements cluster.LeftoverFinder: every cluster in the state store
// that carries a run's id.
func (d *Driver) Leftovers(ctx context.Context) ([]cluster.Leftover, error) {
	var out bytes.Buffer
	err := d.run(ctx, d.o.Timeouts.Query, call{args: []string{d.o.Path, "get", "clusters", "--state", d.o.StateStore, "-o", "json"}, stdout: &out})
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for clusters in %s: %w", d.o.StateStore, err)
	}
	all, err := parseClusters(out.Bytes())
	if err != nil {
		return nil, err
	}
	var left []cluster.Leftover
	for _, c := range all {
		if id := c.Spec.CloudLabels[cluster.LabelRun]; id != "" {
			left = append(left, cluster.Leftover{
				Kind: "kops cluster", Name: c.Metadata.Name, RunID: id, Created: c.Metadata.CreationTimestamp,
				Delete: command.Quote(d.deleteArgs(c.Metadata.Name, true)),
			})
		}
	}
	return left, nil
}
