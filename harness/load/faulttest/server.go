// Package faulttest is a web server on a loopback address that fails as planned:
// it refuses, hangs, resets or answers wrongly, for a given time each, and keeps
// a log of what it received. It is the truth that the load engine's findings are
// compared with, in tests and benchmarks.
package faulttest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
)

// Kind is a way to fail.
type Kind string

// Ways to fail.
const (
	// Refuse closes the listener and all connections: the process is gone.
	Refuse Kind = "refuse"
	// Hang answers requests of its time only when its time is over.
	Hang Kind = "hang"
	// Unavailable answers 503.
	Unavailable Kind = "503"
	// Reset resets the connection when a request comes.
	Reset Kind = "reset"
	// BlackHole swallows requests: they are never answered.
	BlackHole Kind = "black-hole"
	// Truncate announces the whole body and sends half of it.
	Truncate Kind = "truncate"
	// WrongBody sends another body under the right one's checksum.
	WrongBody Kind = "wrong-body"
	// SlowTail delays a share of the answers.
	SlowTail Kind = "slow-tail"
)

// Kinds returns all ways to fail.
func Kinds() []Kind {
	return []Kind{Refuse, Hang, Unavailable, Reset, BlackHole, Truncate, WrongBody, SlowTail}
}

// Fault is one planted fault.
type Fault struct {
	Kind Kind // one of Kinds
	// From and To bound its time, counted from Arm.
	From, To time.Duration
	// Share is the share of requests that it strikes; 0 stands for all. Refuse
	// strikes all in any case.
	Share float64
	// Delay is how much later SlowTail answers.
	Delay time.Duration
}

// Arrival is one request that the server received.
type Arrival struct {
	At   time.Duration // since Arm
	Kind Kind          // the fault that struck it, or ""
}

// MostInASecond returns the largest number of arrivals within any second. log is
// in the order of time.
func MostInASecond(log []Arrival) float64 {
	most, from := 0, 0
	for i := range log {
		for log[i].At-log[from].At >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return float64(most)
}

// Server is a web server that fails as planned. Its methods are safe for
// concurrent use.
type Server struct {
	network network
	addr    string
	answer  []byte // head and body
	faults  []Fault

	mu       sync.Mutex
	listener net.Listener // nil while it refuses
	conns    map[net.Conn]struct{}
	armed    time.Time
	log      []Arrival
	refused  []Fault
	rng      *rand.Rand
	timers   []*time.Timer
	closed   chan struct{}
	wg       sync.WaitGroup
}

// Start starts a server on a loopback address that answers every request with
// body and the canary's headers, and fails as faults say once it is armed. The
// faults must not overlap. The error is of a fault of an unknown kind, or that
// ends before it begins, or of an address that cannot be listened on.
func Start(body []byte, faults ...Fault) (*Server, error) { return start(loopback{}, body, faults) }

// StartIn starts a server as Start does, in a network in memory.
func StartIn(m *Memory, body []byte, faults ...Fault) (*Server, error) { return start(m, body, faults) }

func start(n network, body []byte, faults []Fault) (*Server, error) {
	for _, f := range faults {
		if !slices.Contains(Kinds(), f.Kind) || f.To <= f.From {
			return nil, fmt.Errorf("fault server: %q from %s to %s is no fault; kinds are %v", f.Kind, f.From, f.To, Kinds())
		}
	}
	l, err := n.listen("")
	if err != nil {
		return nil, fmt.Errorf("fault server: %w", err)
	}
	s := &Server{
		network: n, addr: l.Addr().String(), faults: faults, listener: l, conns: map[net.Conn]struct{}{},
		rng: rand.New(rand.NewPCG(1, 1)), closed: make(chan struct{}),
	}
	s.answer = answer(200, body, crc32.ChecksumIEEE(body))
	s.wg.Go(func() { s.accept(l) })
	return s, nil
}

func answer(status int, body []byte, sum uint32) []byte {
	// ab speaks HTTP/1.0 and keeps a connection only when told so.
	b := fmt.Appendf(nil, "HTTP/1.1 %d X\r\nConnection: keep-alive\r\nContent-Length: %d\r\n%s: %08x\r\n%s: fault-0\r\n%s: loopback\r\n\r\n",
		status, len(body), canary.HeaderSum, sum, canary.HeaderPod, canary.HeaderNode)
	return append(b, body...)
}

// URL returns the server's URL. It stays the same over a Refuse.
func (s *Server) URL() string { return "http://" + s.addr + "/" }

// Arm sets the instant that faults and log are counted from, and empties the log.
// It must be called once, before the first fault's time.
func (s *Server) Arm(zero time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.log, s.refused = zero, nil, nil
	for _, f := range s.faults {
		if f.Kind == Refuse {
			s.after(f.From, func() {
				s.vanish()
				// Not before: on a busy machine both may be due at once.
				s.mu.Lock()
				defer s.mu.Unlock()
				s.after(f.To, s.reappear)
			})
		}
	}
}

// after calls f at d since Arm, or at once where that is over. The caller holds
// s.mu.
func (s *Server) after(d time.Duration, f func()) {
	select {
	case <-s.closed:
	default:
		s.timers = append(s.timers, time.AfterFunc(time.Until(s.armed.Add(d)), f))
	}
}

// Log returns what the server received since Arm.
func (s *Server) Log() []Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Refused returns when the server refused since Arm: what its timers made of the
// faults planted, later than planned where the machine is busy.
func (s *Server) Refused() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// Close stops the server and waits for its goroutines.
func (s *Server) Close() {
	s.mu.Lock()
	for _, t := range s.timers {
		t.Stop()
	}
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.vanish()
	s.wg.Wait()
}

func (s *Server) vanish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Close() // nothing to do about an error
		s.listener = nil
		s.refused = append(s.refused, Fault{Kind: Refuse, From: time.Since(s.armed), To: time.Duration(math.MaxInt64)})
	}
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *Server) reappear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return
	default:
	}
	l, err := s.network.listen(s.addr)
	if err != nil {
		// A client's own port may be the server's for a moment.
		s.after(time.Since(s.armed)+time.Millisecond, s.reappear)
		return
	}
	s.listener = l
	if n := len(s.refused); n > 0 {
		s.refused[n-1].To = time.Since(s.armed)
	}
	s.wg.Go(func() { s.accept(l) })
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.listener != l {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

var endOfHead = []byte("\r\n\r\n")

func (s *Server) serve(c net.Conn) {
	buf := make([]byte, 4096)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil || n+m == len(buf) {
			return
		}
		n += m
		if !bytes.HasSuffix(buf[:n], endOfHead) {
			continue
		}
		last := bytes.Contains(buf[:n], []byte("Connection: close"))
		n = 0
		if !s.respond(c) || last {
			return
		}
	}
}

// respond answers one request and reports whether the connection goes on.
func (s *Server) respond(c net.Conn) bool {
	f, rest := s.receive()
	out := s.answer
	keep := true
	switch f.Kind {
	case Hang:
		if !s.wait(rest) {
			return false
		}
	case Unavailable:
		out = answer(503, []byte("unavailable"), crc32.ChecksumIEEE([]byte("unavailable")))
	case Reset:
		s.network.reset(c)
		return false
	case BlackHole:
		_, _ = c.Read(make([]byte, 1)) // until the client gives up
		return false
	case Truncate:
		head := bytes.Index(out, endOfHead) + len(endOfHead)
		out, keep = out[:head+(len(out)-head)/2], false
	case WrongBody:
		out = bytes.Clone(out)
		out[len(out)-1] ^= 1
	case SlowTail:
		if !s.wait(f.Delay) {
			return false
		}
	}
	_, err := c.Write(out)
	return err == nil && keep
}

// receive logs a request and returns the fault that strikes it, if any, with how
// long that still lasts.
func (s *Server) receive() (Fault, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed.IsZero() {
		return Fault{}, 0
	}
	now := time.Since(s.armed)
	for _, f := range s.faults {
		if f.From <= now && now < f.To && f.Kind != Refuse && (f.Share == 0 || s.rng.Float64() < f.Share) {
			s.log = append(s.log, Arrival{At: now, Kind: f.Kind})
			return f, f.To - now
		}
	}
	s.log = append(s.log, Arrival{At: now})
	return Fault{}, 0
}

// wait reports whether it could wait as long as d.
func (s *Server) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.closed:
		return false
	}
}
