package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Running is load that agents are sending. Its methods are safe for concurrent use.
type Running struct {
	fleet   *Fleet
	events  *timeline.Recorder
	mergers []*load.Merger
	begins  time.Duration
	lost    chan load.LaneLost
	ctx     context.Context // of all requests
	cancel  context.CancelFunc
	unhook  func() bool
	pulls   sync.WaitGroup

	mu       sync.Mutex
	phase    string
	left     int          // agents that are not lost
	deadLane map[int]bool // lanes that are lost
	halted   chan struct{}
	halt     sync.Once

	stopOnce sync.Once
	err      error
}

func (f *Fleet) run(ctx context.Context, mergers []*load.Merger, at time.Duration, phase string) *Running {
	r := &Running{
		fleet: f, events: f.cfg.Timeline, mergers: mergers, begins: at, lost: make(chan load.LaneLost, len(mergers)),
		phase: phase, left: len(f.members), deadLane: map[int]bool{}, halted: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.events.Record(timeline.SourceRun, timeline.KindPhase, "phase/"+phase, nil)
	if f.cfg.Observer.Started != nil {
		f.cfg.Observer.Started(r.Sums)
	}
	for i, m := range mergers {
		l := m.Lane()
		r.events.Add(timeline.Event{T: int64(at), Source: timeline.SourceLoad, Kind: timeline.KindLaneStart, Subject: "lane/" + l.Name, Detail: map[string]string{
			"kind": string(f.cfg.Lanes[i].Kind), "target": l.Target, "rate": fmt.Sprint(l.Rate), "agents": strconv.Itoa(len(f.members)),
		}})
	}
	for _, m := range f.members {
		m.heard = f.cfg.Timeline.Clock().Now()
		for i := range m.lanes {
			m.lanes[i] = int64(at)
		}
		m.told = int64(at)
		r.events.Add(timeline.Event{T: int64(at), Source: timeline.SourceLoad, Kind: timeline.KindAgentStart, Subject: "agent/" + m.Name, Detail: map[string]string{
			"node": m.Node, "index": strconv.Itoa(m.index), "of": strconv.Itoa(len(f.members)), "bound": m.known.Bound.String(),
		}})
		r.pulls.Go(func() { r.pull(m) })
	}
	r.unhook = context.AfterFunc(ctx, r.tellHalt)
	return r
}

// Begins is when the first slots fall due, on the timeline's clock.
func (r *Running) Begins() time.Duration { return r.begins }

// Phase ends the present phase and begins the next. The agents know nothing of
// phases: it is the runner's timeline that says which windows are which. It does
// not block. After Stop it does nothing.
func (r *Running) Phase(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping() {
		return
	}
	at := int64(r.events.Clock().Now())
	r.events.Add(timeline.Event{T: at, Source: timeline.SourceRun, Kind: timeline.KindPhaseEnd, Subject: "phase/" + r.phase})
	r.events.Add(timeline.Event{T: at, Source: timeline.SourceRun, Kind: timeline.KindPhase, Subject: "phase/" + name})
	r.phase = name
}

// Lost delivers one value for each lane that dies: all of its agents are lost, or
// it cannot be written. It is closed by Stop and need not be read.
func (r *Running) Lost() <-chan load.LaneLost { return r.lost }

// Sums returns what every lane has counted, up to where all agents have told.
func (r *Running) Sums() []load.Sum {
	sums := make([]load.Sum, len(r.mergers))
	for i, m := range r.mergers {
		sums[i] = m.Sum()
	}
	return sums
}

func (r *Running) stopping() bool {
	select {
	case <-r.halted:
		return true
	default:
		return false
	}
}

func (r *Running) tellHalt() { r.halt.Do(func() { close(r.halted) }) }

// Stop ends the present phase and the load, collects what is left, writes the last
// windows and closes the sinks. An agent that is lost is no error: the record says
// so, and the verdict will. Returned are the errors of lanes that were lost, joined;
// calling it again returns the same.
func (r *Running) Stop() error {
	r.stopOnce.Do(func() {
		r.unhook()
		r.mu.Lock()
		r.events.Record(timeline.SourceRun, timeline.KindPhaseEnd, "phase/"+r.phase, nil)
		r.tellHalt()
		r.mu.Unlock()
		r.pulls.Wait()
		r.cancel()
		var errs []error
		for i, m := range r.mergers {
			name := m.Lane().Name
			if err := m.Close(); err != nil {
				r.loseLane(i, err)
				errs = append(errs, fmt.Errorf("lane %s: %w", name, err))
				continue
			}
			if r.deadLane[i] {
				errs = append(errs, fmt.Errorf("lane %s: %w", name, errAllLost))
				continue
			}
			r.events.Record(timeline.SourceLoad, timeline.KindLaneEnd, "lane/"+name, nil)
		}
		close(r.lost)
		r.err = errors.Join(errs...)
	})
	return r.err
}

var errAllLost = errors.New("every agent that sent it is lost")

// lose gives an agent up. What it has told until then stays; what it sends from then
// on nobody knows.
func (r *Running) lose(m *member, reason string) {
	r.fleet.cfg.Log.Error("load agent lost", "agent", m.Name, "node", m.Node, "reason", reason)
	r.events.Record(timeline.SourceLoad, timeline.KindAgentLost, "agent/"+m.Name, map[string]string{
		"reason": reason, "node": m.Node, "told": time.Duration(m.told).String(),
	})
	r.leave(m)
	r.mu.Lock()
	r.left--
	none := r.left == 0
	r.mu.Unlock()
	if none {
		for i := range r.mergers {
			r.loseLane(i, errAllLost)
		}
	}
	m.endIt(r.ctx)
}

// leave lets the windows be written without the agent.
func (r *Running) leave(m *member) {
	for i, merger := range r.mergers {
		if err := merger.Leave(m.index); err != nil {
			r.loseLane(i, err)
		}
	}
}

// loseLane says, once, that a lane's data end here.
func (r *Running) loseLane(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deadLane[i] {
		return
	}
	r.deadLane[i] = true
	name, at := r.mergers[i].Lane().Name, r.events.Clock().Now()
	r.events.Add(timeline.Event{T: int64(at), Source: timeline.SourceLoad, Kind: timeline.KindLaneLost, Subject: "lane/" + name, Detail: map[string]string{"error": err.Error()}})
	r.lost <- load.LaneLost{Lane: name, At: at, Err: err}
}

// stopWithin bounds what comes after the load was stopped: the longest request, and
// what is left to be told over a connection that may be slow.
func (r *Running) stopWithin() time.Duration {
	longest := time.Duration(0)
	for _, l := range r.fleet.cfg.Lanes {
		longest = max(longest, l.Timeout)
	}
	return longest + time.Minute
}

// pull collects what an agent tells until it has told everything, or is lost.
func (r *Running) pull(m *member) {
	clock, halted := r.events.Clock(), r.halted
	var deadline time.Duration
	for {
		stopped := r.stopping()
		if stopped && deadline == 0 {
			halted, deadline = nil, clock.Now()+r.stopWithin()
		}
		done, more := r.ask(m, stopped)
		switch {
		case done:
			return
		case stopped && clock.Now() > deadline:
			r.lose(m, fmt.Sprintf("it was told to stop, and %s later it had not told everything", r.stopWithin()))
			return
		case more:
			continue
		}
		t := time.NewTimer(pollEvery)
		select {
		case <-t.C:
		case <-halted:
		}
		t.Stop()
	}
}

// ask asks an agent once. Done says that nothing more is to be asked, and more that
// more is waiting there.
func (r *Running) ask(m *member, stopped bool) (done, more bool) {
	clock := r.events.Clock()
	if stopped && !m.stopped {
		if _, err := m.post(r.ctx, agent.PathStop, struct{}{}); err == nil {
			m.stopped = true
		}
	}
	t1 := int64(clock.Now())
	body, err := m.do(r.ctx, "GET", agent.PathTold, "after="+strconv.FormatInt(m.seq, 10), nil)
	t4 := int64(clock.Now())
	if err != nil {
		return r.unheard(m, err), false
	}
	m.heard = clock.Now()
	over, left, why := r.take(m, body, t1, t4)
	switch {
	case why != "":
		r.lose(m, why)
		return true, false
	case !over:
		return false, left
	case !m.stopped:
		r.lose(m, "somebody else has stopped it")
		return true, false
	}
	r.bye(m)
	return true, false
}

// unheard decides what it means that an agent does not answer.
func (r *Running) unheard(m *member, err error) (done bool) {
	r.fleet.cfg.Log.Debug("a load agent does not answer", "agent", m.Name, "error", err)
	ctx, cancel := context.WithTimeout(r.ctx, askTimeout)
	defer cancel()
	if why, e := m.Conn.Gone(ctx); e == nil && why != "" {
		r.lose(m, why)
		return true
	}
	if silent := r.events.Clock().Now() - m.heard; silent > patience {
		r.lose(m, fmt.Sprintf("it has not answered for %s: %v", silent.Round(time.Second), err))
		return true
	}
	return false
}

// bye takes leave of an agent that has told everything, and looks at its clock for
// the last time.
func (r *Running) bye(m *member) {
	r.leave(m)
	detail := map[string]string{"node": m.Node}
	if o, err := m.measure(r.ctx, m.zero); err == nil {
		detail["offset"], detail["bound"] = o.Offset.String(), o.Bound.String()
	} else {
		detail["error"] = err.Error()
	}
	r.events.Record(timeline.SourceLoad, timeline.KindAgentEnd, "agent/"+m.Name, detail)
	m.endIt(r.ctx)
}
