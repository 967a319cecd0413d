package canary

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func answering(context.Context, string) ([]string, error) { return []string{"10.96.0.1"}, nil }

func newAgent(t testing.TB, cfg DNSConfig) *DNSAgent {
	t.Helper()
	if cfg.Names == nil {
		cfg.Names = []string{"a."}
	}
	a, err := NewDNSAgent("worker", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// during lets the agent run for d and returns what it remembers.
func during(t *testing.T, a *DNSAgent, d time.Duration) []DNSResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	a.Run(ctx)
	return a.After(0).Results
}

func TestAgentResolvesEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := during(t, newAgent(t, DNSConfig{Resolver: resolverFunc(answering)}), 9500*time.Millisecond)
		if len(got) != 10 {
			t.Fatalf("%d observations in 9.5 s, want 10", len(got))
		}
		for i, r := range got {
			if r.Seq != int64(i+1) || r.T != int64(i)*int64(time.Second) || !r.OK || r.Class != "" {
				t.Errorf("observation %d: %+v", i, r)
			}
		}
	})
}

func TestAgentSaysHowItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t, DNSConfig{Names: []string{"good.", "bad."}, Resolver: resolverFunc(func(ctx context.Context, host string) ([]string, error) {
			if host == "good." {
				return answering(ctx, host)
			}
			if time.Now().Second()%10 < 5 {
				return nil, &net.DNSError{Err: "server misbehaving", Name: host}
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})})
		got := during(t, a, 10*time.Second)
		// The five of the first half answer at once; those of the second wait 2 s each,
		// and the last is cut short.
		want := []struct {
			t, d  time.Duration
			class string
			text  string
		}{
			{0, 0, "dns", "lookup bad.: server misbehaving"}, {time.Second, 0, "dns", "lookup bad.: server misbehaving"},
			{2 * time.Second, 0, "dns", "lookup bad.: server misbehaving"}, {3 * time.Second, 0, "dns", "lookup bad.: server misbehaving"},
			{4 * time.Second, 0, "dns", "lookup bad.: server misbehaving"},
			{5 * time.Second, 2 * time.Second, "timeout-response", "lookup bad.: no answer within 2s"},
			{8 * time.Second, 2 * time.Second, "timeout-response", "lookup bad.: no answer within 2s"},
		}
		if len(got) < 6 || len(got) > len(want) {
			t.Fatalf("%d observations: %+v", len(got), got)
		}
		for i, r := range got {
			w := want[i]
			if r.T != int64(w.t) || r.D != int64(w.d) || r.OK || r.Class != w.class || r.Error != w.text {
				t.Errorf("observation %d: %+v, want %+v", i, r, w)
			}
		}
	})
}

func TestAgentRemembersTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t, DNSConfig{Resolver: resolverFunc(answering), Keep: 5})
		during(t, a, 11500*time.Millisecond) // 12 observations
		for _, tc := range []struct{ after, first, n int64 }{{0, 8, 5}, {7, 8, 5}, {10, 11, 2}, {12, 0, 0}, {99, 0, 0}, {-3, 8, 5}} {
			got := a.After(tc.after)
			if int64(len(got.Results)) != tc.n || tc.n > 0 && got.Results[0].Seq != tc.first {
				t.Errorf("after %d: %+v, want %d from %d", tc.after, got.Results, tc.n, tc.first)
			}
			if got.Now != int64(11500*time.Millisecond) || got.Node != "worker" || got.Boot != a.boot {
				t.Errorf("answer %+v", got)
			}
		}
	})
}

func TestAgentTells(t *testing.T) {
	a := newAgent(t, DNSConfig{Resolver: resolverFunc(answering)})
	a.keep(a.observe(t.Context()))
	for path, code := range map[string]int{
		"/dns": http.StatusOK, "/dns?after=1": http.StatusOK, "/dns?after=x": http.StatusBadRequest, "/": http.StatusNotFound, "/readyz": http.StatusOK, "/healthz": http.StatusOK,
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != code {
			t.Errorf("%s: %d, want %d", path, w.Code, code)
		}
		if path == "/dns" {
			var got DNSAnswer
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Results) != 1 || !got.Results[0].OK {
				t.Errorf("%v %s", err, w.Body)
			}
		}
	}
}

func TestAgentNeedsNames(t *testing.T) {
	for want, cfg := range map[string]DNSConfig{
		"DNS agent: no name to resolve; give at least one":                          {},
		`DNS agent: one of the names ["a" ""] is empty`:                             {Names: []string{"a", ""}},
		"DNS agent: every -1s, timeout 0s and 0 observations: none may be negative": {Names: []string{"a"}, Every: -time.Second},
	} {
		if _, err := NewDNSAgent("worker", cfg); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// BenchmarkAgentObserves is what an agent costs each second beside the resolver's
// own work: an answer over UDP on loopback by the resolver that the image has.
func BenchmarkAgentObserves(b *testing.B) {
	a := newAgent(b, DNSConfig{Resolver: loopbackDNS(b), Names: []string{"kubernetes.default.svc.cluster.local."}})
	b.ReportAllocs()
	for b.Loop() {
		r := a.observe(b.Context())
		if !r.OK {
			b.Fatal(r.Error)
		}
		a.keep(r)
	}
}

// BenchmarkAgentTells is one answer to a poll every 2 s.
func BenchmarkAgentTells(b *testing.B) {
	a := newAgent(b, DNSConfig{Resolver: resolverFunc(answering)})
	for range 900 {
		a.keep(a.observe(b.Context()))
	}
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/dns?after=898", nil)
	b.ReportAllocs()
	for b.Loop() {
		a.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// loopbackDNS is Go's resolver before a server that answers any question for an
// IPv4 address, and none for IPv6.
func loopbackDNS(b *testing.B) *net.Resolver {
	conn, err := new(net.ListenConfig).ListenPacket(b.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			q := 12
			for q < n && buf[q] != 0 {
				q += int(buf[q]) + 1
			}
			kind := buf[q+2]
			out := append([]byte(nil), buf[:q+5]...)
			// RFC 1035, 4.1.1: a response, recursion available, one question.
			out[2], out[3], out[7], out[9], out[10], out[11] = 0x81, 0x80, 0, 0, 0, 0
			if kind == 1 {
				out[7] = 1
				out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 96, 0, 1)
			}
			if _, err := conn.WriteTo(out, from); err != nil {
				return
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, conn.LocalAddr().String())
	}}
}
