package sim

import (
	"context"
	"slices"
	"sync"
)

// Components of a control plane, in the order in which kubeadm upgrades them.
const (
	compEtcd       = "etcd"
	compAPIServer  = "kube-apiserver"
	compController = "kube-controller-manager"
	compScheduler  = "kube-scheduler"
)

var planeComponents = []string{compEtcd, compAPIServer, compController, compScheduler}

// plane is the state of the control plane: which component runs on which node,
// and at which image tag. Everything that a real cluster cannot do without its
// API server or controller manager asks it first.
type plane struct {
	mu      sync.Mutex
	nodes   []string
	parts   map[string]map[string]*part // node, component
	leader  map[string]string           // component to node that leads, "" for none
	turn    int
	changed chan struct{}              // closed and replaced at every change
	onAPI   func(node string, up bool) // an API server came or went
}

type part struct {
	tag string
	up  bool
	// generation counts starts: a restarted process is another leader candidate.
	generation int
}

func newPlane(nodes []string, onAPI func(node string, up bool)) *plane {
	p := &plane{nodes: slices.Clone(nodes), parts: map[string]map[string]*part{}, leader: map[string]string{}, changed: make(chan struct{}), onAPI: onAPI}
	for _, n := range nodes {
		p.parts[n] = map[string]*part{}
		for _, c := range planeComponents {
			p.parts[n][c] = &part{}
		}
	}
	return p
}

// set starts or stops a component of a node; an empty tag keeps the version.
func (p *plane) set(node, component string, up bool, tag string) {
	p.mu.Lock()
	before := p.parts[node][compAPIServer].up
	c := p.parts[node][component]
	if up && !c.up {
		c.generation++
	}
	c.up = up
	if tag != "" {
		c.tag = tag
	}
	if !up && p.leader[component] == node {
		// The process is gone; its lease is not. Another can only lead when that
		// has run out, see lead.
		p.leader[component] = ""
	}
	after := p.parts[node][compAPIServer].up
	p.signalLocked()
	p.mu.Unlock()
	if before != after {
		p.onAPI(node, after)
	}
}

func (p *plane) signalLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// servesLocked tells whether a node's API server answers: it needs the etcd
// member beside it, and that member a quorum.
func (p *plane) servesLocked(node string) bool {
	n := p.parts[node]
	return n != nil && n[compAPIServer].up && n[compEtcd].up && p.quorumLocked()
}

// quorumLocked tells whether more than half of the etcd members run.
func (p *plane) quorumLocked() bool {
	up := 0
	for _, n := range p.parts {
		if n[compEtcd].up {
			up++
		}
	}
	return up > len(p.parts)/2
}

// serves tells whether the API server of a node answers.
func (p *plane) serves(node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.servesLocked(node)
}

// isUp tells whether a component's process runs on a node.
func (p *plane) isUp(node, component string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.parts[node]
	return n != nil && n[component] != nil && n[component].up
}

// listens tells whether the process of any API server runs.
func (p *plane) listens() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.nodes, func(n string) bool { return p.parts[n][compAPIServer].up })
}

// tag is a component's image tag on a node.
func (p *plane) tag(node, component string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts[node][component].tag
}

// pick returns the next API server that answers, in turn, or false.
func (p *plane) pick() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.nodes {
		n := p.nodes[p.turn%len(p.nodes)]
		p.turn++
		if p.servesLocked(n) {
			return n, true
		}
	}
	return "", false
}

// await blocks until ok is true of the plane, or ctx ends.
func (p *plane) await(ctx context.Context, ok func() bool) error {
	for {
		p.mu.Lock()
		if ok() {
			p.mu.Unlock()
			return ctx.Err()
		}
		c := p.changed
		p.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitAPI blocks until an API server answers.
func (p *plane) awaitAPI(ctx context.Context) error {
	return p.await(ctx, func() bool {
		return slices.ContainsFunc(p.nodes, p.servesLocked)
	})
}

// awaitLeader blocks until some instance of the component leads and the API
// answers: controllers and the scheduler can do nothing without either.
func (p *plane) awaitLeader(ctx context.Context, component string) error {
	return p.await(ctx, func() bool {
		return p.leader[component] != "" && slices.ContainsFunc(p.nodes, p.servesLocked)
	})
}

// candidate returns a node whose instance could lead, and its generation.
func (p *plane) candidate(component string) (string, int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.leader[component]; n != "" {
		return n, p.parts[n][component].generation, true
	}
	for _, n := range p.nodes {
		if c := p.parts[n][component]; c.up {
			return n, c.generation, true
		}
	}
	return "", 0, false
}

func (p *plane) setLeader(component, node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if node != "" && !p.parts[node][component].up {
		return
	}
	p.leader[component] = node
	p.signalLocked()
}
