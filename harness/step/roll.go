package step

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/english"
)

// Roll is what steps know of the workers of one hop: nodes come and go, so a
// step addresses a worker by its place among those that the cluster had when the
// hop began, and by name from there on. It is plain data, so that a run which
// was killed can go on with what it wrote down last.
//
// Every step on workers may be run again after it was cut short anywhere, with
// the Roll of before or of any change since: an old worker that is gone is not
// drained, one that is cordoned is drained on, a worker that runs the target
// version and takes pods is left alone, and a worker at the target version that
// no Roll knows is one that joined just before the end: it is adopted in place of
// another new one. What is written down is never taken back: that a worker is
// gone the cluster tells.
type Roll struct {
	// To is the version that the hop goes to; a Roll of another is a hop's before.
	To cluster.Version `json:"to"`
	// Old are the workers when the hop began, in the order in which they roll.
	Old []string `json:"old"`
	// New is the worker that takes the place of each old one, once it has joined.
	New map[string]string `json:"new,omitempty"`
	// Extra are workers that joined for the time of the roll.
	Extra []string `json:"extra,omitempty"`
}

// roll returns the Roll of the hop to a version. The first step of a hop, which
// is a control plane's, makes it, before any worker has changed.
func (e *Env) roll(ctx context.Context, to cluster.Version) (*Roll, error) {
	if e.Roll != nil && e.Roll.To == to {
		return e.Roll, nil
	}
	workers, err := nodesOf(ctx, e, false)
	if err != nil {
		return nil, err
	}
	r := &Roll{To: to}
	for _, w := range workers {
		r.Old = append(r.Old, w.Name)
	}
	e.Roll = r
	e.rolled()
	return r, nil
}

// rolled tells that the Roll has changed.
func (e *Env) rolled() {
	if e.SaveRoll != nil {
		e.SaveRoll(Roll{To: e.Roll.To, Old: slices.Clone(e.Roll.Old), New: maps.Clone(e.Roll.New), Extra: slices.Clone(e.Roll.Extra)})
	}
}

// old returns count old workers from the first-th on.
func (r *Roll) old(first, count int) ([]string, error) {
	if first+count > len(r.Old) {
		return nil, fmt.Errorf("the cluster had %s when the upgrade to %s began, the plan counted on at least %d: was one removed?", english.Count(len(r.Old), "worker"), r.To, first+count)
	}
	return r.Old[first : first+count], nil
}

// oldPool returns the Roll and all its old workers, whom a new pool replaces.
func (e *Env) oldPool(ctx context.Context, to cluster.Version, of int) (*Roll, []string, error) {
	r, err := e.roll(ctx, to)
	if err != nil {
		return nil, nil, err
	}
	old, err := r.old(0, of)
	return r, old, err
}

// knows tells whether the worker is one of the Roll's.
func (r *Roll) knows(name string) bool {
	if slices.Contains(r.Old, name) || slices.Contains(r.Extra, name) {
		return true
	}
	for _, n := range r.New {
		if n == name {
			return true
		}
	}
	return false
}

// nodeNamed returns the node, or nil where there is none.
func nodeNamed(ctx context.Context, env *Env, name string) (*corev1.Node, error) {
	var node *corev1.Node
	err := retryAPI(ctx, env, "get node "+name, func() (err error) {
		node, err = env.client().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get node %s: %w", name, err)
	}
	return node, nil
}

// mustNode returns a node that has to be there.
func mustNode(ctx context.Context, env *Env, name string) (*corev1.Node, error) {
	node, err := nodeNamed(ctx, env, name)
	if err == nil && node == nil {
		err = fmt.Errorf("node %s is gone: who removed it?", name)
	}
	return node, err
}
