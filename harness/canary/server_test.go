package canary

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start serves s on loopback and returns its base URL and Serve's result.
func start(t *testing.T, s *Server) (string, <-chan error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return "http://" + l.Addr().String(), served
}

func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// newHTTP2Client speaks HTTP/2 by prior knowledge.
func newHTTP2Client(t *testing.T) *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &p}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestEveryAnswerSaysWhoGaveItAndSumsItsBody(t *testing.T) {
	s := newServer(t, Config{Pod: "canary-1", Node: "worker-1", BodyBytes: 130})
	for _, tc := range []struct {
		path   string
		status int
		body   string
	}{
		{PathRoot, 200, string(body(130))},
		{PathHealth, 200, "ok\n"},
		{PathReady, 200, "ready\n"},
		{"/other", 404, "no such path\n"},
	} {
		t.Run(tc.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path, nil))
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tc.status, tc.body)
			}
			for header, want := range map[string]string{
				HeaderPod: "canary-1", HeaderNode: "worker-1", HeaderBoot: s.BootID(), HeaderSum: Sum([]byte(tc.body)),
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: got %q, want %q", header, got, want)
				}
			}
		})
	}
}

func TestSumIsCRC32(t *testing.T) {
	// The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
	if got, want := Sum([]byte("123456789")), "cbf43926"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Sum(nil), "00000000"; got != want {
		t.Errorf("empty body: got %s, want %s", got, want)
	}
}

func TestBodyHasTheSizeAskedForAndIsPrintable(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 1 << 20} {
		b := body(n)
		if len(b) != n {
			t.Errorf("body(%d) has %d bytes", n, len(b))
		}
		if i := strings.IndexFunc(string(b), func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
			t.Errorf("body(%d): byte %d is %q", n, i, b[i])
		}
	}
}

func TestTwoProcessesDifferInTheirBootID(t *testing.T) {
	if a, b := newServer(t, Config{}).BootID(), newServer(t, Config{}).BootID(); a == b {
		t.Errorf("both have %s", a)
	}
}

func TestNewNamesEveryMistake(t *testing.T) {
	_, err := New(Config{BodyBytes: -1, Latency: -time.Second, ShutdownDelay: -time.Minute, GracePeriod: -time.Hour})
	const want = `canary: body size -1: want 0 to 67108864 bytes
latency -1s: want a duration of at least 0
shutdown delay -1m0s: want a duration of at least 0
grace period -1h0m0s: want a duration of at least 0`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLatencyEndsWithTheRequest(t *testing.T) {
	s := newServer(t, Config{Latency: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, PathRoot, nil))
	if w.Body.Len() != 0 {
		t.Errorf("answered %q to a client that had gone", w.Body)
	}
}

func TestShutdownIsUnreadyFirstAndServesOn(t *testing.T) {
	s := newServer(t, Config{ShutdownDelay: time.Hour, GracePeriod: time.Minute})
	url, served := start(t, s)
	answer := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w
	}
	if w := answer(PathRoot); w.Code != http.StatusOK || w.Header().Get("Connection") != "" {
		t.Errorf("ready: %d, Connection: %q", w.Code, w.Header().Get("Connection"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(ctx) }()
	<-s.stopping

	for _, tc := range []struct {
		path   string
		status int
	}{{PathReady, http.StatusServiceUnavailable}, {PathRoot, http.StatusOK}, {PathHealth, http.StatusOK}} {
		if w := answer(tc.path); w.Code != tc.status || w.Header().Get("Connection") != "close" {
			t.Errorf("%s during the delay: %d, Connection: %q; want %d, close", tc.path, w.Code, w.Header().Get("Connection"), tc.status)
		}
	}
	cancel() // cuts the delay short
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://")); err == nil {
		_ = conn.Close()
		t.Error("still listening after Shutdown")
	}
}

func TestStreamEndsWholeWhenTheDrainBegins(t *testing.T) {
	s := newServer(t, Config{GracePeriod: time.Minute})
	url, _ := start(t, s)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+PathStream, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"0", "1"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got line %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
}

func TestShutdownSaysWhenItCutRequestsOff(t *testing.T) {
	s := newServer(t, Config{Latency: time.Hour, GracePeriod: time.Millisecond})
	url, _ := start(t, s)
	c := newClient(t)
	failed := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+PathRoot, nil)
		if err == nil {
			var resp *http.Response
			if resp, err = c.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
		failed <- err
	}()
	waitForActive(t, url)
	err := s.Shutdown(t.Context())
	const want = "canary: requests still in flight after the grace period of 1ms were cut off: context deadline exceeded"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := <-failed; err == nil || !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the request in flight: got %v, want a closed connection", err)
	}
}

// waitForActive returns once the server has taken the request under way: a
// second one, on a connection opened after it, is answered.
func waitForActive(t *testing.T, url string) {
	t.Helper()
	for range 20 {
		get(t, newClient(t), url+PathHealth)
	}
}

// TestNoRequestIsLostByAClientThatFollowsReadiness does what a balancer does:
// it sends until it sees unready, and each request must be answered in full.
func TestNoRequestIsLostByAClientThatFollowsReadiness(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) { followReadiness(t, newClient(t), "HTTP/1.1") })
	t.Run("HTTP/2", func(t *testing.T) { followReadiness(t, newHTTP2Client(t), "HTTP/2.0") })
}

func followReadiness(t *testing.T, c *http.Client, proto string) {
	s := newServer(t, Config{BodyBytes: 4096, ShutdownDelay: 100 * time.Millisecond, GracePeriod: time.Minute})
	url, _ := start(t, s)
	want := string(body(4096))
	stopped := make(chan error, 1)
	sent := 0
	for ready := true; ready; sent++ {
		if sent == 50 {
			go func() { stopped <- s.Shutdown(t.Context()) }()
		}
		resp, got := get(t, c, url+PathRoot)
		if resp.StatusCode != http.StatusOK || got != want || resp.Header.Get(HeaderSum) != Sum([]byte(got)) || resp.Proto != proto {
			t.Fatalf("request %d: %s %d, %d bytes", sent, resp.Proto, resp.StatusCode, len(got))
		}
		resp, _ = get(t, c, url+PathReady)
		ready = resp.StatusCode == http.StatusOK
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if sent < 50 {
		t.Errorf("only %d requests sent", sent)
	}
}

// TestStreamOverHTTP2 reads lines of a stream, and its whole end in a drain.
func TestStreamOverHTTP2(t *testing.T) {
	s := newServer(t, Config{Pod: "p", GracePeriod: time.Minute})
	url, _ := start(t, s)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+PathStream, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newHTTP2Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Proto != "HTTP/2.0" || resp.Header.Get(HeaderPod) != "p" {
		t.Errorf("%s from pod %q", resp.Proto, resp.Header.Get(HeaderPod))
	}
	lines := bufio.NewScanner(resp.Body)
	for want := range 3 {
		if !lines.Scan() || lines.Text() != strconv.Itoa(want) {
			t.Fatalf("line %d is %q, %v", want, lines.Text(), lines.Err())
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
}
