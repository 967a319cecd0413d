package forecast

import (
	"fmt"
	"iter"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// roller drains the nodes of a simulated cluster.
type roller struct {
	cluster *simulated
	o       Options
	roll    *Roll
	added   int
}

func batches(names []string, size int) iter.Seq[[]string] { return slices.Chunk(names, size) }

// inPlace drains nodes together and lets pods on them again.
func (r *roller) inPlace(names []string) {
	r.drain(names)
	for _, n := range names {
		r.cluster.cordon(n, false)
	}
	r.finish(names)
}

// replace puts new nodes in the place of old ones, as many as may be beforehand.
func (r *roller) replace(names []string) {
	surge := min(r.o.MaxSurge, len(names))
	for _, n := range names[:surge] {
		r.join(n)
	}
	r.drain(names)
	for i, n := range names {
		if r.stopped(n) {
			r.cluster.cordon(n, false) // somebody looked after it
			continue
		}
		if i >= surge {
			r.join(n)
		}
		r.cluster.leave(n)
	}
	r.finish(names)
}

// migrate joins a new pool, cordons the old one and empties it node by node.
func (r *roller) migrate(names []string) {
	for _, n := range names {
		r.join(n)
	}
	for _, n := range names {
		r.cluster.cordon(n, true)
	}
	for _, n := range names {
		r.drain([]string{n})
		r.finish([]string{n})
	}
}

// remove drains a node and takes it away.
func (r *roller) remove(name string) {
	r.drain([]string{name})
	if !r.stopped(name) {
		r.cluster.leave(name)
	}
	r.finish([]string{name})
}

func (r *roller) join(like string) {
	r.added++
	r.cluster.join(fmt.Sprintf("new-%d", r.added), like)
}

func (r *roller) of(name string) *Node {
	for i := range r.roll.Drains {
		if r.roll.Drains[i].Name == name {
			return &r.roll.Drains[i]
		}
	}
	return nil
}

func (r *roller) stopped(name string) bool { return len(r.of(name).Stops) > 0 }

// drain cordons the nodes and evicts their pods in rounds, as retries do: what
// the budgets let go goes, controllers and scheduler put new pods in their place,
// and what was refused is asked for again, until nothing moves any more. Like
// kubectl's it takes the pods that it found: a new one that tolerates the cordon
// and comes to the node is not evicted again.
func (r *roller) drain(names []string) {
	c := r.cluster
	for _, n := range names {
		c.cordon(n, true)
		r.roll.Drains = append(r.roll.Drains, Node{Name: n, With: slices.DeleteFunc(slices.Clone(names), func(o string) bool { return o == n })})
	}
	for _, n := range names {
		if !r.o.Force {
			r.of(n).Stops = c.barePods(n)
		}
	}
	before := c.readyOf()
	found := map[*simPod]bool{}
	for _, p := range c.on(names) {
		found[p] = true
	}
	for {
		moved := false
		for _, p := range c.on(names) {
			if !found[p] {
				continue
			}
			node := r.of(p.node)
			// A drain that refuses for a bare pod evicts nothing.
			if slices.ContainsFunc(node.Stops, func(s Stop) bool { return len(s.Budgets) == 0 }) || c.refused(p) != nil {
				continue
			}
			moved = true
			node.Moved++
			if bare(p) {
				node.Lost = append(node.Lost, p.name())
			}
			c.evict(p)
		}
		now := c.readyOf()
		for top, name := range before {
			if _, up := now[top]; !up {
				for _, n := range names {
					if node := r.of(n); node.Moved > 0 && !slices.Contains(node.Away, name) {
						node.Away = append(node.Away, name)
					}
				}
			}
		}
		c.settle()
		if !moved {
			break
		}
	}
	for _, p := range c.on(names) {
		node := r.of(p.node)
		if s := c.refused(p); found[p] && s != nil && !slices.ContainsFunc(node.Stops, func(s Stop) bool { return len(s.Budgets) == 0 }) {
			node.Stops = append(node.Stops, *s)
		}
	}
	for _, n := range names {
		slices.Sort(r.of(n).Away)
	}
}

// on returns the pods that drains of the nodes take, node by node.
func (c *simulated) on(names []string) []*simPod {
	var out []*simPod
	for _, n := range names {
		for _, p := range c.pods {
			if p.node == n && !stays(p.Pod) {
				out = append(out, p)
			}
		}
	}
	return out
}

// finish places what it can once the nodes are done, and says what remains.
func (r *roller) finish(names []string) {
	homeless := r.cluster.settle()
	for _, n := range names {
		node := r.of(n)
		node.Homeless = homeless
		for _, p := range r.cluster.pods {
			critical := p.Spec.PriorityClassName == "system-node-critical" || p.Spec.PriorityClassName == "system-cluster-critical"
			if p.node == "" && critical {
				node.Validation = append(node.Validation, p.name())
			}
		}
	}
}

// barePods are the stops of a drain that must not delete pods without a
// controller.
func (c *simulated) barePods(node string) []Stop {
	var out []Stop
	for _, p := range c.pods {
		if p.node == node && !stays(p.Pod) && bare(p) {
			out = append(out, Stop{Pod: p.name(), Why: "it belongs to no controller, and a drain without --force refuses to delete it, and with it the whole drain",
				Remedy: "delete it, or let a Deployment make it"})
		}
	}
	return out
}

// evict takes a pod away; its controller puts a new one in its place.
func (c *simulated) evict(p *simPod) {
	c.pods = slices.DeleteFunc(c.pods, func(o *simPod) bool { return o == p })
	if bare(p) {
		return
	}
	again := &simPod{Pod: p.Pod, broken: p.broken, unstarted: p.unstarted || p.broken && !p.running, fresh: true, requests: p.requests, ports: p.ports, terms: p.terms}
	if o, _ := c.ownerOf(p.Pod); o.kind != "statefulset" && !p.fresh {
		again.Pod = p.DeepCopy()
		again.Name += "'" // another pod of the same workload
	}
	c.pods = append(c.pods, again)
}

// settle places pods that have no node, in turn, until no more can be placed,
// and returns the others with the reason.
func (c *simulated) settle() []Homeless {
	c.look()
	for {
		placed := false
		var left []Homeless
		for _, p := range c.pods {
			if p.node != "" {
				continue
			}
			node, why := c.place(p)
			if node == "" {
				left = append(left, Homeless{Pod: p.name(), Why: why})
				continue
			}
			placed = true
			p.node, p.running, p.ready = node, !p.unstarted, !p.broken
			c.noteOn(p)
		}
		if !placed {
			return left
		}
	}
}

// readyOf names the workloads with a ready pod, by their owner.
func (c *simulated) readyOf() map[types.UID]string {
	out := map[types.UID]string{}
	for _, p := range c.pods {
		if !p.ready || p.node == "" || stays(p.Pod) {
			continue
		}
		if o, ok := c.ownerOf(p.Pod); ok {
			out[o.top] = o.kind + "/" + o.namespace + "/" + o.name
		}
	}
	return out
}
