// Package http1 is an HTTP/1.1 client (RFC 9112) for one request sent over and
// over: the load engine's fast path. A request is written, and its answer read and
// checked, on the caller's goroutine and into the connection's own buffer, so
// that it costs hardly more than its system calls. net/http needs two further
// goroutines a connection and some forty allocations a request.
//
// It does less than net/http, on purpose. It sends GET without a body. It
// follows no redirect, keeps no cookie, asks for no compression and uses no
// proxy. It never repeats a request: an answer that did not come is the very
// thing to be measured. It refuses what it need not understand (folded header
// lines, bare line feeds in chunked bodies, headers above 64 KiB) instead of
// guessing; what it accepts, net/http accepts with the same status and body,
// which a fuzz test holds.
package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Config describes a Client.
type Config struct {
	// URL is the http or https URL to get.
	URL *url.URL
	// KeepAlive keeps connections; without it each request opens one and says
	// "Connection: close".
	KeepAlive bool
	// Connections is how many kept connections are used in turn before one is
	// used again; more are opened while more requests are under way.
	Connections int
	// TLS configures https; nil stands for the zero Config. It is not changed.
	TLS *tls.Config
	// Addrs, when not empty, are the HOST:PORT addresses to connect to, tried in
	// order, instead of what the URL's host resolves to at each connection.
	Addrs []string
	// Dial connects, as net.Dialer.DialContext does; nil stands for that.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Header names response headers whose values Answer.Header shall hold, at
	// most MaxHeader, in canonical spelling.
	Header []string
}

// MaxHeader is the greatest length of Config.Header.
const MaxHeader = 4

// Stage is how far a request came.
type Stage uint8

// Stages, in order.
const (
	StageDial   Stage = iota // resolve and connect
	StageTLS                 // handshake
	StageWrite               // write the request
	StageHeader              // wait for and read the answer's header
	StageBody                // read the body
	StageDone                // the whole answer was read
)

// Answer is what became of one request. It holds no memory of the connection.
type Answer struct {
	// Err is nil when a whole answer was read, whatever its status. Otherwise
	// Stage says where the request failed.
	Err   error
	Stage Stage

	Status int
	Length int64  // of the body, in bytes
	Sum    uint32 // CRC-32 (IEEE) of the body
	// Header holds the last value of each header in Config.Header, or "".
	Header [MaxHeader]string

	Reused bool     // the request went out on a connection that had served one before
	Remote net.Addr // nil when not connected

	Sent      time.Time     // when Do was called
	Done      time.Time     // when the last byte was read, or the request failed
	Connect   time.Duration // resolve and connect; 0 when Reused
	TLS       time.Duration // handshake; 0 when Reused or plain
	FirstByte time.Duration // from Sent to the answer's first byte; 0 when none came
}

// ErrMalformed is wrapped by the error of an answer that is not HTTP/1.1 as
// this package reads it.
var ErrMalformed = errors.New("malformed answer")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Client sends one request over and over. Its methods are safe for concurrent
// use.
type Client struct {
	ctx     context.Context // of a background service, not of a call
	cfg     Config
	request []byte
	addr    string
	tls     *tls.Config // nil for http
	names   []string    // Config.Header
	strings interner
	pool    pool
}

// New returns a client for c. Connections are opened under ctx: when it ends, no
// further request succeeds. It does not connect yet; the error is of a scheme
// that is not http or https, or of too many headers asked for.
func New(ctx context.Context, c Config) (*Client, error) {
	if c.URL.Scheme != "http" && c.URL.Scheme != "https" {
		return nil, fmt.Errorf("scheme %q; it must be http or https", c.URL.Scheme)
	}
	if len(c.Header) > MaxHeader {
		return nil, fmt.Errorf("%d response headers asked for; at most %d are possible", len(c.Header), MaxHeader)
	}
	port := c.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[c.URL.Scheme]
	}
	cl := &Client{ctx: ctx, cfg: c, addr: net.JoinHostPort(c.URL.Hostname(), port), names: slices.Clone(c.Header)}
	if c.URL.Scheme == "https" {
		cl.tls = &tls.Config{}
		if c.TLS != nil {
			cl.tls = c.TLS.Clone()
		}
		if cl.tls.ServerName == "" {
			cl.tls.ServerName = c.URL.Hostname()
		}
		cl.tls.NextProtos = []string{"http/1.1"}
	}
	connection := ""
	if !c.KeepAlive {
		connection = "Connection: close\r\n"
	}
	cl.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: rehearse\r\n%s\r\n", c.URL.RequestURI(), c.URL.Host, connection)
	cl.pool.least = max(1, c.Connections)
	return cl, nil
}

// Do sends the request and reads the whole answer into a, which it overwrites.
// It returns at deadline at the latest, give or take the scheduler.
func (c *Client) Do(deadline time.Time, a *Answer) {
	*a = Answer{Sent: time.Now()}
	conn := c.take(a)
	if conn == nil {
		conn = c.connect(deadline, a)
	}
	if conn == nil {
		return
	}
	a.Remote = conn.remote
	keep := conn.exchange(c, deadline, a)
	switch {
	case keep && c.cfg.KeepAlive:
		c.pool.put(conn)
	case a.Err == nil && !c.cfg.KeepAlive:
		conn.awaitClose()
		c.pool.drop(conn)
	default:
		c.pool.drop(conn)
	}
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.pool.close() }

// restless is the rest of a kept connection up to which it is taken to be open
// without asking the system. A closed loop stays below it, a schedule of requests
// above.
const restless = time.Millisecond

// take returns a kept connection that is still open, or nil.
func (c *Client) take(a *Answer) *conn {
	if !c.cfg.KeepAlive {
		c.pool.enter()
		return nil
	}
	for {
		conn := c.pool.take()
		if conn == nil {
			return nil
		}
		// A connection that rested for less than restless has not been looked
		// at by anybody since: the look costs as much as the request.
		if a.Sent.Sub(conn.used) < restless || conn.alive() {
			a.Reused = true
			return conn
		}
		// Closed by the server while idle: every client notices that before
		// it sends, and opens another.
		c.pool.drop(conn)
	}
}

// connect opens a connection; it returns nil and sets a.Err where it cannot.
func (c *Client) connect(deadline time.Time, a *Answer) *conn {
	fail := func(stage Stage, err error) *conn {
		a.Stage, a.Err, a.Done = stage, err, time.Now()
		c.pool.leave()
		return nil
	}
	nc, err := c.dial(deadline)
	if err != nil {
		return fail(StageDial, err)
	}
	dialed := time.Now()
	a.Connect = dialed.Sub(a.Sent)
	a.Remote = nc.RemoteAddr()
	conn := newConn(nc)
	if c.tls != nil {
		if err := nc.SetDeadline(deadline); err != nil {
			_ = nc.Close() // the error that counts is reported
			return fail(StageTLS, err)
		}
		tc := tls.Client(nc, c.tls)
		if err := tc.HandshakeContext(c.ctx); err != nil {
			_ = nc.Close()
			return fail(StageTLS, err)
		}
		conn.rw = tc
		a.TLS = time.Since(dialed)
	}
	return conn
}

func (c *Client) dial(deadline time.Time) (net.Conn, error) {
	if len(c.cfg.Addrs) == 0 {
		return c.dialAddr(deadline, c.addr)
	}
	var first error
	for i, addr := range c.cfg.Addrs {
		// Each address gets its share of the time left, as with net.Dialer.
		share := time.Until(deadline) / time.Duration(len(c.cfg.Addrs)-i)
		nc, err := c.dialAddr(time.Now().Add(share), addr)
		if err == nil {
			return nc, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (c *Client) dialAddr(deadline time.Time, addr string) (net.Conn, error) {
	if c.cfg.Dial == nil {
		d := net.Dialer{Deadline: deadline}
		return d.DialContext(c.ctx, "tcp", addr)
	}
	ctx, cancel := context.WithDeadline(c.ctx, deadline)
	defer cancel()
	return c.cfg.Dial(ctx, "tcp", addr)
}

// interner gives equal byte strings the same string without an allocation: the
// headers of a service's answers take few values.
type interner struct {
	mu sync.RWMutex
	m  map[string]string
}

const maxInterned = 4096

func (s *interner) get(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	s.mu.RLock()
	v, ok := s.m[string(b)]
	s.mu.RUnlock()
	if ok {
		return v
	}
	v = string(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]string{}
	}
	if len(s.m) < maxInterned {
		s.m[v] = v
	}
	return v
}
