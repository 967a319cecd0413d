package kops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops/output"
)

// What kops puts on nodes.
const (
	taintForUpdate = "kops.k8s.io/scheduled-for-update"
	labelGroup     = "kops.k8s.io/instancegroup"
)

// left is what a roll that failed leaves, with what rolls before it have left:
// kops goes on with instances that are detached and nodes that are tainted
// already, and says nothing of it. What it said stands where neither AWS nor the
// API server can be asked; that is told in the log.
func (d *Driver) left(ctx context.Context, c *cluster.Cluster, told []output.Left) []output.Left {
	// The context that ended the roll must not end the report of it.
	ctx = context.WithoutCancel(ctx)
	detached, errDetached := d.detached(ctx, c)
	nodes, errNodes := touched(ctx, c)
	if err := errors.Join(errDetached, errNodes); err != nil {
		cluster.Logger(ctx).Warn("kops: what earlier rolls have left cannot be listed", "error", err)
	}
	all := slices.Concat(detached, nodes)
	for _, l := range told {
		same := func(x output.Left) bool { return x.Kind == l.Kind && x.Name == l.Name }
		// A count that was asked for is newer than one that was told.
		if !slices.ContainsFunc(all, same) {
			all = append(all, l)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Kind != "tainted nodes" && all[j].Kind == "tainted nodes" })
	return all
}

// detached lists the instances that have left their group and still run.
func (d *Driver) detached(ctx context.Context, c *cluster.Cluster) ([]output.Left, error) {
	var out bytes.Buffer
	args := d.args(d.name(c.Spec), "get", "instances", "-o", "json")
	if err := d.run(ctx, d.o.Timeouts.Query, call{args: args, stdout: &out}); err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	instances, err := output.ParseInstances(out.Bytes())
	var all []output.Left
	for _, i := range instances {
		if i.Status == output.Detached {
			all = append(all, output.Left{Kind: "detached instance", Name: i.ID, Group: i.Group()})
		}
	}
	return all, err
}

// touched lists nodes that are cordoned and groups with nodes that are tainted.
func touched(ctx context.Context, c *cluster.Cluster) ([]output.Left, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var all, tainted []output.Left
	for i := range list.Items {
		n := &list.Items[i]
		group := n.Labels[labelGroup]
		if n.Spec.Unschedulable {
			all = append(all, output.Left{Kind: "cordoned node", Name: n.Name, Group: group})
		}
		if !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == taintForUpdate }) {
			continue
		}
		at := slices.IndexFunc(tainted, func(l output.Left) bool { return l.Group == group })
		if at < 0 {
			at = len(tainted)
			tainted = append(tainted, output.Left{Kind: "tainted nodes", Name: group, Group: group})
		}
		tainted[at].Count++
	}
	return append(all, tainted...), nil
}

// leftovers gives each thing that is left the command that undoes it.
func leftovers(left []output.Left, now time.Time) []cluster.Leftover {
	var all []cluster.Leftover
	for _, l := range left {
		x := cluster.Leftover{Kind: l.Kind, Name: l.Name, Created: now}
		switch l.Kind {
		case "detached instance":
			// It has left its group, which will not end it; only another roll would.
			x.Delete = "aws ec2 terminate-instances --instance-ids " + l.Name
		case "cordoned node":
			x.Delete = "kubectl uncordon " + l.Name
		case "tainted nodes":
			x.Name = fmt.Sprintf("%s (%d)", l.Group, l.Count)
			x.Delete = "kubectl taint nodes -l " + labelGroup + "=" + l.Group + " " + taintForUpdate + "-"
		}
		all = append(all, x)
	}
	return all
}
