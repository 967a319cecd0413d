package watch

import (
	"maps"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// leaderChanges lists the leases that changed holder: a controller-manager or a
// scheduler that took over, an API server that came back with a new identity.
func leaderChanges(batch []pair[coordinationv1.Lease]) []change {
	var out []change
	for _, p := range batch {
		if p.after == nil {
			continue
		}
		from, to := "", deref(p.after.Spec.HolderIdentity)
		if p.before != nil {
			from = deref(p.before.Spec.HolderIdentity)
		}
		if from == to {
			continue
		}
		out = append(out, change{timeline.KindLease, "lease/" + p.after.Namespace + "/" + p.after.Name, detail(
			"from", from, "to", to, "hostname", p.after.Labels[corev1.LabelHostname])})
	}
	return out
}

// defaultLeaseDuration is the kubelet's, for a lease that does not say.
const defaultLeaseDuration = 40 * time.Second

// heartbeats follows the renewals of the nodes' leases. Times are those at which
// a renewal was seen here, not those written in the lease: the clocks of the
// cluster and of this machine need not agree.
type heartbeats struct {
	mu    sync.Mutex
	nodes map[string]*heartbeat
	now   func() time.Duration
}

type heartbeat struct {
	seen  time.Duration // when the last renewal was seen
	limit time.Duration
	lost  bool
}

func newHeartbeats(now func() time.Duration) *heartbeats {
	return &heartbeats{nodes: map[string]*heartbeat{}, now: now}
}

// changes takes renewals; it lists the nodes that came back.
func (h *heartbeats) changes(batch []pair[coordinationv1.Lease]) []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []change
	now := h.now()
	for _, p := range batch {
		if p.after == nil {
			delete(h.nodes, p.before.Name)
			continue
		}
		b := h.nodes[p.after.Name]
		if b == nil {
			h.learnLocked(p.after, now)
			continue
		}
		if p.before != nil && p.before.Spec.RenewTime.Equal(p.after.Spec.RenewTime) {
			continue
		}
		if b.lost {
			out = append(out, change{timeline.KindHeartbeatBack, "node/" + p.after.Name,
				detail("silent", (now - b.seen).Round(time.Second).String())})
		}
		b.seen, b.lost = now, false
	}
	return out
}

func (h *heartbeats) learn(l *coordinationv1.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.learnLocked(l, h.now())
}

// A kubelet renews its lease four times in its duration
// (nodeLeaseRenewIntervalFraction = 0.25); at three quarters two renewals in a
// row were missed.
func (h *heartbeats) learnLocked(l *coordinationv1.Lease, now time.Duration) {
	duration := defaultLeaseDuration
	if s := l.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		duration = time.Duration(*s) * time.Second
	}
	h.nodes[l.Name] = &heartbeat{seen: now, limit: duration * 3 / 4}
}

// silent lists the nodes that are silent since longer than their limit and were
// not listed yet.
func (h *heartbeats) silent() []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []change
	now := h.now()
	for _, name := range slices.Sorted(maps.Keys(h.nodes)) {
		b := h.nodes[name]
		if b.lost || now-b.seen <= b.limit {
			continue
		}
		b.lost = true
		out = append(out, change{timeline.KindHeartbeatLost, "node/" + name, detail("silent", (now - b.seen).Round(time.Second).String())})
	}
	return out
}

// excuse starts the count anew for the nodes that were not silent before:
// nobody could see their renewals.
func (h *heartbeats) excuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.nodes {
		if !b.lost {
			b.seen = h.now()
		}
	}
}
