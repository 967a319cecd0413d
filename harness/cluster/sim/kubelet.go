package sim

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Intervals of a kubelet (k8s.io/kubernetes/pkg/kubelet): the lease is renewed
// every quarter of its 40 s.
const (
	leaseSeconds  = 40
	renewInterval = leaseSeconds / 4 * time.Second
	// runtimeInterval is how often a kubelet whose network is not ready asks again.
	runtimeInterval = 5 * time.Second
)

// kubelet is one node's agent. Stopping it stops probes, leases and the start
// and end of pods, but not the processes that run: as on a real node.
type kubelet struct {
	c     *simulation
	node  string
	index int
	ip    string
	dice  *dice
	// joining is set until the network's daemon has run for the first time, on a
	// node that joined a running cluster; of heartbeat alone once that runs.
	joining bool

	mu      sync.Mutex
	version cluster.Version
	running bool
	changed chan struct{} // closed and replaced when running changes
	workers map[types.UID]*worker
	nextIP  int
}

func newKubelet(c *simulation, node string, index int, version cluster.Version) *kubelet {
	return &kubelet{c: c, node: node, index: index, ip: nodeIP(index), dice: newDice(c.opt.Seed, "kubelet/"+node),
		version: version, changed: make(chan struct{}), workers: map[types.UID]*worker{}, nextIP: 2}
}

// set starts or stops the kubelet; an empty version keeps the one it has.
func (k *kubelet) set(running bool, version cluster.Version) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = running
	if version != "" {
		k.version = version
	}
	close(k.changed)
	k.changed = make(chan struct{})
}

// awaitRunning blocks until the kubelet runs and the API answers.
func (k *kubelet) awaitRunning(ctx context.Context) error {
	for {
		k.mu.Lock()
		running, changed := k.running, k.changed
		k.mu.Unlock()
		if running {
			return k.c.plane.awaitAPI(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *kubelet) isRunning() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.running
}

// run syncs the node's pods until ctx ends, and returns when every process that
// the kubelet started is gone.
func (k *kubelet) run(ctx context.Context) {
	w := k.c.store.Wake(resPods)
	defer w.Stop()
	var workers sync.WaitGroup
	defer workers.Wait()
	for k.awaitRunning(ctx) == nil {
		k.sync(ctx, &workers)
		k.mu.Lock()
		changed := k.changed
		k.mu.Unlock()
		select {
		case <-w.C:
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (k *kubelet) sync(ctx context.Context, running *sync.WaitGroup) {
	seen := map[types.UID]bool{}
	for _, p := range list[*corev1.Pod](k.c.store, resPods, "") {
		if p.Spec.NodeName != k.node {
			continue
		}
		seen[p.UID] = true
		k.mu.Lock()
		w := k.workers[p.UID]
		if w == nil {
			w = newWorker(k, p)
			k.workers[p.UID] = w
			running.Go(func() {
				finished := w.run(ctx)
				k.mu.Lock()
				defer k.mu.Unlock()
				// A finished pod keeps its entry, so that it is not started again.
				if w.finished = finished; !finished {
					delete(k.workers, w.uid)
				}
			})
		}
		k.mu.Unlock()
		w.tell(p)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for uid, w := range k.workers {
		if !seen[uid] {
			w.tell(nil)
			if w.finished {
				delete(k.workers, uid)
			}
		}
	}
}

// heartbeat renews the node's lease and keeps its Ready condition.
func (k *kubelet) heartbeat(ctx context.Context) {
	// What a kubelet reports first after a start: the runtime was not asked yet.
	starting := true
	for k.awaitRunning(ctx) == nil {
		k.mu.Lock()
		version, changed := k.version, k.changed
		k.mu.Unlock()
		if starting {
			k.report(version, false, "KubeletNotReady", "[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]")
			if k.c.clock.sleep(ctx, k.dice.spread(4*time.Second)) != nil {
				return
			}
			starting = false
			continue
		}
		owner, every := k.ownerReference(), renewInterval
		k.c.writeLease(corev1.NamespaceNodeLease, k.node, k.node, leaseSeconds, owner)
		if oldest := k.c.oldestAPIServer(k.node); oldest != "" && version.Minor() > oldest.Minor() {
			k.report(version, false, "KubeletNotReady", fmt.Sprintf("kubelet %s is newer than the API server %s, which is not supported", version, oldest))
		} else if k.c.opt.Faults.overlayDown(k.node) && k.c.spec.Network == "flannel" && k.c.opt.Faults.OverlayNotReady {
			k.report(version, false, "KubeletNotReady", "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
		} else if k.joining = k.joining && !k.networkRuns(); k.joining {
			k.report(version, false, "KubeletNotReady", "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
			every = runtimeInterval
		} else {
			k.report(version, true, "KubeletReady", "kubelet is posting ready status")
		}
		t := time.NewTimer(k.c.clock.of(every))
		select {
		case <-t.C:
		case <-changed:
			starting = true
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// networkRuns tells whether the network's daemon is up on this node.
func (k *kubelet) networkRuns() bool {
	for _, p := range list[*corev1.Pod](k.c.store, resPods, "") {
		if app := p.Labels["app"]; p.Spec.NodeName == k.node && (app == "flannel" || app == "kindnet") && isReady(p) {
			return true
		}
	}
	return false
}

func (k *kubelet) ownerReference() *metav1.OwnerReference {
	n, ok := get[*corev1.Node](k.c.store, resNodes, "", k.node)
	if !ok {
		return nil
	}
	return &metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}
}

// report writes the node's version and Ready condition.
func (k *kubelet) report(version cluster.Version, ready bool, reason, message string) {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	n, ok := get[*corev1.Node](k.c.store, resNodes, "", k.node)
	if !ok {
		return
	}
	if n.Status.NodeInfo.KubeletVersion == version.String() {
		if c := nodeCondition(n, corev1.NodeReady); c != nil && c.Status == status && c.Message == message {
			return
		}
	}
	k.c.must(update(k.c.store, resNodes, "", k.node, func(n *corev1.Node) {
		n.Status.NodeInfo.KubeletVersion = version.String()
		setNodeCondition(n, corev1.NodeReady, status, reason, message)
	}))
}

func (k *kubelet) allocateIP() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.nextIP++
	return fmt.Sprintf("10.244.%d.%d", k.index, 2+k.nextIP%250)
}

func nodeIP(index int) string { return fmt.Sprintf("172.18.0.%d", 2+index) }

func nodeCondition(n *corev1.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == kind {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

func setNodeCondition(n *corev1.Node, kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) {
	now := metav1.Now()
	if c := nodeCondition(n, kind); c != nil {
		if c.Status != status {
			c.LastTransitionTime = now
		}
		c.Status, c.Reason, c.Message, c.LastHeartbeatTime = status, reason, message, now
		return
	}
	n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
		Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now})
}
