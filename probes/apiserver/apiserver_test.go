package apiserver

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/probes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const namespaceDefault = `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"default"}}`

// fakeAPI answers as an API server does; its fields replace single answers.
type fakeAPI struct {
	readyzStatus, objectStatus int
	readyz, object             string
	before                     func(w http.ResponseWriter, r *http.Request) bool // true where it answered

	conns atomic.Int32
	seen  atomic.Value // string: the last Authorization header
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.seen.Store(r.Header.Get("Authorization"))
	if f.before != nil && f.before(w, r) {
		return
	}
	status, body := f.readyzStatus, f.readyz
	if r.URL.Path == "/api/v1/namespaces/default" {
		status, body = f.objectStatus, f.object
	} else if r.URL.Path != "/readyz" {
		status, body = http.StatusNotFound, "no such path in the fake: "+r.URL.Path
	}
	w.WriteHeader(status)
	io.WriteString(w, body) //nolint:errcheck // the client may be gone
}

func healthy() *fakeAPI {
	return &fakeAPI{readyzStatus: 200, objectStatus: 200, readyz: "ok", object: namespaceDefault}
}

// serve starts f with TLS and HTTP/2, as a real API server, and returns the two
// probes of it.
func serve(t *testing.T, f *fakeAPI) (fresh, reused *Probe) {
	t.Helper()
	srv := httptest.NewUnstartedServer(f)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = nil
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.conns.Add(1)
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	return both(t, &rest.Config{Host: srv.URL, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{CAData: ca}})
}

func both(t *testing.T, config *rest.Config) (fresh, reused *Probe) {
	t.Helper()
	ps, err := New([]Server{{Name: Common, Config: config}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range ps {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return ps[0], ps[1]
}

func TestNames(t *testing.T) {
	config := &rest.Config{Host: "127.0.0.1:6443"}
	ps, err := New([]Server{{Common, config}, {"cp-1", config}, {"cp-2", config}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range ps {
		names = append(names, p.Name())
	}
	want := "api-new api-reused api-cp-1-new api-cp-1-reused api-cp-2-new api-cp-2-reused"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("names %s, want %s", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		server Server
		want   string
	}{
		{Server{Name: "cp-1"}, `API server "cp-1": no client configuration to reach it with`},
		{Server{Name: Common, Config: &rest.Config{Host: "127.0.0.1", TLSClientConfig: rest.TLSClientConfig{CertData: []byte("x"), KeyData: []byte("y")}}},
			`probe api-reused: TLS configuration: tls: failed to find any PEM data in certificate input`},
	}
	for _, tt := range tests {
		_, err := New([]Server{tt.server})
		if err == nil || err.Error() != tt.want {
			t.Errorf("New = %v, want %s", err, tt.want)
		}
	}
}

func TestConnections(t *testing.T) {
	f := healthy()
	fresh, reused := serve(t, f)
	for range 3 {
		if err := fresh.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.conns.Load(); got != 3 {
		t.Errorf("3 observations on new connections opened %d, want 3", got)
	}
	f.conns.Store(0)
	for range 3 {
		if err := reused.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.conns.Load(); got != 1 {
		t.Errorf("3 observations on a reused connection opened %d, want 1", got)
	}
	if got := f.seen.Load(); got != "Bearer secret" {
		t.Errorf("Authorization %q, want the configuration's token", got)
	}
}

func TestPlainHTTP(t *testing.T) {
	srv := httptest.NewServer(healthy())
	defer srv.Close()
	fresh, reused := both(t, &rest.Config{Host: srv.URL})
	for _, p := range []*Probe{fresh, reused} {
		if err := p.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", p.Name(), err)
		}
	}
}

func TestAnswersThatAreNotFine(t *testing.T) {
	tests := []struct {
		name        string
		change      func(*fakeAPI)
		class, want string
	}{
		{
			name: "not ready, with the failing checks named",
			change: func(f *fakeAPI) {
				f.readyzStatus = 500
				f.readyz = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n"
			},
			class: "http-5xx",
			want:  "GET /readyz answered 500 Internal Server Error: failing etcd, poststarthook/rbac/bootstrap-roles",
		},
		{
			name: "forbidden, as right after a restart",
			change: func(f *fakeAPI) {
				f.readyzStatus = 403
				f.readyz = `{"kind":"Status","status":"Failure","message":"forbidden: User \"kubernetes-admin\" cannot get path \"/readyz\"","reason":"Forbidden","code":403}`
			},
			class: "http-4xx",
			want:  `GET /readyz answered 403 Forbidden: forbidden: User "kubernetes-admin" cannot get path "/readyz"`,
		},
		{
			name:   "ready and yet unable to read",
			change: func(f *fakeAPI) { f.objectStatus, f.object = 503, "etcdserver: leader changed\n" },
			class:  "http-5xx",
			want:   "GET /api/v1/namespaces/default answered 503 Service Unavailable: etcdserver: leader changed",
		},
		{
			name:   "a balancer without servers",
			change: func(f *fakeAPI) { f.readyzStatus, f.readyz = 502, "" },
			class:  "http-5xx",
			want:   "GET /readyz answered 502 Bad Gateway",
		},
		{
			name: "a redirect is not followed",
			change: func(f *fakeAPI) {
				f.before = func(w http.ResponseWriter, r *http.Request) bool {
					http.Redirect(w, r, "/login", http.StatusFound)
					return true
				}
			},
			class: "http-4xx",
			want:  `GET /readyz answered 302 Found: <a href="/login">Found</a>.`,
		},
		{
			name:   "not JSON",
			change: func(f *fakeAPI) { f.object = "<html>" },
			class:  "wrong-body",
			want:   "GET /api/v1/namespaces/default answered 200 with a body that is not JSON: invalid character '<' looking for beginning of value",
		},
		{
			name:   "another object",
			change: func(f *fakeAPI) { f.object = `{"kind":"Status"}` },
			class:  "wrong-body",
			want:   `GET /api/v1/namespaces/default answered 200 with kind "Status" name "", want the Namespace default`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := healthy()
			tt.change(f)
			fresh, reused := serve(t, f)
			for _, p := range []*Probe{fresh, reused} {
				err := p.Check(t.Context())
				if err == nil || err.Error() != tt.want {
					t.Errorf("%s: %v\nwant %s", p.Name(), err, tt.want)
				}
				if got := probes.Classify(err).String(); got != tt.class {
					t.Errorf("%s: class %s, want %s", p.Name(), got, tt.class)
				}
			}
		})
	}
}

func TestTransportFailures(t *testing.T) {
	closed := func(t *testing.T) string {
		l := listen(t)
		l.Close()
		return l.Addr().String()
	}
	// accept hands every connection to serve, in turn.
	accept := func(serve func(net.Conn)) func(t *testing.T) string {
		return func(t *testing.T) string {
			l := listen(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					serve(c)
				}
			}()
			t.Cleanup(func() { l.Close(); <-done })
			return l.Addr().String()
		}
	}
	var held []net.Conn
	hold := func(c net.Conn) { held = append(held, c) }
	t.Cleanup(func() {
		for _, c := range held {
			c.Close()
		}
	})
	readThen := func(then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			buf := make([]byte, 4096)
			if _, err := c.Read(buf); err == nil {
				then(c)
			}
		}
	}
	tests := []struct {
		name        string
		scheme      string
		address     func(t *testing.T) string
		timeout     time.Duration
		class, want string
	}{
		{"nothing listens", "https://", closed, time.Minute, "refused",
			"GET /readyz: dial tcp ADDRESS: connect: connection refused"},
		{"closed without an answer", "http://", accept(readThen(func(c net.Conn) { c.Close() })), time.Minute, "reset",
			"GET /readyz: EOF"},
		{"hangs in the handshake", "https://", accept(hold), 300 * time.Millisecond, "timeout-response",
			"GET /readyz: context deadline exceeded"},
		{"hangs after the request", "http://", accept(hold), 300 * time.Millisecond, "timeout-response",
			"GET /readyz: context deadline exceeded"},
		{"answer cut short", "http://", accept(readThen(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok") //nolint:errcheck // the test fails otherwise
			c.Close()
		})), time.Minute, "truncated", "GET /readyz: reading the answer: unexpected EOF"},
		{"speaks no TLS", "https://", accept(readThen(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") //nolint:errcheck // the test fails otherwise
			c.Close()
		})), time.Minute, "tls", "GET /readyz: http: server gave HTTP response to HTTPS client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := tt.address(t)
			fresh, _ := both(t, &rest.Config{Host: tt.scheme + address, TLSClientConfig: rest.TLSClientConfig{Insecure: tt.scheme == "https://"}})
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			err := fresh.Check(ctx)
			if want := strings.ReplaceAll(tt.want, "ADDRESS", address); err == nil || err.Error() != want {
				t.Errorf("Check = %v\nwant %s", err, want)
			}
			if got := probes.Classify(err).String(); got != tt.class {
				t.Errorf("class %s, want %s", got, tt.class)
			}
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	config := &rest.Config{Host: "http://10.0.0.1:6443", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		httptraceConnectStart(ctx)
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}}
	fresh, _ := both(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := fresh.Check(ctx)
	if got := probes.Classify(err).String(); got != "timeout-connect" {
		t.Errorf("class %s of %v, want timeout-connect", got, err)
	}
}

func TestUnknownAuthority(t *testing.T) {
	srv := httptest.NewUnstartedServer(healthy())
	srv.Config.ErrorLog = discardLog()
	srv.StartTLS()
	defer srv.Close()
	fresh, _ := both(t, &rest.Config{Host: srv.URL})
	err := fresh.Check(t.Context())
	want := "GET /readyz: tls: failed to verify certificate: x509: certificate signed by unknown authority"
	if err == nil || err.Error() != want {
		t.Errorf("Check = %v, want %s", err, want)
	}
	if got := probes.Classify(err).String(); got != "tls" {
		t.Errorf("class %s, want tls", got)
	}
}

func TestReusedConnectionRecovers(t *testing.T) {
	f := healthy()
	var broken atomic.Bool
	f.before = func(http.ResponseWriter, *http.Request) bool {
		if broken.Load() {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	_, reused := serve(t, f)
	for i, want := range []string{"ok", "reset", "ok"} {
		broken.Store(want != "ok")
		err := reused.Check(t.Context())
		if got := probes.Classify(err).String(); got != want {
			t.Errorf("observation %d: class %s (%v), want %s", i, got, err, want)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(fmt.Errorf("listen on loopback: %w", err))
	}
	return l
}
