// Package fleet is the runner's side of load that several agents send: it makes them
// ready, sets their clocks by its own, starts them at one instant, collects what
// became of every slot, and makes of it what one engine would have recorded. An
// agent that can no longer be heard is lost, and said to be; it is never taken for a
// target that does not answer.
//
// How agents are reached is the caller's business: see Conn.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Conn reaches one agent. Its methods are safe for concurrent use.
type Conn interface {
	// Do sends a request and returns the body of an answer with status 2xx; any other
	// is an error that holds the body's text. It returns when ctx ends.
	Do(ctx context.Context, method, path, query string, body []byte) ([]byte, error)
	// Gone says why the agent cannot come back, or "" where it may: that it does not
	// answer now is no proof. The error means that it could not be told.
	Gone(ctx context.Context) (string, error)
}

// Agent is one of a fleet.
type Agent struct {
	Name string // unique; its pod's
	Node string // that it runs on
	Conn Conn
}

// Config is what Ready needs.
type Config struct {
	Agents []Agent
	Lanes  []load.Lane // without Part; the control lane without Target
	Twin   agent.Twin
	Log    *slog.Logger
	// Timeline receives the phases and the agents' events, and gives the clock that
	// all offsets refer to.
	Timeline *timeline.Recorder
	// Open and OpenPart are as in load.MergeConfig.
	Open     func(record.Lane) (load.LaneSink, error)
	OpenPart func(l record.Lane, index int) (load.LaneSink, error)
	// Observer looks on, some seconds behind.
	Observer load.Observer
}

// Limits.
const (
	// MaxBound is how well a clock must be known before anything is sent: a tenth of a
	// window, which is also how late a slot may be sent.
	MaxBound = 100 * time.Millisecond
	// jump is by how much a clock may be off for certain while the load goes on: a
	// window would hold another second.
	jump = time.Second
	// lead is how long before the first slot the agents are told of it.
	lead = 3 * time.Second
	// pollEvery is how often an agent is asked, and askTimeout how long one answer may
	// take.
	pollEvery  = 500 * time.Millisecond
	askTimeout = 10 * time.Second
	// patience is how long an agent may be silent before it is lost. It keeps what it
	// has to tell meanwhile, and gives up a little later: agent.Alone.
	patience = agent.Alone - time.Minute
)

// Fleet is agents that are ready.
type Fleet struct {
	cfg     Config
	members []*member
}

// member is one agent as the runner sees it.
type member struct {
	Agent
	index int
	clock timeline.Clock
	boot  string
	zero  int64 // of its clock, at the run's start
	known Offset

	// Used by its own goroutine alone:
	seq     int64
	heard   time.Duration
	stopped bool  // it was told to stop
	told    int64 // ns: all lanes' slots that fell due before are known
	lanes   []int64
}

// String names the agent as reports do.
func (m *member) String() string {
	if m.Node == "" {
		return "agent " + m.Name
	}
	return fmt.Sprintf("agent %s on node %s", m.Name, m.Node)
}

func (m *member) do(ctx context.Context, method, path, query string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return m.Conn.Do(ctx, method, path, query, body)
}

func (m *member) post(ctx context.Context, path string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return m.do(ctx, "POST", path, "", text)
}

// Ready tells every agent what it is going to send, and returns when all lanes'
// addresses have answered each of them as they should, or after the time within with
// an error that lists every agent and lane for which that is not so.
func Ready(ctx context.Context, cfg Config, within time.Duration) (*Fleet, error) {
	if n := len(cfg.Agents); n == 0 || n > load.MaxParts {
		return nil, fmt.Errorf("%d load agents; 1 to %d are possible", n, load.MaxParts)
	}
	f := &Fleet{cfg: cfg}
	for i, a := range cfg.Agents {
		f.members = append(f.members, &member{Agent: a, index: i, clock: cfg.Timeline.Clock(), lanes: make([]int64, len(cfg.Lanes))})
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, errTime)
	defer cancel()
	err := f.all(func(m *member) error { return m.prepare(ctx, f.prepareFor(m)) })
	if err != nil && errors.Is(context.Cause(ctx), errTime) {
		return nil, fmt.Errorf("not every load agent reaches what it shall send load to, after %s:\n%w", within, err)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

var errTime = errors.New("the time is over")

// all calls do for all agents side by side and joins the errors, in order.
func (f *Fleet) all(do func(*member) error) error {
	errs := make([]error, len(f.members))
	var wg sync.WaitGroup
	for i, m := range f.members {
		wg.Go(func() { errs[i] = do(m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f *Fleet) prepareFor(m *member) agent.Prepare {
	p := agent.Prepare{Version: agent.Version, Part: load.Part{Index: m.index, Of: len(f.members)}, Twin: f.cfg.Twin}
	for _, l := range f.cfg.Lanes {
		p.Lanes = append(p.Lanes, agent.Lane{
			Name: l.Name, Kind: string(l.Kind), Target: l.Target, Rate: l.Rate, TimeoutNS: int64(l.Timeout), Control: l.Control, Canary: l.Canary,
		})
	}
	return p
}

// prepare asks again until each lane is served; its last error says which is not.
func (m *member) prepare(ctx context.Context, p agent.Prepare) error {
	var last error
	for {
		body, err := m.post(ctx, agent.PathPrepare, p)
		var got agent.Prepared
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		switch {
		case err != nil:
			if ctx.Err() == nil || last == nil {
				last = fmt.Errorf("%s: %w", m, err)
			}
		case got.Version != agent.Version:
			return fmt.Errorf("%s speaks version %d of the protocol, this is version %d: use an image of the same release (load.agentImage)", m, got.Version, agent.Version)
		default:
			m.boot = got.Boot
			if last = m.unserved(got); last == nil {
				return nil
			}
		}
		if why, err := m.Conn.Gone(ctx); err == nil && why != "" {
			return fmt.Errorf("%s: %s", m, why)
		}
		if err := pause(ctx, time.Second); err != nil {
			if errors.Is(err, errTime) {
				return last
			}
			return err
		}
	}
}

// unserved lists the lanes that the agent was not served on.
func (m *member) unserved(p agent.Prepared) error {
	var text []string
	for _, c := range p.Lanes {
		if c.Error != "" {
			text = append(text, fmt.Sprintf("%s: %s", m, c.Error))
		}
	}
	if text == nil {
		return nil
	}
	return errors.New(strings.Join(text, "\n"))
}

// Start measures the agents' clocks, agrees on an instant some seconds ahead, and
// begins to collect. It returns once every agent knows; the first slots fall due
// after that. The load ends with Stop, or when ctx ends; Stop must be called in
// either case. On error nothing is sent any more, and every sink is closed.
func (f *Fleet) Start(ctx context.Context, phase string) (*Running, error) {
	err := f.all(func(m *member) (err error) {
		if m.known, err = m.measure(ctx, 0); err == nil && m.known.Bound > MaxBound {
			err = fmt.Errorf("%s: its clock cannot be read better than to %s over the connection to it, and %s is needed: the API server between may be overloaded, or far away", m, m.known.Bound.Round(time.Millisecond), MaxBound)
		}
		m.zero = int64(m.known.Offset)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start load: %w", err)
	}
	clock := f.cfg.Timeline.Clock()
	at := (clock.Now() + lead).Truncate(time.Second) + time.Second
	names := make([]string, len(f.members))
	for i, m := range f.members {
		names[i] = m.Name
	}
	mergers, err := load.Merge(load.MergeConfig{Lanes: f.cfg.Lanes, At: at, Engines: names, Open: f.cfg.Open, OpenPart: f.cfg.OpenPart, Observer: f.cfg.Observer})
	if err != nil {
		return nil, fmt.Errorf("start load: %w", err)
	}
	err = f.all(func(m *member) error {
		if _, err := m.post(ctx, agent.PathStart, agent.Start{Zero: m.zero, At: int64(at)}); err != nil {
			return fmt.Errorf("%s: start: %w", m, err)
		}
		return nil
	})
	if err != nil {
		_ = f.all(func(m *member) error { m.endIt(context.WithoutCancel(ctx)); return nil })
		for _, m := range mergers {
			_ = m.Close() // nothing was written; the error that counts is err
		}
		return nil, fmt.Errorf("start load: %w", err)
	}
	return f.run(ctx, mergers, at, phase), nil
}

// endIt makes the agent end, if it can be reached: else it ends by itself.
func (m *member) endIt(ctx context.Context) {
	_, _ = m.post(ctx, agent.PathQuit, struct{}{})
}
