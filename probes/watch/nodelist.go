package watch

import (
	"cmp"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// Node is a node of the cluster as the watch saw it last.
type Node struct {
	Name         string
	Version      string // of its kubelet
	ControlPlane bool
	Ready        bool // the condition Ready is True
	Cordoned     bool
}

// nodeList keeps the cluster's nodes; it is safe for concurrent use.
type nodeList struct {
	mu    sync.Mutex
	nodes map[string]Node
}

func newNodeList() *nodeList { return &nodeList{nodes: map[string]Node{}} }

// Nodes returns the cluster's nodes as the watch saw them last, in order of their
// names; none before they were first listed. It may be called at any time, after
// Stop too.
func (w *Watcher) Nodes() []Node { return w.nodes.all() }

func (l *nodeList) all() []Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Node, 0, len(l.nodes))
	for _, n := range l.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// learn takes a node that existed when the watch began.
func (l *nodeList) learn(n *corev1.Node) {
	_, control := n.Labels[controlPlaneLabel]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[n.Name] = Node{
		Name: n.Name, Version: n.Status.NodeInfo.KubeletVersion, ControlPlane: control,
		Ready: nodeCondition(n, corev1.NodeReady).Status == corev1.ConditionTrue, Cordoned: n.Spec.Unschedulable,
	}
}

// changes keeps the list up to date and returns what happened.
func (l *nodeList) changes(batch []pair[corev1.Node]) []change {
	for _, p := range batch {
		if p.after != nil {
			l.learn(p.after)
			continue
		}
		l.mu.Lock()
		delete(l.nodes, p.before.Name)
		l.mu.Unlock()
	}
	return nodeChanges(batch)
}
