package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a server that says its name, and its health.
type backend struct {
	*httptest.Server
	healthy atomic.Bool
}

type farm struct {
	mu       sync.Mutex
	backends map[string]*backend
	names    []string
}

func newFarm(t *testing.T, names ...string) *farm {
	f := &farm{backends: map[string]*backend{}, names: names}
	for _, n := range names {
		b := &backend{}
		b.healthy.Store(true)
		b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, n) }))
		t.Cleanup(b.Close)
		f.backends[n] = b
	}
	return f
}

func (f *farm) config() Config {
	return Config{
		Name: "test",
		Backends: func() []string {
			f.mu.Lock()
			defer f.mu.Unlock()
			return slices.Clone(f.names)
		},
		Dial: func(ctx context.Context, name string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", f.backends[name].Listener.Addr().String())
		},
		Check: func(_ context.Context, name string) error {
			if !f.backends[name].healthy.Load() {
				return errors.New("sick")
			}
			return nil
		},
		Interval: 10 * time.Millisecond, Timeout: time.Second, Fall: 3, Rise: 2, DialTimeout: time.Second,
	}
}

func start(t *testing.T, cfg Config) *Balancer {
	t.Helper()
	b, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

// ask makes a request on a connection of its own.
func ask(b *Balancer) (string, error) {
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: 5 * time.Second}).Get("http://" + b.Addr() + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestConnectionsGoInTurnToHealthyBackends(t *testing.T) {
	f := newFarm(t, "a", "b", "c")
	b := start(t, f.config())
	await(t, "all backends are healthy", func() bool { return len(b.Healthy()) == 3 })
	count := map[string]int{}
	for range 9 {
		got, err := ask(b)
		if err != nil {
			t.Fatal(err)
		}
		count[got]++
	}
	if count["a"] != 3 || count["b"] != 3 || count["c"] != 3 {
		t.Errorf("nine connections went %v, want three each", count)
	}
	f.backends["b"].healthy.Store(false)
	await(t, "b is out", func() bool { return len(b.Healthy()) == 2 })
	for range 6 {
		if got, err := ask(b); err != nil || got == "b" {
			t.Errorf("got %q, %v from a balancer that knows that b is sick", got, err)
		}
	}
}

func TestHealthNeedsTwoGoodAndThreeBadChecks(t *testing.T) {
	b := &Balancer{cfg: Config{Fall: 3, Rise: 2, Log: quietLog()}}
	b.keep([]string{"a"})
	var states []string
	for _, good := range []bool{true, true, false, false, true, false, false, false, true, true} {
		var err error
		if !good {
			err = errors.New("sick")
		}
		b.checked("a", err)
		states = append(states, strings.Join(b.Healthy(), ""))
	}
	want := []string{"", "a", "a", "a", "a", "a", "a", "", "", "a"}
	if !slices.Equal(states, want) {
		t.Errorf("healthy after each check: %q, want %q", states, want)
	}
}

func TestClientIsResetWhenNothingIsHealthy(t *testing.T) {
	f := newFarm(t, "a")
	f.backends["a"].healthy.Store(false)
	b := start(t, f.config())
	_, err := ask(b)
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("a request to a balancer without backends: %v, want a reset", err)
	}
}

func TestRemovedBackendKeepsItsConnections(t *testing.T) {
	f := newFarm(t, "a")
	b := start(t, f.config())
	await(t, "a is healthy", func() bool { return len(b.Healthy()) == 1 })
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	get := func() error {
		resp, err := (&http.Client{Transport: tr}).Get("http://" + b.Addr())
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.names = nil
	f.mu.Unlock()
	await(t, "a is removed", func() bool { return len(b.Healthy()) == 0 })
	if err := get(); err != nil {
		t.Errorf("the kept connection to a removed backend: %v", err)
	}
	if _, err := ask(b); err == nil {
		t.Error("a new connection found a backend that was removed")
	}
}

func TestRedispatch(t *testing.T) {
	f := newFarm(t, "a", "b")
	cfg := f.config()
	dial := cfg.Dial
	cfg.Dial = func(ctx context.Context, name string) (net.Conn, error) {
		if name == "a" {
			return nil, syscall.ECONNREFUSED
		}
		return dial(ctx, name)
	}
	cfg.Redispatch = 1
	b := start(t, cfg)
	await(t, "both are healthy", func() bool { return len(b.Healthy()) == 2 })
	for range 4 {
		if got, err := ask(b); err != nil || got != "b" {
			t.Errorf("got %q, %v; want b", got, err)
		}
	}
}

func TestDownRefusesAndComesBack(t *testing.T) {
	for _, mode := range []string{"tcp", "http"} {
		t.Run(mode, func(t *testing.T) {
			f := newFarm(t, "a")
			var down atomic.Bool
			cfg := f.config()
			cfg.Down = down.Load
			if mode == "http" {
				cfg.HTTP = func(next http.Handler) http.Handler { return next }
			}
			b := start(t, cfg)
			await(t, "it serves", func() bool { _, err := ask(b); return err == nil })
			down.Store(true)
			await(t, "it refuses", func() bool { _, err := ask(b); return errors.Is(err, syscall.ECONNREFUSED) })
			down.Store(false)
			await(t, "it serves again", func() bool { _, err := ask(b); return err == nil })
		})
	}
}

func TestReusedTellsTheFirstRequestFromTheOthers(t *testing.T) {
	f := newFarm(t, "a")
	cfg := f.config()
	var mu sync.Mutex
	var seen []bool
	cfg.HTTP = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen = append(seen, Reused(r))
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}
	b := start(t, cfg)
	await(t, "a is healthy", func() bool { return len(b.Healthy()) == 1 })
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	for range 3 {
		resp, err := (&http.Client{Transport: tr}).Get("http://" + b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []bool{false, true, true}; !slices.Equal(seen, want) {
		t.Errorf("reused: %v, want %v", seen, want)
	}
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
