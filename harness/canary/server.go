package canary

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Timeouts of the listening server. idleTimeout is longer than any balancer
// before the canary keeps an idle connection, so that it is never the canary
// that closes a connection on which a request may already be under way.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// Server is one canary: an http.Handler, and a listening server that stops
// without losing a request. Its methods may be called from several goroutines.
type Server struct {
	cfg    Config
	boot   string
	answer answer
	mux    *http.ServeMux
	http   *http.Server

	stopOnce sync.Once
	stopping chan struct{} // closed at the first moment of shutdown
	// draining is closed when the shutdown delay is over.
	drainOnce sync.Once
	draining  chan struct{}
}

// answer is a body with what is sent beside it, computed once.
type answer struct {
	body   []byte
	length string
	sum    string
}

func newAnswer(body []byte) answer {
	return answer{body: body, length: strconv.Itoa(len(body)), sum: Sum(body)}
}

// Sum is the checksum of a body as HeaderSum carries it.
func Sum(body []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) }

// New makes a canary that does not listen yet: use it as a handler, or give
// Serve a listener.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	if cfg.Pod == "" {
		cfg.Pod = "unknown"
	}
	if cfg.Node == "" {
		cfg.Node = "unknown"
	}
	boot, err := newBootID()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		boot:     boot,
		answer:   newAnswer(body(cfg.BodyBytes)),
		mux:      http.NewServeMux(),
		stopping: make(chan struct{}),
		draining: make(chan struct{}),
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{Handler: s, Protocols: &protocols, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}

	healthy, ready, unready := newAnswer([]byte("ok\n")), newAnswer([]byte("ready\n")), newAnswer([]byte("shutting down\n"))
	missing := newAnswer([]byte("no such path\n"))
	s.mux.HandleFunc(PathRoot+"{$}", s.serveBody)
	s.mux.HandleFunc(PathStream, s.serveStream)
	s.mux.HandleFunc(PathHealth, func(w http.ResponseWriter, _ *http.Request) { healthy.write(w, http.StatusOK) })
	s.mux.HandleFunc(PathReady, func(w http.ResponseWriter, _ *http.Request) {
		if s.Ready() {
			ready.write(w, http.StatusOK)
			return
		}
		unready.write(w, http.StatusServiceUnavailable)
	})
	s.mux.HandleFunc(PathRoot, func(w http.ResponseWriter, _ *http.Request) { missing.write(w, http.StatusNotFound) })
	return s, nil
}

// newBootID returns the random id of a process.
func newBootID() (string, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("canary: choose a boot id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// BootID is the random id that this process sends in HeaderBoot.
func (s *Server) BootID() string { return s.boot }

// Ready reports whether the canary wants traffic: false from the first moment
// of shutdown.
func (s *Server) Ready() bool {
	select {
	case <-s.stopping:
		return false
	default:
		return true
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set(HeaderPod, s.cfg.Pod)
	h.Set(HeaderNode, s.cfg.Node)
	h.Set(HeaderBoot, s.boot)
	if !s.Ready() {
		// Each kept connection is given up with its next answer, announced, so
		// that nobody sends a request on a connection that is being closed; over
		// HTTP/2 net/http makes a GOAWAY of it.
		// http.Server.SetKeepAlivesEnabled would close the idle ones unannounced.
		h.Set("Connection", "close")
	}
	s.mux.ServeHTTP(w, r)
}

func (a *answer) write(w http.ResponseWriter, status int) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", a.length)
	h.Set(HeaderSum, a.sum)
	w.WriteHeader(status)
	// An error means that the client has gone; there is nobody left to tell.
	_, _ = w.Write(a.body)
}

func (s *Server) serveBody(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Latency > 0 {
		timer := time.NewTimer(s.cfg.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	s.answer.write(w, http.StatusOK)
}

// serveStream writes numbered lines until the client leaves or the drain
// begins; then the stream ends as a whole answer does.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	ticker := time.NewTicker(StreamInterval)
	defer ticker.Stop()
	flusher := http.NewResponseController(w)
	for n := 0; ; n++ {
		if _, err := fmt.Fprintf(w, "%d\n", n); err != nil {
			return
		}
		if err := flusher.Flush(); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		case <-s.draining:
			return
		}
	}
}

// Serve answers on l until Shutdown or Close, and then returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("canary: serve on %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown stops the canary as a well-behaved pod stops: unready at once, the
// shutdown delay in which it goes on serving, then no new connections, and at
// most the grace period for the requests in flight. It blocks until that is
// done, and returns an error when requests had to be cut off. A context that
// ends cuts everything short.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopOnce.Do(func() { close(s.stopping) })
	delay := time.NewTimer(s.cfg.ShutdownDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
	}
	s.drainOnce.Do(func() { close(s.draining) })
	grace, cancel := context.WithTimeout(ctx, s.cfg.GracePeriod)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("canary: requests still in flight after the grace period of %s were cut off: %w",
			s.cfg.GracePeriod, err), s.http.Close())
	}
	return nil
}

// Close stops at once, as a crash would: every connection is closed.
func (s *Server) Close() error {
	s.stopOnce.Do(func() { close(s.stopping) })
	s.drainOnce.Do(func() { close(s.draining) })
	return s.http.Close()
}
