// Package balancer is a real TCP proxy on loopback that behaves like a cloud
// provider's layer-4 balancer: it checks the health of each backend, gives new
// connections to healthy ones in turn, and leaves connections that exist alone.
package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config says what a balancer does. Durations are this machine's time.
type Config struct {
	Name string // for logs
	// Listen is the address to accept connections on, by default 127.0.0.1:0.
	Listen string
	// Backends names the present members; it is asked before every check round.
	Backends func() []string
	// Dial connects to a backend.
	Dial func(ctx context.Context, backend string) (net.Conn, error)
	// Check observes a backend once; nil is healthy.
	Check func(ctx context.Context, backend string) error
	// Interval between checks of a backend and Timeout of each; a backend that
	// failed Fall checks in a row gets no new connections until it passed Rise.
	Interval, Timeout time.Duration
	Fall, Rise        int
	// DialTimeout bounds the connection to a backend; a client whose backend
	// cannot be reached is reset.
	DialTimeout time.Duration
	// Redispatch is how many other backends are tried before that.
	Redispatch int
	// HTTP, if set, makes the balancer a reverse proxy that understands requests
	// instead of copying bytes, and wraps its handler.
	HTTP func(next http.Handler) http.Handler
	// Down, if set, tells whether the balancer itself is gone: then nothing
	// listens at its address and its connections are reset.
	Down func() bool
	// Changed, if set, is told when a backend's health changes.
	Changed func(backend string, healthy bool)
	Log     *slog.Logger
}

// Balancer is a running balancer.
type Balancer struct {
	cfg    Config
	addr   string
	cancel context.CancelFunc
	wg     sync.WaitGroup
	proxy  *proxy // with Config.HTTP

	mu       sync.Mutex
	listener net.Listener // nil while down
	members  []*member
	next     int
	conns    map[net.Conn]string // to the backend it leads to, or "" for a client's
	closed   bool
}

type member struct {
	name    string
	healthy bool
	good    int
	bad     int
	held    bool // by Without
}

// ErrNoBackend is the reason why a connection was reset: no backend is healthy.
var ErrNoBackend = errors.New("no healthy backend")

// Start listens and begins to check. New backends start unhealthy and need Rise
// good checks. It stops when ctx ends or Close is called.
func Start(ctx context.Context, cfg Config) (*Balancer, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("balancer %s: listen on %s: %w", cfg.Name, cfg.Listen, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &Balancer{cfg: cfg, addr: l.Addr().String(), cancel: cancel, conns: map[net.Conn]string{}}
	if cfg.HTTP != nil {
		b.proxy = newProxy(b)
	}
	b.serve(ctx, l)
	b.wg.Go(func() { b.check(ctx) })
	b.wg.Go(func() { <-ctx.Done(); b.stop() })
	if cfg.Down != nil {
		b.wg.Go(func() { b.watchDown(ctx) })
	}
	return b, nil
}

// serve takes connections from a listener.
func (b *Balancer) serve(ctx context.Context, l net.Listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		_ = l.Close()
		return
	}
	b.listener = l
	b.wg.Go(func() {
		if b.proxy != nil {
			b.proxy.serve(tracked{l, b})
			return
		}
		b.accept(ctx, l)
	})
}

// downPeriod is how often Config.Down is asked: the resolution of an outage.
const downPeriod = 2 * time.Millisecond

func (b *Balancer) watchDown(ctx context.Context) {
	t := time.NewTicker(downPeriod)
	defer t.Stop()
	down := false
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		switch now := b.cfg.Down(); {
		case now && !down:
			down = true
			b.mu.Lock()
			_ = b.listener.Close()
			for c := range b.conns {
				Reset(c)
			}
			b.mu.Unlock()
		case !now && down:
			var lc net.ListenConfig
			l, err := lc.Listen(ctx, "tcp", b.addr)
			if err != nil {
				b.cfg.Log.Warn("balancer cannot listen again yet", "balancer", b.cfg.Name, "error", err)
				continue
			}
			down = false
			b.serve(ctx, l)
		}
	}
}

// Addr is the address that clients connect to.
func (b *Balancer) Addr() string { return b.addr }

// Close stops the balancer, closes every connection and waits until nothing of
// it runs any more.
func (b *Balancer) Close() {
	b.cancel()
	b.stop()
	b.wg.Wait()
	if b.proxy != nil {
		b.proxy.close()
	}
}

func (b *Balancer) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	_ = b.listener.Close()
	for c := range b.conns {
		_ = c.Close()
	}
}

// Healthy returns the names of the backends that get new connections.
func (b *Balancer) Healthy() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, m := range b.members {
		if m.healthy && !m.held {
			out = append(out, m.name)
		}
	}
	return out
}

// Members returns the names of all backends, healthy or not.
func (b *Balancer) Members() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.namesLocked()
}

func (b *Balancer) namesLocked() []string {
	out := make([]string, len(b.members))
	for i, m := range b.members {
		out[i] = m.name
	}
	return out
}

// memberLocked is the backend of that name, or nil.
func (b *Balancer) memberLocked(name string) *member {
	if i := slices.IndexFunc(b.members, func(m *member) bool { return m.name == name }); i >= 0 {
		return b.members[i]
	}
	return nil
}

func (b *Balancer) check(ctx context.Context) {
	t := time.NewTicker(b.cfg.Interval)
	defer t.Stop()
	for {
		names := b.cfg.Backends()
		b.keep(names)
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
				defer cancel()
				err := b.cfg.Check(ctx, name)
				b.checked(name, err)
			})
		}
		wg.Wait()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// keep makes the members those that are named.
func (b *Balancer) keep(names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[string]*member{}
	for _, m := range b.members {
		known[m.name] = m
	}
	b.members = b.members[:0]
	for _, n := range names {
		m := known[n]
		if m == nil {
			m = &member{name: n}
		}
		b.members = append(b.members, m)
	}
}

func (b *Balancer) checked(name string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memberLocked(name)
	if m == nil {
		return
	}
	was := m.healthy
	if err == nil {
		m.good, m.bad = m.good+1, 0
		m.healthy = m.healthy || m.good >= b.cfg.Rise
	} else {
		m.bad, m.good = m.bad+1, 0
		m.healthy = m.healthy && m.bad < b.cfg.Fall
	}
	if m.healthy != was {
		b.cfg.Log.Debug("balancer backend changed", "balancer", b.cfg.Name, "backend", name, "healthy", m.healthy, "error", err)
		if b.cfg.Changed != nil {
			b.cfg.Changed(name, m.healthy)
		}
	}
}

// pick returns the next healthy backend.
func (b *Balancer) pick() (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.members {
		m := b.members[b.next%len(b.members)]
		b.next++
		if m.healthy && !m.held {
			return m.name, true
		}
	}
	return "", false
}

func (b *Balancer) accept(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: pause as net/http does.
			select {
			case <-time.After(5 * time.Millisecond):
				continue
			case <-ctx.Done():
				return
			}
		}
		if !b.track(c, "") {
			return
		}
		b.wg.Go(func() {
			defer b.untrack(c)
			b.forward(ctx, c)
		})
	}
}

func (b *Balancer) track(c net.Conn, backend string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	// A backend may have been taken out since it was picked.
	to := b.memberLocked(backend)
	if b.closed || to != nil && to.held {
		_ = c.Close()
		return false
	}
	b.conns[c] = backend
	return true
}

func (b *Balancer) untrack(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	_ = c.Close()
}

// dial connects to a backend and returns its name.
func (b *Balancer) dial(ctx context.Context) (net.Conn, string, error) {
	for try := 0; ; try++ {
		name, ok := b.pick()
		if !ok {
			return nil, "", ErrNoBackend
		}
		c, err := b.dialOne(ctx, name)
		if err == nil || try >= b.cfg.Redispatch {
			return c, name, err
		}
	}
}

func (b *Balancer) dialOne(ctx context.Context, name string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.DialTimeout)
	defer cancel()
	return b.cfg.Dial(ctx, name)
}

func (b *Balancer) forward(ctx context.Context, client net.Conn) {
	server, backend, err := b.dial(ctx)
	if err != nil {
		b.cfg.Log.Debug("balancer reset a client", "balancer", b.cfg.Name, "error", err)
		Reset(client)
		return
	}
	if !b.track(server, backend) {
		return
	}
	defer b.untrack(server)
	Join(client, server)
}
