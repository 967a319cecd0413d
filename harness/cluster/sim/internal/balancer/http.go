package balancer

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

// proxy is the balancer as a reverse proxy. Its connections to backends are
// its own: a backend that closes one after an answer costs no client anything.
type proxy struct {
	handler   http.Handler
	transport *http.Transport
}

func newProxy(b *Balancer) *proxy {
	quiet := log.New(io.Discard, "", 0)
	p := &proxy{transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, _, err := b.dial(ctx)
			return c, err
		},
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}}
	reverse := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "backend"
			r.Out.Host = r.In.Host
		},
		Transport: p.transport,
		ErrorLog:  quiet,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			b.cfg.Log.Debug("balancer has no answer for a client", "balancer", b.cfg.Name, "error", err)
			HijackReset(w)
		},
	}
	p.handler = b.cfg.HTTP(reverse)
	return p
}

func (p *proxy) serve(l net.Listener) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: p.handler, Protocols: &protocols, ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0), ConnContext: countRequests}
	// Serve returns when the listener is closed; its connections are closed by
	// the balancer, which tracks them.
	_ = s.Serve(l)
}

func (p *proxy) close() { p.transport.CloseIdleConnections() }

// HijackReset resets the connection of a request.
func HijackReset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	Reset(c)
}

type requestsKey struct{}

type counter struct {
	mu sync.Mutex
	n  int
}

func countRequests(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, requestsKey{}, &counter{})
}

// Reused counts a request and tells whether its connection carried another
// before it. It must be called once a request.
func Reused(r *http.Request) bool {
	c, ok := r.Context().Value(requestsKey{}).(*counter)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n > 1
}

// tracked is a listener whose connections the balancer knows, and ends.
type tracked struct {
	net.Listener
	b *Balancer
}

func (t tracked) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tc := &trackedConn{Conn: c, b: t.b}
	if !t.b.track(tc, "") {
		return nil, net.ErrClosed
	}
	t.b.wg.Add(1)
	return tc, nil
}

type trackedConn struct {
	net.Conn
	b    *Balancer
	once sync.Once
}

// Close implements net.Conn and tells the balancer.
func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		go func() {
			// Not under the caller's locks: the balancer closes while it holds its own.
			defer c.b.wg.Done()
			c.b.mu.Lock()
			defer c.b.mu.Unlock()
			delete(c.b.conns, c)
		}()
	})
	return err
}

// SetLinger lets Reset reach the TCP connection.
func (c *trackedConn) SetLinger(sec int) error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.SetLinger(sec)
	}
	return nil
}
