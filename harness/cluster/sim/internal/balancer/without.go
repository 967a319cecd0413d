package balancer

import (
	"context"
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Without carries out work while nothing is sent to a backend, as when it is
// deregistered: at the beginning the connections to it are closed. It returns
// when the backend has passed its checks again, or ctx has ended; after work
// that failed it does not wait. A balancer with Config.HTTP cannot do it, since
// its proxy keeps connections of its own.
func (b *Balancer) Without(ctx context.Context, backend string, work func() error) error {
	if err := b.hold(backend); err != nil {
		return err
	}
	err := work()
	b.release(backend)
	if err != nil {
		return err
	}
	for !b.sends(backend) {
		if err := pause.For(ctx, b.cfg.Interval/4); err != nil {
			return fmt.Errorf("balancer %s: backend %s has not passed its checks again: %w", b.cfg.Name, backend, err)
		}
	}
	return nil
}

func (b *Balancer) hold(backend string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memberLocked(backend)
	if m == nil {
		return fmt.Errorf("balancer %s: no backend %q; it has %s", b.cfg.Name, backend, strings.Join(b.namesLocked(), ", "))
	}
	m.held = true
	for c, to := range b.conns {
		if to == backend {
			_ = c.Close()
		}
	}
	return nil
}

// release lets a backend in again when it has passed checks anew.
func (b *Balancer) release(backend string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.memberLocked(backend); m != nil {
		*m = member{name: backend}
	}
}

// sends tells whether the backend gets new connections.
func (b *Balancer) sends(backend string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memberLocked(backend)
	return m != nil && m.healthy && !m.held
}
