package http1

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, target string, c Config) *Client {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	c.URL = u
	cl, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func do(cl *Client) Answer {
	var a Answer
	cl.Do(time.Now().Add(5*time.Second), &a)
	return a
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Canary-Pod", "pod-1")
	fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
}

func TestKeptConnectionsAreUsedInTurn(t *testing.T) {
	var conns atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	cl := newClient(t, srv.URL+"/x?y=z", Config{KeepAlive: true, Connections: 3, Header: []string{"X-Canary-Pod"}})
	used := map[string]int{}
	want := "GET /x?y=z"
	for i := range 9 {
		a := do(cl)
		if a.Err != nil || a.Status != 200 || a.Sum != crc32.ChecksumIEEE([]byte(want)) || a.Header[0] != "pod-1" {
			t.Fatalf("answer %d: %+v", i, a)
		}
		if a.Reused != (i >= 3) || a.Reused == (a.Connect > 0) {
			t.Errorf("answer %d: Reused = %v, Connect = %v", i, a.Reused, a.Connect)
		}
		if a.FirstByte <= 0 || a.Done.Sub(a.Sent) < a.FirstByte {
			t.Errorf("answer %d: first byte after %v, done after %v", i, a.FirstByte, a.Done.Sub(a.Sent))
		}
		used[a.Remote.String()]++
	}
	if conns.Load() != 3 {
		t.Errorf("%d connections, want 3", conns.Load())
	}
	srv.CloseClientConnections()
	time.Sleep(10 * time.Millisecond)
	if a := do(cl); a.Err != nil || a.Reused {
		t.Errorf("after the server closed the idle connections: %+v", a)
	}
}

func TestSurplusConnectionsAreClosed(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer srv.Close()
	cl := newClient(t, srv.URL, Config{KeepAlive: true, Connections: 2})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { do(cl) })
	}
	for cl.open() < 20 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if n := cl.open(); n != 20 {
		t.Fatalf("%d connections after a surge of 20", n)
	}
	// Two periods later the surge is forgotten.
	cl.pool.mu.Lock()
	cl.pool.peak, cl.pool.period = [2]int{}, time.Now()
	cl.pool.mu.Unlock()
	for range 40 {
		do(cl)
	}
	if n := cl.open(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	cl.Close()
	if n := cl.open(); n != 0 {
		t.Errorf("%d connections after Close", n)
	}
}

func (c *Client) open() int {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return c.pool.open
}

func TestNewConnectionEachTime(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()
	cl := newClient(t, srv.URL, Config{})
	for range 3 {
		if a := do(cl); a.Err != nil || a.Reused || a.Connect <= 0 {
			t.Errorf("%+v", a)
		}
	}
	if n := cl.open(); n != 0 {
		t.Errorf("%d connections left open", n)
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	trusted := srv.Client().Transport.(*http.Transport).TLSClientConfig
	cl := newClient(t, srv.URL, Config{KeepAlive: true, Connections: 1, TLS: trusted})
	for i := range 3 {
		if a := do(cl); a.Err != nil || a.Reused != (i > 0) || (a.TLS > 0) != (i == 0) {
			t.Errorf("answer %d: %+v", i, a)
		}
	}
	a := do(newClient(t, srv.URL, Config{TLS: &tls.Config{}}))
	if a.Stage != StageTLS || a.Err == nil {
		t.Errorf("an unknown authority: %+v", a)
	}
}

func TestFailures(t *testing.T) {
	serve := func(answer string, wait time.Duration) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		t.Cleanup(func() { _ = l.Close(); wg.Wait() })
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer c.Close()
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, answer)
					time.Sleep(wait)
				})
			}
		})
		return "http://" + l.Addr().String()
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, c := range []struct {
		name, target string
		stage        Stage
		want         error
	}{
		{"refused", "http://" + closed.Addr().String(), StageDial, nil},
		{"name", "http://name.invalid/", StageDial, nil},
		{"empty", serve("", 0), StageHeader, io.EOF},
		{"cut in header", serve("HTTP/1.1 200 OK\r\nCont", 0), StageHeader, io.ErrUnexpectedEOF},
		{"cut in body", serve("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 0), StageBody, io.ErrUnexpectedEOF},
		{"hang", serve("", 300*time.Millisecond), StageHeader, os.ErrDeadlineExceeded},
		{"hang in body", serve("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 300*time.Millisecond), StageBody, os.ErrDeadlineExceeded},
		{"not HTTP", serve("220 smtp ready\r\n", 0), StageHeader, ErrMalformed},
	} {
		var a Answer
		newClient(t, c.target, Config{KeepAlive: true}).Do(time.Now().Add(150*time.Millisecond), &a)
		if a.Err == nil || a.Stage != c.stage || c.want != nil && !errors.Is(a.Err, c.want) {
			t.Errorf("%s: stage %d, %v; want stage %d, %v", c.name, a.Stage, a.Err, c.stage, c.want)
		}
		if took := a.Done.Sub(a.Sent); took > time.Second {
			t.Errorf("%s: took %v", c.name, took)
		}
	}
}

func TestAddrs(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	good := strings.TrimPrefix(srv.URL, "http://")
	a := do(newClient(t, "http://name.invalid/", Config{Addrs: []string{closed.Addr().String(), good}}))
	if a.Err != nil || a.Remote.String() != good {
		t.Errorf("%+v", a)
	}
	if a := do(newClient(t, "http://name.invalid/", Config{Addrs: []string{closed.Addr().String()}})); a.Err == nil {
		t.Error("the closed address answered")
	}
}

func TestKeptRequestsDoNotAllocate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf, answer := make([]byte, 1024), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Canary-Pod: a\r\n\r\nhello")
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	defer l.Close()
	cl := newClient(t, "http://"+l.Addr().String(), Config{KeepAlive: true, Connections: 1, Header: []string{"X-Canary-Pod"}})
	defer cl.Close()
	do(cl)
	var a Answer
	n := testing.AllocsPerRun(200, func() { cl.Do(time.Now().Add(time.Minute), &a) })
	if a.Err != nil || !a.Reused || a.Header[0] != "a" {
		t.Fatalf("%+v", a)
	}
	if n != 0 {
		t.Errorf("%.0f allocations a request, want none", n)
	}
}
