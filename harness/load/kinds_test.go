package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// service answers like the canary.
func service(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(canary.HeaderPod, "pod-"+r.Proto)
		w.Header().Set(canary.HeaderSum, "3610a686")
		_, _ = io.WriteString(w, body)
	}
}

func TestHTTP2(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			var conns atomic.Int64
			srv := httptest.NewUnstartedServer(service("hello"))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			}
			srv.Config.Protocols = new(http.Protocols)
			srv.Config.Protocols.SetUnencryptedHTTP2(true)
			srv.Config.Protocols.SetHTTP2(true)
			var cfg *tls.Config
			if scheme == "https" {
				srv.EnableHTTP2 = true
				srv.StartTLS()
				cfg = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				cfg.NextProtos = nil
			} else {
				srv.Start()
			}
			defer srv.Close()
			lane := Lane{Name: "http2", Kind: HTTP2, Target: srv.URL, Rate: 50, Timeout: 20 * time.Second, Canary: true, TLS: cfg}
			if err := Probe(t.Context(), lane); err != nil {
				t.Fatal(err)
			}
			conns.Store(0)
			lane.Name = "h2"
			r := startLanes(t, lane)
			r.sleepUntil(1500 * time.Millisecond)
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			m := r.lanes["h2"]
			sum := m.counts(t)
			if sum[record.OK]+sum[record.Unsent] != total(sum) || sum[record.OK] == 0 {
				t.Errorf("outcomes %v, %+v", sum, m.requests)
			}
			// Requests that fall due while the first connection is being opened
			// may open one too; net/http closes those again.
			if n := conns.Load(); n > 20 {
				t.Errorf("%d connections for %d requests", n, sum[record.OK])
			}
		})
	}
}

func TestHTTP2Failures(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "hello")
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	for path, want := range map[string]string{
		"/hang": " accepts the connection, but does not answer in time (timeout-response: context deadline exceeded)",
		"/cut":  " closes the connection without an answer (reset: stream error: stream ID 1; INTERNAL_ERROR; received from peer)",
	} {
		err := Probe(t.Context(), Lane{Name: "h2", Kind: HTTP2, Target: srv.URL + path, Rate: 1, Timeout: 200 * time.Millisecond})
		if want := "lane h2: " + srv.URL + path + want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestProbeSaysWhy(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/404":
			http.NotFound(w, r)
		case "/cut":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "hello")
		case "/wrong":
			service("hullo")(w, r)
		case "/foreign":
			_, _ = io.WriteString(w, "welcome to nginx")
		default:
			service("hello")(w, r)
		}
	}))
	defer srv.Close()
	for _, c := range []struct{ target, want string }{
		{srv.URL + "/", ""},
		{srv.URL + "/404", "%s answers with another status than expected (http-4xx: status 404 instead of 200 to 299)"},
		{srv.URL + "/cut", "%s sends a body that is cut short (truncated: unexpected EOF)"},
		{srv.URL + "/wrong", "%s sends another body than expected (wrong-body: the body's checksum is "},
		{srv.URL + "/foreign", "%s sends another body than expected (wrong-body: the answer has no X-Canary-Sum header: it is not the canary's)"},
		{"http://" + closed.Addr().String() + "/", "%s refuses the connection; is anything listening there? (refused: dial tcp "},
		{"http://no-such-name.invalid/", "%s has a name that does not resolve (dns: "},
		{strings.Replace(srv.URL, "http:", "https:", 1), "%s fails the TLS handshake (tls: "},
	} {
		for _, kind := range []Kind{New, Reused} {
			err := Probe(t.Context(), Lane{Name: "l", Kind: kind, Target: c.target, Rate: 1, Timeout: 5 * time.Second, Canary: true})
			want := c.want
			if want != "" {
				want = "lane l: " + fmt.Sprintf(want, c.target)
			}
			if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		}
	}
}

// streamServer writes a line every 100 ms, and breaks the stream when told.
func streamServer(t *testing.T, breakIt <-chan struct{}) *faulttest.Memory {
	var m faulttest.Memory
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(canary.HeaderPod, "pod-1")
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = fmt.Fprintln(w, "tick")
			w.(http.Flusher).Flush()
			select {
			case <-tick.C:
			case <-breakIt:
				panic(http.ErrAbortHandler)
			case <-r.Context().Done():
				return
			}
		}
	})}
	l := m.Listen()
	go func() { _ = srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = srv.Close() })
	return &m
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breakIt := make(chan struct{})
		m := streamServer(t, breakIt)
		lane := Lane{Name: "stream", Kind: Stream, Target: "http://192.0.2.1/", Rate: 200, Timeout: 2 * time.Second, Canary: true, Dial: m.Dial}
		if err := Probe(t.Context(), lane); err != nil {
			t.Fatal(err)
		}
		r := startLanes(t, lane)
		r.sleepUntil(1050 * time.Millisecond)
		breakIt <- struct{}{}
		r.sleepUntil(2050 * time.Millisecond)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		got := r.lanes["stream"]
		sum := got.counts(t)
		if failed := total(sum) - sum[record.OK]; failed != 1 || total(sum) != 21 {
			t.Errorf("outcomes %v; a break must fail one slot", sum)
		}
		if n := strings.Count(r.events.String(), `"kind":"stream-broken","subject":"lane/stream"`); n != 1 {
			t.Errorf("%d breaks in the timeline:\n%s", n, r.events)
		}
		if !strings.Contains(r.events.String(), `"pod":"pod-1"`) {
			t.Error("the timeline does not say whose stream broke")
		}
		var conns uint64
		for i := range got.windows {
			conns += got.windows[i].NewConns
		}
		if conns != 2 {
			t.Errorf("%d streams were opened, want 2", conns)
		}
	})
}

func TestStreamOfTheCanary(t *testing.T) {
	for _, c := range []struct{ target, want string }{
		{"http://192.0.2.1", "http://192.0.2.1/stream"},
		{"http://192.0.2.1:8080/", "http://192.0.2.1:8080/stream"},
		{"http://192.0.2.1/ticker", "http://192.0.2.1/ticker"},
	} {
		got := Lane{Name: "s", Kind: Stream, Target: c.target, Rate: 200, Canary: true}.Record()
		if got.Target != c.want || got.Rate != DefaultStreamRate {
			t.Errorf("%s: target %s at %v/s, want %s at %v/s", c.target, got.Target, got.Rate, c.want, DefaultStreamRate)
		}
	}
	if got := (Lane{Name: "s", Kind: Stream, Target: "http://192.0.2.1/", Rate: 50}).Record(); got.Target != "http://192.0.2.1/" || got.Rate != 50 {
		t.Errorf("a stream that is not the canary's was changed: %+v", got)
	}
}

func TestSilentStreamTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, dial := startInMemory(t, faulttest.Fault{Kind: faulttest.BlackHole, From: 0, To: time.Hour})
		lane := Lane{Name: "stream", Kind: Stream, Target: srv.URL(), Rate: DefaultStreamRate, Timeout: time.Second, Dial: dial}
		r := startLanes(t, lane)
		srv.Arm(r.clock.Start())
		r.sleepUntil(3 * time.Second)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		sum := r.lanes["stream"].counts(t)
		if sum[record.TimeoutResponse] != total(sum) || total(sum) < 29 {
			t.Errorf("outcomes %v", sum)
		}
	})
}

func TestStreamThatIsNotServed(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	lane := Lane{Name: "stream", Kind: Stream, Target: "http://" + closed.Addr().String() + "/", Rate: 20, Timeout: 20 * time.Second}
	if err := Probe(t.Context(), lane); err == nil || !strings.Contains(err.Error(), "(refused: ") {
		t.Errorf("Probe: %v", err)
	}
	r := startLanes(t, lane)
	r.sleepUntil(time.Second)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	sum := r.lanes["stream"].counts(t)
	if sum[record.Refused]+sum[record.Unsent] != total(sum) || sum[record.Refused] == 0 {
		t.Errorf("outcomes %v", sum)
	}
	for _, status := range []int{404, 503} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		lane.Target = srv.URL
		if err := Probe(t.Context(), lane); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("status %d instead of 200 to 299", status)) {
			t.Errorf("Probe: %v", err)
		}
		srv.Close()
	}
}

func TestInterruptEndsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, dial := startInMemory(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		m := &memory{lane: record.Lane{Name: "l", Rate: 100}}
		r := startWith(ctx, t, Lane{Name: "l", Kind: Reused, Target: srv.URL(), Rate: 100, Timeout: time.Second, Dial: dial}, m)
		r.sleepUntil(500 * time.Millisecond)
		cancel(errors.New("interrupt"))
		r.sleepUntil(900 * time.Millisecond)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		sum := m.counts(t)
		if total(sum) < 50 || total(sum) > 53 || sum[record.OK] != total(sum) {
			t.Errorf("outcomes %v after half a second at 100/s", sum)
		}
	})
}
