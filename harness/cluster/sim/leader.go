package sim

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Leader election's defaults (k8s.io/component-base/config/v1alpha1): a leader
// that went away is replaced only when its lease has run out, even by its own
// successor on the same node, because a restarted process has a new identity.
const (
	leaseDuration = 15 * time.Second
	retryPeriod   = 2 * time.Second
)

// elect keeps the leader lease of a component, until ctx ends.
func (c *simulation) elect(ctx context.Context, component string) {
	var holder string
	var renewed time.Time
	for {
		if c.plane.awaitAPI(ctx) != nil {
			return
		}
		node, generation, ok := c.plane.candidate(component)
		if ok {
			id := fmt.Sprintf("%s_%s-%d", node, component, generation)
			now := time.Now()
			if holder == "" || holder == id || now.Sub(renewed) > c.clock.of(leaseDuration) {
				c.writeLease("kube-system", component, id, int32(leaseDuration/time.Second), nil)
				holder, renewed = id, now
				c.plane.setLeader(component, node)
			}
		}
		if c.clock.sleep(ctx, retryPeriod) != nil {
			return
		}
	}
}

// writeLease renews a lease or takes it over.
func (c *simulation) writeLease(namespace, name, holder string, seconds int32, owner *metav1.OwnerReference) {
	now := metav1.NowMicro()
	if _, ok := get[*coordinationv1.Lease](c.store, resLeases, namespace, name); !ok {
		zero := int32(0)
		l := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now, LeaseTransitions: &zero}}
		l.Name, l.Namespace = name, namespace
		if owner != nil {
			l.OwnerReferences = []metav1.OwnerReference{*owner}
		}
		if _, err := c.store.Create(resLeases, l); err != nil {
			c.log.Error("simulated lease not created", "lease", namespace+"/"+name, "error", err)
		}
		return
	}
	c.must(update(c.store, resLeases, namespace, name, func(l *coordinationv1.Lease) {
		if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity != holder {
			n := int32(1)
			if l.Spec.LeaseTransitions != nil {
				n += *l.Spec.LeaseTransitions
			}
			l.Spec.LeaseTransitions, l.Spec.AcquireTime = &n, &now
		}
		l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, &now
	}))
}
