package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Path is where the metrics are.
const Path = "/metrics"

// ParseAddr returns an address to listen on, as HOST:PORT. A port alone, with or
// without the colon, means the loopback address; another one has to be named. The
// error says what is accepted.
func ParseAddr(addr string) (string, error) {
	host, port := "", addr
	if strings.Contains(addr, ":") {
		var err error
		if host, port, err = net.SplitHostPort(addr); err != nil {
			return "", addrError(addr)
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", addrError(addr)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

func addrError(addr string) error {
	return fmt.Errorf("%q is not an address to listen on; give a port, such as 9464, for this machine alone, or HOST:PORT, such as 0.0.0.0:9464", addr)
}

// Server answers scrapes until it is closed.
type Server struct {
	http     *http.Server
	listener net.Listener
	served   chan struct{}

	mu     sync.Mutex
	last   time.Time     // when the last scrape was answered
	gap    time.Duration // between the two last ones
	waiter chan struct{} // closed by the next scrape that begins from now on
}

// Listen begins to answer scrapes of m on addr, which ParseAddr returned. The
// error says what to do where the address is taken.
func Listen(ctx context.Context, addr string, m *Metrics) (*Server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve the metrics: %w; choose another port, or 0 for any that is free", err)
	}
	s := &Server{listener: l, served: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, s.counted(m.Handler()))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "rehearse: the metrics are at %s\n", Path) // a reader that went away needs no answer
	})
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 16}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(l) // ends with Close; what ends it before cannot end a rehearsal
	}()
	return s, nil
}

// URL is where the metrics are.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + Path }

// Loopback reports whether nobody but this machine can reach the server.
func (s *Server) Loopback() bool {
	a, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// counted tells Linger of the scrapes.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		waiter := s.waiter
		now := time.Now()
		if !s.last.IsZero() {
			s.gap = now.Sub(s.last)
		}
		s.last = now
		s.mu.Unlock()
		h.ServeHTTP(w, r)
		if waiter != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.waiter == waiter {
				s.waiter = nil
				close(waiter)
			}
		}
	})
}

// Expects reports whether another scrape can be expected, and within which time:
// twice the time between the two last ones. Without two nobody scrapes regularly.
func (s *Server) Expects() (within time.Duration, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 2 * s.gap, s.gap > 0
}

// Linger waits for one more scrape, so that what came last is seen, for at most
// within or until ctx ends. It reports whether there was one.
func (s *Server) Linger(ctx context.Context, within time.Duration) bool {
	next := make(chan struct{})
	s.mu.Lock()
	s.waiter = next
	s.mu.Unlock()
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-next:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// Close ends the server; scrapes under way are finished for at most a second.
func (s *Server) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.served
	return err
}
