package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim/internal/balancer"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim/internal/store"
)

// simulation is one running cluster. Everything that it starts ends when stop
// returns.
type simulation struct {
	spec    cluster.Spec
	opt     Options
	log     *slog.Logger
	clock   clock
	started time.Time

	store    *store.Store
	api      *api
	net      *network
	plane    *plane
	servers  map[string]*apiServer
	notReady map[string]bool      // of monitorNodes alone
	orphaned map[string]time.Time // of collectOrphans alone
	clients  *clients

	ctx    context.Context // the cluster's life: ends with stop
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	common    *balancer.Balancer // before the API servers, with more than one
	balancers []*balancer.Balancer
	twins     []*server
	stopped   bool
	members   map[string]*member // by node
	names     []string           // of members, control planes first
	made      int                // nodes ever, so that no name and no subnet comes again
	leaving   map[string]bool    // nodes that no balancer may send to
}

// newSimulation makes a cluster that does not run yet. Its life is bound to
// life, and ends with stop.
func newSimulation(life context.Context, spec cluster.Spec, opt Options) *simulation {
	c := &simulation{
		spec: spec, opt: opt, log: opt.Log.With("cluster", spec.Name), clock: clock{opt.Scale}, started: time.Now(),
		members: map[string]*member{}, leaving: map[string]bool{}, servers: map[string]*apiServer{}, notReady: map[string]bool{},
	}
	c.ctx, c.cancel = context.WithCancel(life)
	c.store = store.New(newDice(opt.Seed, "names").suffix)
	c.net = newNetwork(c.clock, c.opt.Faults.overlayDown)
	names := firstNames(spec)
	c.made = len(names)
	c.plane = newPlane(names[:spec.ControlPlanes], func(node string, up bool) {
		if !up {
			c.store.End(node)
		}
	})
	c.api = &api{store: c.store, clock: c.clock, serve: c.plane.pick, listens: c.plane.listens, dice: newDice(opt.Seed, "api")}
	for i, n := range names {
		c.addMember(n, i, spec.Version)
	}
	c.clients = newClients(c)
	return c
}

// firstNames are the nodes of a new cluster, control planes first, as kind names
// them.
func firstNames(spec cluster.Spec) []string {
	var out []string
	for i := range spec.ControlPlanes {
		out = append(out, spec.Name+"-control-plane"+ordinal(i))
	}
	for i := range spec.Workers {
		out = append(out, spec.Name+"-worker"+ordinal(i))
	}
	return out
}

func ordinal(i int) string {
	if i == 0 {
		return ""
	}
	return strconv.Itoa(i + 1)
}

// start brings the cluster up; on error stop must still be called.
func (c *simulation) start() error {
	if err := c.bootstrap(); err != nil {
		return err
	}
	tags := images(c.spec.Version)
	for _, n := range c.plane.nodes {
		c.servers[n] = &apiServer{
			node:    n,
			version: func() cluster.Version { return cluster.Version(c.plane.tag(n, compAPIServer)) },
			etcdUp:  func() bool { return c.plane.isUp(n, compEtcd) },
			awaitEtcd: func(ctx context.Context) error {
				return c.plane.await(ctx, func() bool { return c.plane.parts[n][compEtcd].up })
			},
			get: c.store.Get,
		}
	}
	for _, comp := range planeComponents {
		for _, n := range c.plane.nodes {
			if err := c.setComponent(n, comp, true, tags[comp]); err != nil {
				return err
			}
		}
	}
	if err := c.startCommonAddress(); err != nil {
		return err
	}
	for _, comp := range []string{compController, compScheduler} {
		c.wg.Go(func() { c.elect(c.ctx, comp) })
	}
	for _, k := range c.controllers() {
		c.wg.Go(func() { c.drive(c.ctx, k) })
	}
	for _, n := range c.nodeNames() {
		if err := c.startMember(n); err != nil {
			return err
		}
	}
	c.wg.Go(func() { c.clients.forget(c.ctx) })
	c.wg.Go(func() { c.inject(c.ctx) })
	return nil
}

func (c *simulation) controllers() []controller {
	type res = []schema.GroupVersionResource
	const quick = 100 * time.Millisecond
	return []controller{
		{name: "deployment", component: compController, watches: res{resDeployments, resReplicaSets}, delay: quick, sync: c.syncDeployments},
		{name: "replicaset", component: compController, watches: res{resReplicaSets, resPods}, delay: quick, sync: c.syncReplicaSets},
		{name: "daemonset", component: compController, watches: res{resDaemonSets, resPods, resNodes}, delay: quick, every: 5 * time.Second, sync: c.syncDaemonSets},
		{name: "endpointslice", component: compController, watches: res{resServices, resPods, resEndpointSlices}, delay: sliceDelay, sync: c.syncEndpointSlices},
		{name: "disruption", component: compController, watches: res{resBudgets, resPods, resReplicaSets, resDeployments}, delay: quick, every: 30 * time.Second, sync: c.syncBudgets},
		{name: "garbage", component: compController, watches: res{resDeployments, resReplicaSets, resDaemonSets, resServices, resNodes}, delay: 500 * time.Millisecond, sync: c.collectGarbage},
		{name: "pod-garbage", component: compController, watches: res{resNodes}, delay: quick, every: podGCPeriod, sync: c.collectOrphans},
		{name: "namespace", component: compController, watches: append(res{resNamespaces}, collected...), delay: 500 * time.Millisecond, sync: c.emptyNamespaces},
		{name: "node-lifecycle", component: compController, watches: res{resNodes}, delay: quick, every: monitorPeriod, sync: c.monitorNodes},
		{name: "scheduler", component: compScheduler, watches: res{resPods, resNodes}, delay: schedulingDelay, sync: c.schedule},
	}
}

// setComponent starts or stops a control-plane component on a node, with the
// listener if it is the API server.
func (c *simulation) setComponent(node, component string, up bool, tag string) error {
	if component == compAPIServer {
		if up {
			// Listen before anybody is told that the server is there.
			if err := c.servers[node].start(c.ctx); err != nil {
				return err
			}
			c.plane.set(node, component, true, tag)
			return nil
		}
		c.plane.set(node, component, false, tag)
		c.servers[node].stop()
		return nil
	}
	c.plane.set(node, component, up, tag)
	return nil
}

// startCommonAddress puts a balancer before the API servers if there are
// several; its health checks are those of the haproxy that kind uses.
func (c *simulation) startCommonAddress() error {
	first := c.servers[c.plane.nodes[0]].addr
	c.api.address = first
	if len(c.plane.nodes) == 1 {
		return nil
	}
	b, err := balancer.Start(c.ctx, balancer.Config{
		Name:     "api",
		Backends: func() []string { return c.plane.nodes },
		Dial:     dialTo(func(node string) string { return c.servers[node].addr }),
		Check: func(ctx context.Context, node string) error {
			return httpCheck(ctx, "http://"+c.servers[node].addr+"/readyz", nil)
		},
		Interval: c.clock.of(2 * time.Second), Timeout: checkTimeout, Fall: 3, Rise: 2,
		DialTimeout: dialTimeout, Redispatch: 2, Log: c.log,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.common = b
	c.balancers = append(c.balancers, b)
	c.api.address = b.Addr()
	return nil
}

// cluster describes the running cluster to its users.
func (c *simulation) cluster() *cluster.Cluster {
	out := &cluster.Cluster{Spec: c.spec, Simulated: true, Client: c.clients.typed, Dynamic: c.clients.dynamic}
	out.APIServers = append(out.APIServers, cluster.APIServer{Name: "api", Config: &rest.Config{Host: "http://" + c.api.address}})
	for _, n := range c.plane.nodes {
		out.APIServers = append(out.APIServers, cluster.APIServer{Name: n, Config: &rest.Config{Host: "http://" + c.servers[n].addr}})
	}
	return out
}

// awaitNodes blocks until every node is Ready and its system pods are too.
func (c *simulation) awaitNodes(ctx context.Context) error {
	w := c.store.Wake(resNodes, resPods)
	defer w.Stop()
	for {
		var missing []string
		for _, n := range c.nodeNames() {
			node, ok := get[*corev1.Node](c.store, resNodes, "", n)
			if ready := ok && nodeIsReady(node); !ready {
				missing = append(missing, "node "+n)
			}
		}
		pods := list[*corev1.Pod](c.store, resPods, "")
		for _, p := range pods {
			if !isReady(p) && !c.planted(p) {
				missing = append(missing, "pod "+p.Namespace+"/"+p.Name)
			}
		}
		if want := c.systemPods(); len(pods) < want {
			missing = append(missing, fmt.Sprintf("%d system pods", want-len(pods)))
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-w.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the simulated cluster: %w; not ready: %s", ctx.Err(), strings.Join(missing, ", "))
		}
	}
}

// systemPods is how many pods a clean cluster has: static pods, CoreDNS, and
// kube-proxy and the network on each node.
func (c *simulation) systemPods() int {
	return 4*c.spec.ControlPlanes + 2 + 2*(c.spec.ControlPlanes+c.spec.Workers)
}

// planted tells whether a pod is one of the faults' own.
func (c *simulation) planted(p *corev1.Pod) bool {
	return slices.ContainsFunc(c.opt.Faults.Objects, func(o Object) bool {
		q, ok := o.Object.(*corev1.Pod)
		return ok && q.Namespace == p.Namespace && q.Name == p.Name
	})
}

func nodeIsReady(n *corev1.Node) bool {
	r := nodeCondition(n, corev1.NodeReady)
	return r != nil && r.Status == corev1.ConditionTrue
}

// oldestAPIServer is the lowest version among the API servers that a node's
// kubelet may meet and that answer: on a control plane its own, as kubeadm
// configures it, elsewhere any.
func (c *simulation) oldestAPIServer(node string) cluster.Version {
	if c.plane.serves(node) {
		return cluster.Version(c.plane.tag(node, compAPIServer))
	}
	var oldest cluster.Version
	for _, n := range c.plane.nodes {
		if v := cluster.Version(c.plane.tag(n, compAPIServer)); c.plane.serves(n) && (oldest == "" || v.Less(oldest)) {
			oldest = v
		}
	}
	return oldest
}

// dnsAnswers tells whether the CoreDNS pod at an address answers a pod on a node.
func (c *simulation) dnsAnswers(node, ip string) bool {
	return slices.ContainsFunc(list[*corev1.Pod](c.store, resPods, "kube-system"), func(p *corev1.Pod) bool {
		if p.Status.PodIP != ip || !isReady(p) {
			return false
		}
		far := p.Spec.NodeName != node
		return !far || !c.opt.Faults.overlayDown(node) && !c.opt.Faults.overlayDown(p.Spec.NodeName)
	})
}

// stop ends everything and returns when it has ended. It may be called more
// than once.
func (c *simulation) stop() {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return
	}
	c.stopped = true
	balancers, twins := c.balancers, c.twins
	c.mu.Unlock()
	c.cancel()
	for _, b := range balancers {
		b.Close()
	}
	for _, t := range twins {
		t.kill()
	}
	for _, s := range c.servers {
		s.stop()
	}
	c.wg.Wait()
	c.store.Close()
}
