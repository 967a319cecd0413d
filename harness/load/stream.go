package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// streamer is the generator of a Stream lane. A slot is served by the first line
// of the stream that comes after the slot fell due; its latency is the wait for
// that line. While the stream is down its slots fail with the class of what broke
// it or of what keeps it from being opened again, at once and not by a timeout. A
// break that hits no open slot fails the next one, so that none goes unnoticed.
type streamer struct {
	lane   Lane
	clock  timeline.Clock
	ledger *ledger
	events *timeline.Recorder
	http   *http.Transport

	stopped atomic.Bool
	wake    chan struct{}

	mu     sync.Mutex
	open   []int64       // slots waiting for a line
	up     bool          // a stream is open, or being opened
	broken *http1.Answer // how the last stream ended, while no slot has failed by it
	fresh  bool          // the stream was opened, and has served no slot yet
	cancel context.CancelFunc
}

func newStreamer(l Lane, clock timeline.Clock, ledger *ledger, events *timeline.Recorder) *streamer {
	var p http.Protocols
	p.SetHTTP1(true)
	t := &http.Transport{Protocols: &p, DisableKeepAlives: true, DisableCompression: true, DialContext: l.Dial}
	if l.TLS != nil {
		t.TLSClientConfig = l.TLS.Clone()
	}
	return &streamer{lane: l, clock: clock, ledger: ledger, events: events, http: t, wake: make(chan struct{}, 1)}
}

func (s *streamer) next() {} // phases mean nothing to a stream

func (s *streamer) stop() {
	s.stopped.Store(true)
	select {
	case s.wake <- struct{}{}:
	default: // it has not seen the last one yet
	}
}

// run keeps the stream open and accounts for the slots until stop.
func (s *streamer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.stopped.Load() {
		now := int64(s.clock.Now())
		due := s.ledger.nextDue()
		if wait := time.Duration(due - now); wait > 0 {
			timer.Reset(min(wait, s.lane.Timeout/4+time.Millisecond))
			select {
			case <-timer.C:
			case <-s.wake:
			}
			s.expire()
			continue
		}
		i := s.ledger.begin()
		if now-due > int64(maxLag) {
			s.ledger.unsent(i)
			continue
		}
		s.await(ctx, &wg, i)
	}
	s.finish()
	return nil
}

// await adds slot i to those that wait for a line, and opens a stream where
// there is none.
func (s *streamer) await(ctx context.Context, wg *sync.WaitGroup, i int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		a := *s.broken
		s.broken = nil
		s.fail(i, &a)
	} else {
		s.open = append(s.open, i)
	}
	if s.up {
		return
	}
	s.up = true
	ctx, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	wg.Go(func() {
		defer cancel()
		s.stream(ctx)
	})
}

// fail closes slot i by how the stream failed. The caller holds s.mu.
func (s *streamer) fail(i int64, a *http1.Answer) {
	e := expectationOf(s.lane)
	class, text := e.classify(a)
	if class == record.OK {
		class, text = record.Reset, "the stream ended"
	}
	failed := *a
	failed.Sent = s.clock.Start().Add(time.Duration(s.ledger.sched.due(i)))
	if failed.Done.Before(failed.Sent) {
		failed.Done = failed.Sent
	}
	failed.Reused = true // a break says nothing of connections opened for the slot
	s.ledger.resolve(i, class, text, &failed)
}

// expire fails the slots whose line did not come within the timeout, and drops
// the stream that did not bring it.
func (s *streamer) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) == 0 || int64(s.clock.Now())-s.ledger.sched.due(s.open[0]) < int64(s.lane.Timeout) {
		return
	}
	if s.cancel != nil {
		s.cancel()
	}
}

// finish waits until the slots that still wait when the load ends are served or
// have failed.
func (s *streamer) finish() {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for range poll.C {
		s.expire()
		s.mu.Lock()
		n := len(s.open)
		s.mu.Unlock()
		if n == 0 {
			return
		}
	}
}

// stream opens one stream and reads it to its end.
func (s *streamer) stream(ctx context.Context) {
	a := http1.Answer{Sent: time.Now()}
	opened, err := s.read(ctx, &a, func(first bool) error {
		s.serve(&a, first)
		return nil
	})
	a.Done = time.Now()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = fmt.Errorf("no line within %s: %w", s.lane.Timeout, context.DeadlineExceeded)
	}
	a.Err = err
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = false
	if s.stopped.Load() && len(s.open) == 0 {
		return // ended by us
	}
	if len(s.open) == 0 && opened {
		s.broken = &a
	}
	for _, i := range s.open {
		s.fail(i, &a)
	}
	s.open = s.open[:0]
	if opened {
		class := classOf(err, a.Stage)
		s.events.Record(timeline.SourceLoad, timeline.KindStreamBroken, "lane/"+s.lane.Name, map[string]string{
			"class": class.String(), "error": err.Error(), "pod": a.Header[headerPod], "node": a.Header[headerNode],
			"after": a.Done.Sub(a.Sent).Round(time.Millisecond).String(),
		})
	}
}

// read sends the request and calls line for each line of its answer, until that
// returns an error. It reports whether a stream was opened and returns why it
// ended, which is never nil where one was.
func (s *streamer) read(ctx context.Context, a *http1.Answer, line func(first bool) error) (opened bool, err error) {
	// Only the opening has a deadline of its own; lines are watched by expire.
	openCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := time.AfterFunc(s.lane.Timeout, func() { cancel(context.DeadlineExceeded) })
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { a.Remote, a.Stage = i.Conn.RemoteAddr(), http1.StageHeader }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(openCtx, trace), http.MethodGet, s.lane.Target, nil)
	if err != nil {
		return false, err
	}
	resp, err := s.http.RoundTrip(req)
	if !timeout.Stop() && err != nil {
		return false, context.DeadlineExceeded
	}
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	a.Status = resp.StatusCode
	for i, name := range []string{headerPod: canary.HeaderPod, headerNode: canary.HeaderNode} {
		if name != "" {
			a.Header[i] = resp.Header.Get(name)
		}
	}
	e := expectationOf(s.lane)
	if _, ok := e.statusClass(a.Status); !ok {
		return false, nil
	}
	a.Stage = http1.StageBody
	lines := bufio.NewReader(resp.Body)
	for first := true; ; first = false {
		if _, err := lines.ReadSlice('\n'); err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if errors.Is(err, io.EOF) {
				// An endless answer has no proper end: for a client this is a reset.
				err = fmt.Errorf("the stream was ended: %w", err)
				a.Stage = http1.StageHeader
			}
			return !first, err
		}
		if err := line(first); err != nil {
			return true, err
		}
	}
}

// serve closes the slots that wait, by a line that came just now.
func (s *streamer) serve(a *http1.Answer, first bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = s.fresh || first
	for _, i := range s.open {
		line := *a
		line.Sent, line.Done = s.clock.Start().Add(time.Duration(s.ledger.sched.due(i))), now
		line.Reused = !s.fresh // the first slot that a new stream serves opened it
		s.fresh = false
		if line.Done.Before(line.Sent) {
			line.Done = line.Sent
		}
		s.ledger.resolve(i, record.OK, "", &line)
	}
	s.open = s.open[:0]
}
