package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

// nodeLogs are what is collected of each node beside its pods' logs: a file
// name and the command whose output it gets.
var nodeLogs = []struct {
	file string
	args []string
}{
	{"kubelet.log", []string{"journalctl", "--no-pager", "--unit", "kubelet"}},
	{"containerd.log", []string{"journalctl", "--no-pager", "--unit", "containerd"}},
	{"containers.txt", []string{"ctr", "--namespace=k8s.io", "containers", "list"}},
	{"tasks.txt", []string{"ctr", "--namespace=k8s.io", "tasks", "list"}},
}

// logsAtOnce bounds the containers whose logs are read side by side.
const logsAtOnce = 2

// CollectLogs implements cluster.LogCollector: a directory for each node, and
// a file for every other container of the run. It collects what it can and
// joins the errors.
func (d *Driver) CollectLogs(ctx context.Context, c *cluster.Cluster, dir string) error {
	name, err := clusterName(c.Spec)
	if err != nil {
		return err
	}
	nodes, err := d.docker.Containers(ctx, labelKindCluster+"="+name)
	if err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	others, err := d.docker.Containers(ctx, cluster.LabelRun+"="+c.Spec.RunID)
	if err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	all := slices.Concat(nodes, others)
	errs := make([]error, len(all))
	var group errgroup.Group
	group.SetLimit(logsAtOnce)
	for i, container := range all {
		group.Go(func() error {
			errs[i] = d.collect(ctx, container, dir)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs, all of them
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	return nil
}

func (d *Driver) collect(ctx context.Context, c docker.Container, dir string) error {
	printed := func(w io.Writer) error { return d.docker.Logs(ctx, c.Name, w) }
	errs := []error{save(filepath.Join(dir, c.Name+".log"), printed)}
	role := c.Labels[labelKindRole]
	if role != roleControlPlane && role != roleWorker || c.State != "running" {
		return errors.Join(errs...)
	}
	own := filepath.Join(dir, c.Name)
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	for _, l := range nodeLogs {
		output := func(w io.Writer) error {
			return d.docker.Pipe(ctx, nil, w, append([]string{"exec", c.Name}, l.args...)...)
		}
		errs = append(errs, save(filepath.Join(own, l.file), output))
	}
	pods := func(w io.Writer) error { return d.docker.Pipe(ctx, nil, w, "cp", c.Name+":/var/log/pods", "-") }
	return errors.Join(append(errs, save(filepath.Join(own, "pods.tar"), pods))...)
}

// save gives a new file to write.
func save(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
