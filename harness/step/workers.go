package step

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/drain"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Words of a step's events: why a node is drained. They are the scenario's
// strategies.
const (
	strategyInPlace       = "in-place"
	strategyReplace       = "replace"
	strategyPoolMigration = "pool-migration"
)

// joinWorker returns a worker at the Roll's version: the one that is written down
// as name if it is there, else one that joined and was not written down, else a
// new one.
func joinWorker(ctx context.Context, env *Env, roll *Roll, name string, timeout time.Duration) (string, error) {
	workers, err := nodesOf(ctx, env, false)
	if err != nil {
		return "", err
	}
	for _, w := range workers {
		if w.Name == name {
			return name, nil
		}
	}
	for _, w := range workers {
		if !roll.knows(w.Name) && w.Status.NodeInfo.KubeletVersion == roll.To.String() {
			env.Log.Info("a worker that joined before is used", "node", w.Name)
			return w.Name, nil
		}
	}
	p, err := capability[cluster.NodeProvisioner](env)
	if err != nil {
		return "", err
	}
	err = bounded(ctx, timeout, func(ctx context.Context) error {
		name, err = p.AddNode(ctx, env.Cluster, roll.To)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("join a new worker at %s: %w", roll.To, err)
	}
	env.Log.Info("worker joined", "node", name, "version", roll.To)
	return name, nil
}

// joinFor joins a new worker for each old one that has none yet, one after
// another, and waits until all are Ready.
func joinFor(ctx context.Context, env *Env, roll *Roll, old []string, timeout time.Duration) error {
	for _, o := range old {
		name, err := joinWorker(ctx, env, roll, roll.New[o], timeout)
		if err != nil {
			return err
		}
		if roll.New[o] == name {
			continue
		}
		if roll.New == nil {
			roll.New = map[string]string{}
		}
		roll.New[o] = name
		env.rolled()
	}
	for _, o := range old {
		if err := waitNode(ctx, env, roll.New[o], roll.To.String(), timeout); err != nil {
			return fmt.Errorf("the new worker in place of %s: %w", o, err)
		}
	}
	return nil
}

// cordonAll cordons those of the nodes that are there, and returns them. It
// comes before the first of them is drained, or pods would move from one to the
// next.
func cordonAll(ctx context.Context, env *Env, names []string) ([]*corev1.Node, error) {
	var there []*corev1.Node
	for _, name := range names {
		node, err := nodeNamed(ctx, env, name)
		if err != nil {
			return nil, err
		}
		if node == nil {
			env.Log.Info("node is gone already", "node", name)
			continue
		}
		h := drainHelper(ctx, env)
		if err := retryAPI(ctx, env, "cordon "+name, func() error { return drain.RunCordonOrUncordon(h, node, true) }); err != nil {
			return nil, fmt.Errorf("cordon node %s: %w", name, err)
		}
		there = append(there, node)
	}
	return there, nil
}

// drainAll drains those of the nodes that are there, together. Each is drained to
// its end, whatever becomes of the others.
func drainAll(ctx context.Context, env *Env, names []string, o DrainOptions) error {
	nodes, err := cordonAll(ctx, env, names)
	if err != nil {
		return err
	}
	return together(len(nodes), func(i int) error { return drainNode(ctx, env, nodes[i], o) })
}

// removeAll removes workers that were drained, one after another.
func removeAll(ctx context.Context, env *Env, names []string, timeout time.Duration) error {
	p, err := capability[cluster.NodeProvisioner](env)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := bounded(ctx, timeout, func(ctx context.Context) error { return p.RemoveNode(ctx, env.Cluster, name) })
		if err != nil {
			return fmt.Errorf("remove worker %s: %w", name, err)
		}
	}
	return nil
}

// together calls f with 0 to n-1 at once, waits for all and joins their errors.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// numbered writes "worker 2 of 5" or "workers 2 and 3 of 5", from a 0-based first.
func numbered(first, count, of int) string {
	if count == 1 {
		return fmt.Sprintf("worker %d of %d", first+1, of)
	}
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprint(first + i + 1)
	}
	return fmt.Sprintf("workers %s and %s of %d", strings.Join(names[:count-1], ", "), names[count-1], of)
}

// rolling is the detail of a node's upgrade-start and upgrade-end.
func rolling(roll *Roll, strategy, old string, err error) map[string]string {
	d := map[string]string{"to": roll.To.String(), "strategy": strategy}
	if n := roll.New[old]; n != "" {
		d["new"] = n
	}
	if err != nil {
		d["error"] = err.Error()
	}
	return d
}
