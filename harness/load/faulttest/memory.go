package faulttest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// network is where a server listens.
type network interface {
	// listen listens on addr, or on an address of its choice where that is "".
	listen(addr string) (net.Listener, error)
	// reset closes the server's end of a connection so that the client sees a
	// reset.
	reset(net.Conn)
}

type loopback struct{}

func (loopback) listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	parsed, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(parsed))
}

func (loopback) reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the test that waits for the reset fails
	}
	_ = c.Close()
}

// Memory is a network in memory with one address. It works in a testing/synctest
// bubble, where a test of minutes takes no time and no other process disturbs it.
type Memory struct {
	mu       sync.Mutex
	listener *memoryListener
}

const memoryAddr = "192.0.2.1:80"

// Dial connects to the server, whatever the address; it has the signature of
// net.Dialer.DialContext. Where nobody listens it is refused, with the error that
// TCP gives (syscall.ECONNREFUSED); it blocks until it is accepted or ctx ends.
func (m *Memory) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listener
	m.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	client, server := net.Pipe()
	var reset atomic.Bool
	select {
	case l.queue <- &memoryConn{Conn: server, wasReset: &reset}:
		return &memoryConn{Conn: client, wasReset: &reset}, nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Listen listens on the network's one address, instead of whoever did before.
func (m *Memory) Listen() net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listener = &memoryListener{network: m, queue: make(chan net.Conn), closed: make(chan struct{})}
	return m.listener
}

func (m *Memory) listen(string) (net.Listener, error) { return m.Listen(), nil }

func (m *Memory) reset(c net.Conn) {
	if mc, ok := c.(*memoryConn); ok {
		mc.wasReset.Store(true)
	}
	_ = c.Close()
}

type memoryListener struct {
	network *Memory
	queue   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		if l.network.listener == l {
			l.network.listener = nil
		}
	})
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddress{} }

type memoryAddress struct{}

func (memoryAddress) Network() string { return "tcp" }
func (memoryAddress) String() string  { return memoryAddr }

// memoryConn gives the errors of a TCP connection.
type memoryConn struct {
	net.Conn
	wasReset *atomic.Bool // shared by both ends
}

func (c *memoryConn) RemoteAddr() net.Addr { return memoryAddress{} }

func (c *memoryConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) && c.wasReset.Load() {
		err = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

func (c *memoryConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		err = &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	}
	return n, err
}
