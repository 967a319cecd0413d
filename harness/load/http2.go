package load

import (
	"context"
	"crypto/tls"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
)

// http2Client sends requests with net/http over HTTP/2, and reports them as
// http1.Client does. A request that net/http sends again on another connection,
// as the protocol allows after GOAWAY, counts as one.
type http2Client struct {
	ctx       context.Context
	transport *http.Transport
	request   *http.Request
	buffers   sync.Pool
}

func newHTTP2(ctx context.Context, u *url.URL, cfg *tls.Config) *http2Client {
	var p http.Protocols
	if u.Scheme == "https" {
		p.SetHTTP2(true)
	} else {
		p.SetUnencryptedHTTP2(true)
	}
	if cfg != nil {
		cfg = cfg.Clone()
	}
	return &http2Client{
		ctx:       ctx,
		transport: &http.Transport{Protocols: &p, TLSClientConfig: cfg, DisableCompression: true},
		request:   &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{"User-Agent": {"rehearse"}}},
		buffers:   sync.Pool{New: func() any { return new([4 << 10]byte) }},
	}
}

// Do implements client.
func (c *http2Client) Do(deadline time.Time, a *http1.Answer) {
	*a = http1.Answer{Sent: time.Now()}
	ctx, cancel := context.WithDeadline(c.ctx, deadline)
	defer cancel()
	t := &h2Trace{a: a}
	a.Err = c.exchange(httptrace.WithClientTrace(ctx, t.hooks()), a, t)
	t.stop()
	a.Done = time.Now()
	if a.Err == nil {
		a.Stage = http1.StageDone
	}
}

func (c *http2Client) exchange(ctx context.Context, a *http1.Answer, t *h2Trace) error {
	resp, err := c.transport.RoundTrip(c.request.Clone(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	t.set(func() { a.Stage = http1.StageBody })
	a.Status = resp.StatusCode
	for i, name := range canaryHeaders {
		a.Header[i] = resp.Header.Get(name)
	}
	buf := c.buffers.Get().(*[4 << 10]byte)
	defer c.buffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		a.Length += int64(n)
		a.Sum = crc32.Update(a.Sum, crc32.IEEETable, buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Close implements client.
func (c *http2Client) Close() { c.transport.CloseIdleConnections() }

// h2Trace fills an answer from net/http's trace. Its hooks may be called on other
// goroutines, and even after the request has ended.
type h2Trace struct {
	mu          sync.Mutex
	a           *http1.Answer // nil once the request has ended
	dial, shake time.Time
}

func (t *h2Trace) set(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.a != nil {
		f()
	}
}

func (t *h2Trace) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.a = nil
}

func (t *h2Trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { t.set(func() { t.dial = time.Now() }) },
		ConnectDone: func(_, _ string, err error) {
			t.set(func() {
				if err == nil {
					t.a.Connect = time.Since(t.dial)
					t.a.Stage = http1.StageTLS
				}
			})
		},
		TLSHandshakeStart: func() { t.set(func() { t.shake = time.Now() }) },
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			t.set(func() { t.a.TLS = time.Since(t.shake) })
		},
		GotConn: func(i httptrace.GotConnInfo) {
			t.set(func() {
				t.a.Reused, t.a.Remote, t.a.Stage = i.Reused, i.Conn.RemoteAddr(), http1.StageWrite
				if i.Reused {
					t.a.Connect, t.a.TLS = 0, 0 // of a connection that another request opened
				}
			})
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { t.set(func() { t.a.Stage = http1.StageHeader }) },
		GotFirstResponseByte: func() { t.set(func() { t.a.FirstByte = time.Since(t.a.Sent) }) },
	}
}
