package sim

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim/internal/balancer"
)

// Health checks like a cloud balancer's, in the cluster's time; the timeouts are
// this machine's, which is not faster than a balancer.
const (
	checkInterval = 2 * time.Second
	checkFall     = 3
	checkRise     = 2
	checkTimeout  = time.Second
	dialTimeout   = 2 * time.Second
)

// dialTo connects to the loopback address that stands for a backend.
func dialTo(address func(backend string) string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, backend string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address(backend))
	}
}

// expose puts a balancer before a node port of every node that takes part in
// load balancing: connections go through the rules of the node's kube-proxy,
// and so do the health checks.
func (c *simulation) expose(svc cluster.Service) (cluster.Endpoint, error) {
	return c.balance(c.faulty(balancer.Config{
		Name:     svc.Namespace + "/" + svc.Name,
		Backends: c.balancedNodes,
		Dial: func(ctx context.Context, node string) (net.Conn, error) {
			return c.dialNodePort(ctx, node, svc.NodePort)
		},
		Check: func(ctx context.Context, node string) error {
			return httpCheck(ctx, "http://"+node+svc.HealthPath, func(ctx context.Context, _, _ string) (net.Conn, error) {
				return c.dialNodePort(ctx, node, svc.NodePort)
			})
		},
	}))
}

// dialNodePort connects to a node's port from outside the cluster. Where the node
// is gone nothing answers.
func (c *simulation) dialNodePort(ctx context.Context, node string, port int32) (net.Conn, error) {
	if p := c.proxy(node); p != nil {
		return p.dialNodePort(ctx, port)
	}
	<-ctx.Done()
	return nil, fmt.Errorf("node %s port %d: %w", node, port, ctx.Err())
}

// balancedNodes are the nodes that a cloud controller would register: those
// without the label that excludes control planes, and that are not being removed.
func (c *simulation) balancedNodes() []string {
	var out []string
	nodes := list[*corev1.Node](c.store, resNodes, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		if _, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]; !excluded && !c.leaving[n.Name] {
			out = append(out, n.Name)
		}
	}
	return out
}

// twin runs canaries outside the cluster behind a balancer of the same kind.
func (c *simulation) twin(w cluster.Workload) (cluster.Endpoint, error) {
	if w.Image != CanaryImage {
		return cluster.Endpoint{}, fmt.Errorf("start twin: image %q: the simulated cluster runs %q only", w.Image, CanaryImage)
	}
	if w.Replicas < 1 {
		return cluster.Endpoint{}, fmt.Errorf("start twin: %d replicas: want at least 1", w.Replicas)
	}
	addresses := map[string]string{}
	var names []string
	for i := range w.Replicas {
		name := fmt.Sprintf("twin-%d", i)
		s, err := startCanary(c.ctx, w.Args, c.clock, name, "twin")
		if err != nil {
			return cluster.Endpoint{}, fmt.Errorf("start twin: %w", err)
		}
		c.mu.Lock()
		c.twins = append(c.twins, s)
		c.mu.Unlock()
		addresses[name] = s.addr
		names = append(names, name)
	}
	return c.balance(balancer.Config{
		Name:     "twin",
		Backends: func() []string { return names },
		Dial:     dialTo(func(name string) string { return addresses[name] }),
		Check: func(ctx context.Context, name string) error {
			return httpCheck(ctx, "http://"+addresses[name]+"/readyz", nil)
		},
	})
}

// balance starts a balancer with the health checks of a cloud's.
func (c *simulation) balance(cfg balancer.Config) (cluster.Endpoint, error) {
	cfg.Interval, cfg.Timeout, cfg.Fall, cfg.Rise = c.clock.of(checkInterval), checkTimeout, checkFall, checkRise
	cfg.DialTimeout, cfg.Log = dialTimeout, c.log
	b, err := balancer.Start(c.ctx, cfg)
	if err != nil {
		return cluster.Endpoint{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.balancers = append(c.balancers, b)
	return cluster.Endpoint{URL: "http://" + strings.TrimPrefix(b.Addr(), "http://")}, nil
}
