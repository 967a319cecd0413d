package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Config of an agent.
type Config struct {
	Name  string // its pod's
	Token string // that every request must carry; required
	Log   *slog.Logger
	// Dial connects to the lanes' targets; nil stands for net.Dialer.DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// MaxHeld stands for the constant where it is not 0.
	MaxHeld int
}

// Agent is one engine. It is an http.Handler.
type Agent struct {
	cfg   Config
	boot  string
	begun time.Time
	queue *queue
	quit  chan struct{} // closed when it may end
	end   sync.Once
	base  context.Context

	mu      sync.Mutex
	heard   time.Time
	lanes   []load.Lane
	twin    *canary.Server
	twinURL string
	start   *Start
	running *load.Running
	stopped bool
	done    sync.WaitGroup
}

// New returns an agent whose load ends with ctx at the latest. It fails without a
// token.
func New(ctx context.Context, cfg Config) (*Agent, error) {
	if cfg.Token == "" {
		return nil, fmt.Errorf("load agent: no token: set %s", EnvToken)
	}
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = MaxHeld
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("load agent: boot id: %w", err)
	}
	now := time.Now()
	return &Agent{
		cfg: cfg, boot: hex.EncodeToString(id), begun: now, heard: now, base: ctx,
		queue: newQueue(cfg.MaxHeld), quit: make(chan struct{}),
	}, nil
}

// Run returns when the agent is told to end, which is no error, when it has not
// heard from the runner for Alone, or when its context ends. The load has ended
// then, and so has the twin.
func (a *Agent) Run() error {
	err := a.wait()
	a.stop("the agent ends")
	a.mu.Lock()
	twin := a.twin
	a.mu.Unlock()
	if twin != nil {
		err = errors.Join(err, twin.Close())
	}
	a.done.Wait()
	return err
}

func (a *Agent) wait() error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-a.quit:
			return nil
		case <-a.base.Done():
			return nil
		case <-t.C:
		}
		a.mu.Lock()
		silent := time.Since(a.heard)
		a.mu.Unlock()
		if silent > Alone {
			return fmt.Errorf("load agent: nothing was heard of the runner for %s", Alone)
		}
	}
}

// now is the agent's clock: ns since its start.
func (a *Agent) now() int64 { return int64(time.Since(a.begun)) }

func (a *Agent) clock(received int64) ClockAnswer {
	return ClockAnswer{Boot: a.boot, Received: received, Sent: a.now()}
}

// prepare takes over what is to be sent, and asks each lane's target once.
func (a *Agent) prepare(ctx context.Context, p Prepare) (Prepared, error) {
	a.mu.Lock()
	if a.start != nil {
		a.mu.Unlock()
		return Prepared{}, errBusy
	}
	lanes, err := a.lanesOf(&p)
	a.lanes = lanes
	a.mu.Unlock()
	if err != nil {
		return Prepared{}, err
	}
	out := Prepared{Version: Version, Boot: a.boot, Name: a.cfg.Name, CPUs: runtime.GOMAXPROCS(0), Lanes: make([]Check, len(lanes))}
	var wg sync.WaitGroup
	for i, l := range lanes {
		out.Lanes[i].Lane = l.Name
		wg.Go(func() {
			if err := load.Probe(ctx, l); err != nil {
				out.Lanes[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	return out, nil
}

// lanesOf returns the lanes, and starts the twin where one of them needs it. The
// caller holds a.mu.
func (a *Agent) lanesOf(p *Prepare) ([]load.Lane, error) {
	for _, l := range p.Lanes {
		if !l.Control || a.twin != nil {
			continue
		}
		if err := a.startTwin(p.Twin); err != nil {
			return nil, err
		}
	}
	lanes, err := p.lanes(a.twinURL)
	for i := range lanes {
		lanes[i].Dial = a.cfg.Dial
	}
	return lanes, err
}

// startTwin serves the control lane on this pod's loopback, so that it shows the
// trouble of the very machine that sends the load.
func (a *Agent) startTwin(t Twin) error {
	s, err := canary.New(canary.Config{Pod: "twin", Node: a.cfg.Name, BodyBytes: t.BodyBytes, Latency: time.Duration(t.LatencyNS)})
	if err != nil {
		return fmt.Errorf("start the twin: %w", err)
	}
	var listen net.ListenConfig
	l, err := listen.Listen(a.base, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the twin: %w", err)
	}
	a.twin, a.twinURL = s, "http://"+l.Addr().String()
	a.done.Go(func() { _ = s.Serve(l) }) // where it fails the control lane shows it
	return nil
}

// begin starts the engine at the agreed instant.
func (a *Agent) begin(s Start) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.start != nil {
		if *a.start == s {
			return nil
		}
		return errBusy
	}
	if a.lanes == nil {
		return errors.New("nothing was prepared")
	}
	if a.stopped {
		return errors.New("the load was stopped already")
	}
	clock := timeline.NewClock(a.begun.Add(time.Duration(s.Zero)))
	index := map[string]int{}
	for i, l := range a.lanes {
		index[l.Name] = i
	}
	running, err := load.Start(a.base, load.Config{
		Lanes: a.lanes, Timeline: timeline.NewRecorder(clock, eventLines{a.queue}), At: time.Duration(s.At),
		Open: func(l record.Lane) (load.LaneSink, error) { return teller{a.queue, index[l.Name]}, nil },
	}, timeline.PhaseMeasured)
	if err != nil {
		return err
	}
	a.start, a.running = &s, running
	a.done.Go(func() {
		for lost := range running.Lost() {
			a.cfg.Log.Error("lane lost", "lane", lost.Lane, "error", lost.Err)
			reason := fmt.Sprintf("its lane %s died: %v", lost.Lane, lost.Err)
			a.done.Go(func() { a.stop(reason) })
		}
	})
	a.cfg.Log.Info("sending", "lanes", len(a.lanes), "part", a.lanes[0].Part, "at", time.Duration(s.At))
	return nil
}

// stop ends the load, and returns when all that is left to be told is kept.
func (a *Agent) stop(reason string) {
	a.mu.Lock()
	running, stopped := a.running, a.stopped
	a.stopped = true
	a.mu.Unlock()
	if stopped {
		return
	}
	if running != nil {
		if err := running.Stop(); err != nil && reason == "" {
			reason = err.Error()
		}
	}
	a.queue.end(reason)
}

// teller is the sink of a lane.
type teller struct {
	queue *queue
	lane  int
}

// WriteSlots implements load.SlotSink.
func (t teller) WriteSlots(s *load.Second) error {
	payload, err := appendSecond(nil, t.lane, s)
	if err != nil {
		return err
	}
	return t.queue.add(KindSecond, payload)
}

// WriteWindow implements load.LaneSink and is never called.
func (teller) WriteWindow(*record.Window) error { return nil }

// WriteRequest implements load.LaneSink and is never called.
func (teller) WriteRequest(*record.Request) error { return nil }

// Close implements load.LaneSink.
func (teller) Close() error { return nil }

// eventLines takes the engine's timeline, a line at a time.
type eventLines struct{ queue *queue }

func (w eventLines) Write(line []byte) (int, error) {
	return len(line), w.queue.add(KindEvent, bytes.TrimSuffix(line, []byte("\n")))
}

// maxAnswer is about how much one answer tells, in bytes.
const maxAnswer = 1 << 20

// ServeHTTP implements http.Handler.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	received := a.now()
	if r.URL.Path == PathReady {
		return
	}
	if subtle.ConstantTimeCompare([]byte(r.Header.Get(HeaderToken)), []byte(a.cfg.Token)) != 1 {
		http.Error(w, "not this run's token", http.StatusForbidden)
		return
	}
	a.mu.Lock()
	a.heard = time.Now()
	a.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET " + PathClock:
		answer(w, a.clock(received), nil)
	case "POST " + PathPrepare:
		var p Prepare
		if !decode(w, r, &p) {
			return
		}
		out, err := a.prepare(r.Context(), p)
		answer(w, out, err)
	case "POST " + PathStart:
		var s Start
		if !decode(w, r, &s) {
			return
		}
		answer(w, struct{}{}, a.begin(s))
	case "GET " + PathTold:
		a.tell(w, r, received)
	case "POST " + PathStop:
		a.done.Go(func() { a.stop("") })
		answer(w, struct{}{}, nil)
	case "POST " + PathQuit:
		answer(w, struct{}{}, nil)
		a.end.Do(func() { close(a.quit) })
	default:
		http.NotFound(w, r)
	}
}

func (a *Agent) tell(w http.ResponseWriter, r *http.Request, received int64) {
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("after=%q is no sequence number", r.URL.Query().Get("after")), http.StatusBadRequest)
		return
	}
	head, entries, err := a.queue.after(after, maxAnswer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	head.ClockAnswer = a.clock(received)
	text, err := json.Marshal(head)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	// Whoever asked and left asks again.
	_, _ = w.Write(append(AppendEntry(nil, KindHead, text), entries...))
}

// answer writes JSON, or the error as text.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, errBusy) {
			status = http.StatusConflict
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked and left asks again
}

// decode reads the request's body, or answers what is wrong with it.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}
