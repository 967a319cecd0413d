package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// LaneSink takes what one lane records. One goroutine at a time calls it;
// windows come in order of Second and without gaps. *record.LaneWriter is one.
//
// An error of any method loses the lane.
type LaneSink interface {
	// WriteWindow takes a second when the last of its slots has its outcome. The
	// window is the sink's to keep.
	WriteWindow(*record.Window) error
	// WriteRequest takes a failed or slow request, ahead of its window.
	WriteRequest(*record.Request) error
	// Close is called once, after the last window.
	Close() error
}

// Config is what Start needs.
type Config struct {
	// Lanes are sent side by side, each on a schedule of its own.
	Lanes []Lane
	// Timeline receives the phases and the lanes' own events, and gives the
	// clock that all offsets refer to.
	Timeline *timeline.Recorder
	// Open is called once for each lane, before any load is sent. Its error is
	// Start's.
	Open func(record.Lane) (LaneSink, error)
	// Observer looks on.
	Observer Observer
	// At is the clock's offset at which the first slots fall due, the same for all
	// engines that share lanes; 0 is the next full second. One that is over when
	// Start is called is an error.
	At time.Duration
}

// ToDir returns an Open that writes to a run directory.
func ToDir(d *record.Dir) func(record.Lane) (LaneSink, error) {
	return func(l record.Lane) (LaneSink, error) { return d.Lane(l) }
}

// LaneLost says that a lane's generator died. Its data end at At; without them
// no verdict is possible.
type LaneLost struct {
	Lane string        // its name
	At   time.Duration // offset from the run's start
	Err  error         // what it died of
}

// Running is load that is being sent. Its methods are safe for concurrent use.
type Running struct {
	events *timeline.Recorder
	lanes  []*laneRun
	lost   chan LaneLost
	unhook func() bool

	mu      sync.Mutex
	phase   string
	stopped bool

	stopOnce sync.Once
	err      error
}

// Start validates the lanes, opens their sinks and begins to send at the next
// full second of the clock or at Config.At, in phase (for example timeline.PhaseWarmup). It
// returns at once. The load ends with Stop, or when ctx ends; Stop must be
// called in either case.
//
// The error is that of Lane.Validate, of a name that is given twice, of a name
// that a CachedDNS lane cannot resolve, or of Config.Open; then nothing was sent
// and every sink is closed.
func Start(ctx context.Context, c Config, phase string) (*Running, error) {
	r := &Running{events: c.Timeline, lost: make(chan LaneLost, len(c.Lanes)), phase: phase}
	if err := r.prepare(ctx, c); err != nil {
		for _, l := range r.lanes {
			_ = l.sink.Close() // nothing was written; the error that counts is err
		}
		return nil, fmt.Errorf("start load: %w", err)
	}
	r.events.Record(timeline.SourceRun, timeline.KindPhase, "phase/"+phase, nil)
	if c.Observer.Started != nil {
		c.Observer.Started(r.Sums)
	}
	for _, l := range r.lanes {
		l.start(context.WithoutCancel(ctx))
	}
	r.unhook = context.AfterFunc(ctx, func() {
		for _, l := range r.lanes {
			l.stop()
		}
	})
	return r, nil
}

func (r *Running) prepare(ctx context.Context, c Config) error {
	names := map[string]bool{}
	for _, l := range c.Lanes {
		if err := l.Validate(); err != nil {
			return err
		}
		if names[l.Name] {
			return fmt.Errorf("lane %s is given twice", l.Name)
		}
		names[l.Name] = true
	}
	clock := c.Timeline.Clock()
	for i, l := range c.Lanes {
		l = l.resolved()
		ledger := newLedger(schedule{rate: l.Rate, origin: turn(i, len(c.Lanes), l.Rate), part: l.Part}, l.Timeout, clock)
		run := &laneRun{lane: l, ledger: ledger, events: c.Timeline, lost: r.lost, done: make(chan struct{})}
		if l.Kind == Stream {
			run.gen = newStreamer(l, clock, ledger, c.Timeline)
		} else {
			cl, err := newClient(ctx, l)
			if err != nil {
				return err
			}
			run.gen = newShooter(l, clock, ledger, cl)
		}
		sink, err := c.Open(l.Record())
		if err != nil {
			return fmt.Errorf("lane %s: %w", l.Name, err)
		}
		run.sink = c.Observer.sink(l.Record(), sink)
		r.lanes = append(r.lanes, run)
	}
	start := clock.Now().Truncate(time.Second) + time.Second
	if c.At != 0 {
		if now := clock.Now(); c.At <= now {
			return fmt.Errorf("the agreed start, +%s, is over by %s", c.At, now-c.At)
		}
		start = c.At
	}
	for _, l := range r.lanes {
		l.ledger.sched.origin += int64(start)
	}
	return nil
}

// turn is how long after the start lane i of n begins: lanes take turns, so that
// they do not all send in the same instant.
func turn(i, n int, rate float64) int64 { return int64(float64(i) / float64(n) * 1e9 / rate) }

// Phase ends the present phase and begins the next, on all lanes, and writes
// both to the timeline. No slot is lost or sent twice. It does not block. After
// Stop it does nothing.
func (r *Running) Phase(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	at := int64(r.events.Clock().Now())
	r.events.Add(timeline.Event{T: at, Source: timeline.SourceRun, Kind: timeline.KindPhaseEnd, Subject: "phase/" + r.phase})
	r.events.Add(timeline.Event{T: at, Source: timeline.SourceRun, Kind: timeline.KindPhase, Subject: "phase/" + name})
	r.phase = name
	for _, l := range r.lanes {
		l.gen.next()
	}
}

// Lost delivers one value for each lane that dies, and is closed by Stop. It
// need not be read.
func (r *Running) Lost() <-chan LaneLost { return r.lost }

// Sums returns what every lane has counted up to now, in the order of
// Config.Lanes: for progress lines.
func (r *Running) Sums() []Sum {
	sums := make([]Sum, len(r.lanes))
	for i, l := range r.lanes {
		counts, open := l.ledger.counts()
		sums[i] = Sum{Lane: l.lane.Name, Counts: counts, Open: open}
	}
	return sums
}

// Sum is what one lane has counted.
type Sum struct {
	Lane   string                    // its name
	Counts [record.NumClasses]uint64 // slots by record.Class
	Open   uint64                    // slots that fell due and have no outcome yet
}

// Stop ends the present phase and the load, waits for the requests that are
// under way (at most their timeout), writes the last windows and closes the
// sinks. It returns the errors of lanes that were lost, joined; calling it
// again returns the same.
func (r *Running) Stop() error {
	r.stopOnce.Do(func() {
		r.unhook()
		r.mu.Lock()
		r.stopped = true
		r.events.Record(timeline.SourceRun, timeline.KindPhaseEnd, "phase/"+r.phase, nil)
		r.mu.Unlock()
		for _, l := range r.lanes {
			l.stop()
		}
		var errs []error
		for _, l := range r.lanes {
			<-l.done
			if l.err != nil {
				errs = append(errs, fmt.Errorf("lane %s: %w", l.lane.Name, l.err))
			}
		}
		close(r.lost)
		r.err = errors.Join(errs...)
	})
	return r.err
}
