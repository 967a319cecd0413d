package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// How long a worker takes to come and to go, beside what its pods take, in the
// cluster's time.
const (
	bootWorker  = 25 * time.Second // the machine, its container runtime and kubeadm join
	endWorker   = 5 * time.Second  // the machine
	orphanGrace = 40 * time.Second // of a pod whose node is gone, k8s.io/kubernetes/pkg/controller/podgc
	podGCPeriod = 20 * time.Second
)

// AddNode implements cluster.NodeProvisioner. The kubelet registers NotReady, as
// the network's daemon has yet to come; the balancers send to the worker after
// their health checks.
func (d *Driver) AddNode(ctx context.Context, c *cluster.Cluster, v cluster.Version) (string, error) {
	s, err := d.simulation(c)
	if err != nil {
		return "", fmt.Errorf("add a worker: %w", err)
	}
	name, err := s.addWorker(ctx, v)
	if err != nil {
		return "", fmt.Errorf("add worker %s at %s: %w; nothing of it is left", name, v, err)
	}
	return name, nil
}

// RemoveNode implements cluster.NodeProvisioner.
func (d *Driver) RemoveNode(ctx context.Context, c *cluster.Cluster, node string) error {
	s, err := d.simulation(c)
	if err == nil && s.servers[node] != nil {
		err = errors.New("it is a control plane")
	}
	if err == nil {
		err = s.removeWorker(ctx, node)
	}
	if err != nil {
		return fmt.Errorf("remove node %s: %w", node, err)
	}
	return nil
}

// RollbackNode implements cluster.NodeRollbacker.
func (d *Driver) RollbackNode(ctx context.Context, c *cluster.Cluster, node string, to cluster.Version) error {
	s, err := d.node(c, node)
	if err == nil && s.servers[node] != nil {
		err = errors.New("it is a control plane: Kubernetes supports no way back for it")
	}
	if err == nil {
		err = s.upgradeNode(ctx, node, to)
	}
	if err != nil {
		return fmt.Errorf("roll node %s back to %s: %w", node, to, err)
	}
	return nil
}

// addWorker boots a machine that joins as a worker and returns its name, on error
// too.
func (c *simulation) addWorker(ctx context.Context, v cluster.Version) (string, error) {
	c.mu.Lock()
	index := c.made
	c.made++
	c.mu.Unlock()
	name := c.spec.Name + "-worker" + ordinal(index-c.spec.ControlPlanes)
	if err := c.clock.sleep(ctx, newDice(c.opt.Seed, "boot/"+name).spread(bootWorker)); err != nil {
		return name, err
	}
	if err := c.plane.awaitAPI(ctx); err != nil {
		return name, err
	}
	if got := c.opt.Faults.kubeletVersion(name, v); got != "" {
		v = got
	} else if c.opt.Faults.UpgradeChangesNothing {
		v = c.spec.Version
	}
	n := c.newNode(name, index)
	n.Status.NodeInfo.KubeletVersion = v.String()
	// Admission taints a new node before a scheduler can see it.
	n.Spec.Taints = taintsOf(n)
	c.addMember(name, index, v).joining = true
	if _, err := c.store.Create(resNodes, n); err != nil {
		c.dropMember(name)
		return name, err
	}
	if err := c.startMember(name); err != nil {
		return name, err
	}
	c.event(n, "Node", corev1.EventTypeNormal, "RegisteredNode", "Node "+name+" event: Registered Node "+name+" in Controller", "node-controller")
	return name, nil
}

// removeWorker takes a worker out of the balancers, ends its machine and deletes
// its Node.
func (c *simulation) removeWorker(ctx context.Context, node string) error {
	if err := c.deregister(ctx, node); err != nil {
		return err
	}
	if m := c.dropMember(node); m != nil {
		m.end()
		if err := c.clock.sleep(ctx, newDice(c.opt.Seed, "end/"+node).spread(endWorker)); err != nil {
			return err
		}
	}
	if err := c.plane.awaitAPI(ctx); err != nil {
		return err
	}
	_, err := c.store.Delete(resNodes, "", node)
	return ignoreGone(err)
}

// deregister takes a node out of the balancers and returns when no new
// connection goes there. Those that exist go on, past the node's end: kind's
// balancer moves a client's next request to another node, and a client sees the
// same of both.
func (c *simulation) deregister(ctx context.Context, node string) error {
	c.mu.Lock()
	c.leaving[node] = true
	balancers := slices.Clone(c.balancers)
	c.mu.Unlock()
	for _, b := range balancers {
		for slices.Contains(b.Members(), node) {
			if err := c.clock.sleep(ctx, checkInterval/4); err != nil {
				return err
			}
		}
	}
	return nil
}

// member is a node's machine: what runs on it until it ends.
type member struct {
	kubelet *kubelet
	proxy   *kubeProxy
	end     func() // returns when nothing of it runs any more; nil before it was started
}

// addMember makes the machine of a node, on which nothing runs yet.
func (c *simulation) addMember(name string, index int, v cluster.Version) *kubelet {
	m := &member{
		kubelet: newKubelet(c, name, index, v),
		proxy:   &kubeProxy{c: c, node: name, dice: newDice(c.opt.Seed, "kube-proxy/"+name), rules: map[string]rule{}},
		end:     func() {},
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[name] = m
	c.names = append(c.names, name)
	return m.kubelet
}

// startMember lets the node's kubelet and kube-proxy run until the machine or the
// cluster ends.
func (c *simulation) startMember(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return errors.New("the cluster was deleted")
	}
	m := c.members[name]
	ctx, cancel := context.WithCancel(c.ctx)
	m.kubelet.set(true, "")
	done := make(chan struct{}, 3)
	parts := []func(context.Context){m.kubelet.run, m.kubelet.heartbeat, m.proxy.run}
	for _, part := range parts {
		c.wg.Go(func() {
			part(ctx)
			done <- struct{}{}
		})
	}
	m.end = func() {
		cancel()
		for range parts {
			<-done
		}
	}
	return nil
}

// dropMember forgets a node's machine and returns it, or nil where there is none.
func (c *simulation) dropMember(name string) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[name]
	delete(c.members, name)
	c.names = slices.DeleteFunc(c.names, func(n string) bool { return n == name })
	return m
}

// nodeNames are the nodes, control planes first, as kind names them.
func (c *simulation) nodeNames() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.names)
}

// kubelet returns a node's, or nil where there is no such node.
func (c *simulation) kubelet(node string) *kubelet {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.members[node]; m != nil {
		return m.kubelet
	}
	return nil
}

// proxy returns a node's kube-proxy, or nil where there is no such node.
func (c *simulation) proxy(node string) *kubeProxy {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.members[node]; m != nil {
		return m.proxy
	}
	return nil
}

// collectOrphans is the pod garbage collector: pods of a node that is gone go
// after a while, without a kubelet to end them.
func (c *simulation) collectOrphans(context.Context) error {
	orphans := map[string]time.Time{}
	for _, p := range list[*corev1.Pod](c.store, resPods, "") {
		node := p.Spec.NodeName
		if node == "" {
			continue
		}
		if _, ok := get[*corev1.Node](c.store, resNodes, "", node); ok {
			continue
		}
		since, known := c.orphaned[node]
		if !known {
			since = time.Now()
		}
		orphans[node] = since
		if time.Since(since) < c.clock.of(orphanGrace) {
			continue
		}
		if _, err := c.store.Delete(resPods, p.Namespace, p.Name); ignoreGone(err) != nil {
			return err
		}
	}
	c.orphaned = orphans
	return nil
}
