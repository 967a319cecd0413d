package load

import (
	"fmt"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// ledger accounts for every slot of one lane, from the moment it falls due to
// its outcome, and turns the slots of each second into a record.Window as soon
// as none of them is open. Its memory is that of the open windows, however long
// the run.
type ledger struct {
	sched   schedule
	timeout time.Duration
	clock   timeline.Clock

	mu    sync.Mutex
	open  []*openWindow // one for each second, without gaps
	next  int64         // the slot that falls due next
	ended bool          // no slot will be opened any more
	sums  [record.NumClasses]uint64
	// absents are the slots of which nobody tells, see replay.
	absents uint64
	stalls  stalls
	free    []*openWindow

	singles singleBudget
	dense   [2]record.Dense // scratch for latency and send lag
}

// openWindow is one second while its slots are being served.
type openWindow struct {
	second   int64
	first    int64 // the slot at slots[0]
	pending  int
	newConns uint64
	slots    []slot
	failed   sampler
	slow     sampler
}

// slot is the state of one slot, in microseconds.
type slot struct {
	lag, latency uint32
	class        record.Class
	pending      bool
	stalled      bool
	opened       bool // a connection
	absent       bool // nobody tells what became of it: see replay
}

func newLedger(sched schedule, timeout time.Duration, clock timeline.Clock) *ledger {
	return &ledger{sched: sched, timeout: timeout, clock: clock, stalls: newStalls(sched.rate), singles: singleBudget{left: maxSingles}}
}

// begin opens the next slot and returns it. Only the lane's pacer calls it.
func (l *ledger) begin() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.next
	l.next++
	w := l.windowFor(l.sched.due(i) / 1e9)
	if len(w.slots) == 0 {
		w.first = i
	}
	w.slots = append(w.slots, slot{pending: true})
	w.pending++
	return i
}

// nextDue returns when the next slot falls due.
func (l *ledger) nextDue() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sched.due(l.next)
}

// windowFor returns the last open window, which is that of second, opening
// windows up to it.
func (l *ledger) windowFor(second int64) *openWindow {
	if len(l.open) == 0 {
		l.open = append(l.open, l.newWindow(second))
	}
	for {
		last := l.open[len(l.open)-1]
		if last.second >= second {
			return last
		}
		l.open = append(l.open, l.newWindow(last.second+1))
	}
}

func (l *ledger) newWindow(second int64) *openWindow {
	if n := len(l.free); n > 0 {
		w := l.free[n-1]
		l.free = l.free[:n-1]
		*w = openWindow{second: second, slots: w.slots[:0], failed: w.failed.reset(), slow: w.slow.reset()}
		return w
	}
	return &openWindow{second: second}
}

// unsent closes a slot that could not be sent.
func (l *ledger) unsent(i int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, s := l.at(i)
	l.close(w, s, record.Unsent)
}

// at returns an open slot and its window.
func (l *ledger) at(i int64) (*openWindow, *slot) {
	w := l.open[l.sched.due(i)/1e9-l.open[0].second]
	return w, &w.slots[i-w.first]
}

func (l *ledger) close(w *openWindow, s *slot, c record.Class) {
	s.class, s.pending = c, false
	w.pending--
	l.sums[c]++
}

// resolve closes a slot by what became of its request.
func (l *ledger) resolve(i int64, c record.Class, text string, a *http1.Answer) {
	due := l.sched.due(i)
	sent, done := int64(l.clock.At(a.Sent)), int64(l.clock.At(a.Done))
	if c == record.Unsent {
		l.unsent(i)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w, s := l.at(i)
	s.lag, s.latency = micros(sent-due), micros(done-due)
	if s.opened = !a.Reused && a.Stage > http1.StageDial; s.opened {
		w.newConns++
	}
	// A timeout is no answer: the target is as silent as before.
	if c != record.TimeoutConnect && c != record.TimeoutResponse {
		l.stalls.answered(done)
	}
	l.close(w, s, c)
	switch {
	case c != record.OK:
		w.failed.see(func() record.Request { return single(due, sent, done, c, text, a) })
	case done-due >= l.stalls.slow():
		w.slow.see(func() record.Request { return single(due, sent, done, c, text, a) })
	}
}

func micros(ns int64) uint32 { return uint32(min(max(ns, 0)/1000, 1<<32-1)) }

// end says that no further slot falls due.
func (l *ledger) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// abandon closes the slots that are still open as unsent and returns how many
// there were. It is for a lane whose generator died.
func (l *ledger) abandon() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, w := range l.open {
		for i := range w.slots {
			if w.slots[i].pending {
				l.close(w, &w.slots[i], record.Unsent)
				n++
			}
		}
	}
	l.ended = true
	return n
}

// counts returns the outcomes up to now, and how many slots have none yet.
func (l *ledger) counts() (sums [record.NumClasses]uint64, open uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	open = uint64(l.next)
	for _, n := range l.sums {
		open -= n
	}
	open -= l.absents
	return l.sums, open
}

// flush writes the windows that are complete to sink, in order, and reports
// whether all are written.
func (l *ledger) flush(sink LaneSink) (all bool, err error) {
	for {
		l.mu.Lock()
		if len(l.open) == 0 {
			defer l.mu.Unlock()
			return l.ended, nil
		}
		w := l.open[0]
		// Until a later slot was opened, this second may get another one.
		if w.pending > 0 || len(l.open) == 1 && !l.ended {
			defer l.mu.Unlock()
			return false, nil
		}
		l.open = l.open[1:]
		win, requests := l.finish(w)
		l.mu.Unlock()

		if s, ok := sink.(SlotSink); ok {
			if err := s.WriteSlots(secondOf(w, requests)); err != nil {
				return false, err
			}
			l.recycle(w)
			continue
		}
		for i := range requests {
			if err := sink.WriteRequest(&requests[i]); err != nil {
				return false, err
			}
		}
		if err := sink.WriteWindow(&win); err != nil {
			return false, err
		}
		l.recycle(w)
	}
}

// recycle keeps the arrays of a window that was written.
func (l *ledger) recycle(w *openWindow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) < 4 {
		l.free = append(l.free, w)
	}
}

// overdue reports the oldest slot that is open although its request must have
// timed out long ago.
func (l *ledger) overdue(now, grace time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) == 0 || l.open[0].pending == 0 {
		return nil
	}
	w := l.open[0]
	if end := time.Duration(w.second+1)*time.Second + maxLag + l.timeout + grace; now > end {
		return fmt.Errorf("%d requests of second %d did not come back %s after their timeout", w.pending, w.second, grace)
	}
	return nil
}

// finish makes the window of w. The caller holds l.mu.
func (l *ledger) finish(w *openWindow) (record.Window, []record.Request) {
	win := record.Window{Second: w.second, NewConns: w.newConns}
	latency, lag := &l.dense[0], &l.dense[1]
	latency.Reset()
	lag.Reset()
	l.stalls.mark(w, l.sched)
	stalled := false
	for i := range w.slots {
		s := &w.slots[i]
		if s.absent {
			continue
		}
		win.Counts[s.class]++
		if s.class == record.OK {
			latency.Add(uint64(s.latency))
			stalled = stalled || s.stalled
		}
		if s.class != record.Unsent {
			lag.Add(uint64(s.lag))
		}
	}
	win.Latency, win.SendLag = latency.Histogram(), lag.Histogram()
	win.Spans = spansOf(w, l.sched)
	if !stalled && win.Counts[record.OK] > 0 {
		l.stalls.typical = int64(latency.Quantile(0.5)) * 1000
	}
	l.stalls.forget(w.second)
	requests, dropped := l.singles.choose(w)
	win.Dropped = dropped
	return win, requests
}
