package load

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// MergeConfig is what Merge needs.
type MergeConfig struct {
	// Lanes, in the order in which every engine was given them, without Part.
	Lanes []Lane
	// At is the Config.At of every engine.
	At time.Duration
	// Engines names them, by Index.
	Engines []string
	// Open is called once for each lane, for what all engines have sent of it, and
	// OpenPart once for each of the engines, for what that one has. OpenPart's sink
	// is given windows, and no single requests.
	Open     func(record.Lane) (LaneSink, error)
	OpenPart func(l record.Lane, index int) (LaneSink, error)
	// Observer sees the windows of the lanes, not those of each engine.
	Observer Observer
}

// Merger makes one lane of what several engines have sent, each its Part. What it
// writes is what one engine would have written that had sent the same slots with
// the same outcome: it is made by the same ledger, from the slots in the order in
// which they fell due and were answered. So every count, histogram and span is the
// same, and not an estimate.
//
// Its methods are safe for concurrent use.
type Merger struct {
	lane    Lane
	engines []string

	mu     sync.Mutex
	whole  *replay
	parts  []*replay
	closed bool
	err    error // of a sink: the lane is lost
}

// Merge returns a Merger for each lane. Its error is that of Open or OpenPart;
// then every sink is closed.
func Merge(c MergeConfig) (mergers []*Merger, err error) {
	defer func() {
		if err != nil {
			for _, m := range mergers {
				_ = m.Close() // nothing was written; the error that counts is err
			}
			mergers = nil
		}
	}()
	for i, l := range c.Lanes {
		l = l.resolved()
		sched := schedule{rate: l.Rate, origin: int64(c.At) + turn(i, len(c.Lanes), l.Rate)}
		sink, err := c.Open(l.Record())
		if err != nil {
			return mergers, fmt.Errorf("lane %s: %w", l.Name, err)
		}
		m := &Merger{lane: l, engines: c.Engines, whole: newReplay(sched, len(c.Engines), c.Observer.sink(l.Record(), sink))}
		mergers = append(mergers, m)
		for k := range c.Engines {
			part, err := c.OpenPart(l.Record(), k)
			if err != nil {
				return mergers, fmt.Errorf("lane %s, %s: %w", l.Name, c.Engines[k], err)
			}
			sched.part = Part{Index: k, Of: len(c.Engines)}
			m.parts = append(m.parts, newReplay(sched, 1, part))
		}
	}
	return mergers, nil
}

// Lane returns the lane as run.json describes it.
func (m *Merger) Lane() record.Lane { return m.lane.Record() }

// SinkError is an error of a sink: the lane is lost, whoever sends it.
type SinkError struct{ Err error }

// Error implements error.
func (e *SinkError) Error() string { return "write the record: " + e.Err.Error() }

// Unwrap returns the sink's error.
func (e *SinkError) Unwrap() error { return e.Err }

// Add takes the next second of engine index, in order and each once. It writes the
// windows that are complete of all engines. A *SinkError means that the lane is
// lost; any other error that what the engine tells cannot be, and is not used. The
// second is the Merger's to keep.
func (m *Merger) Add(index int, s *Second) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.err != nil {
		return m.err
	}
	if m.whole.sources[index].over {
		return fmt.Errorf("lane %s: %s was given up", m.lane.Name, m.engines[index])
	}
	for i := range s.Requests {
		s.Requests[i].Agent = m.engines[index]
	}
	part := m.parts[index]
	if err := part.add(0, &Second{Second: s.Second, First: s.First, Slots: s.Slots}); err != nil {
		return fmt.Errorf("lane %s of %s: %w", m.lane.Name, m.engines[index], err)
	}
	if err := m.whole.add(index, s); err != nil {
		return fmt.Errorf("lane %s of %s: %w", m.lane.Name, m.engines[index], err)
	}
	return m.run(part)
}

func (m *Merger) run(part *replay) error {
	if err := errors.Join(part.run(), m.whole.run()); err != nil {
		m.err = &SinkError{err}
	}
	return m.err
}

// Leave says that engine index tells nothing more: it was stopped, or is lost.
// From then on the windows hold what the others have sent.
func (m *Merger) Leave(index int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.err != nil || m.whole.sources[index].over {
		return m.err
	}
	m.whole.sources[index].over = true
	return m.run(m.parts[index])
}

// Sum returns the outcomes of the slots up to which all engines have told.
func (m *Merger) Sum() Sum {
	counts, open := m.whole.ledger.counts()
	return Sum{Lane: m.lane.Name, Counts: counts, Open: open}
}

// Close writes what is left and closes the sinks; closing again returns the same.
func (m *Merger) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return m.err
	}
	m.closed = true
	var errs []error
	for _, p := range m.parts {
		errs = append(errs, p.close())
	}
	errs = append(errs, m.whole.close())
	if err := errors.Join(errs...); err != nil && m.err == nil {
		m.err = &SinkError{err}
	}
	return m.err
}
