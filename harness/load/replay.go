package load

import (
	"container/heap"
	"fmt"
	"math"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// replay puts slots that were sent elsewhere into a ledger, in the order in which
// they fell due and were answered: so the ledger, which makes the windows, cannot
// tell them from its own engine's.
//
// Slot i comes from source i mod len(sources). What fell due or was answered before
// every source has told all about is never looked at again, so what is kept is
// what the slowest source is behind.
type replay struct {
	ledger  *ledger
	sink    LaneSink
	sources []source
	ends    ends
	flushed int64
}

// source is one engine's share.
type source struct {
	next    int64     // its slot that is expected next
	known   int64     // all that fell due before is told
	over    bool      // no more will come
	pending []*Second // told and not replayed yet
	at      int       // of pending[0], the slots that were
	single  int       // of pending[0], the single requests that were
}

func newReplay(sched schedule, sources int, sink LaneSink) *replay {
	return &replay{
		ledger:  &ledger{sched: sched, stalls: newStalls(sched.rate), singles: singleBudget{left: maxSingles}},
		sources: make([]source, sources), sink: sink,
	}
}

// add takes the next second of a source. An error says that it cannot be that.
func (r *replay) add(from int, s *Second) error {
	src := &r.sources[from]
	if s.Second*1e9 < src.known {
		return fmt.Errorf("second %d was told before", s.Second)
	}
	if n := len(s.Slots); n > 0 {
		if s.First != src.next {
			return fmt.Errorf("second %d begins with slot %d; slot %d was expected", s.Second, s.First, src.next)
		}
		first, last := r.due(from, s.First), r.due(from, s.First+int64(n)-1)
		if first/1e9 != s.Second || last/1e9 != s.Second {
			return fmt.Errorf("its %d slots from %d on do not fall due in second %d: its schedule is another", n, s.First, s.Second)
		}
		src.next += int64(n)
		src.pending = append(src.pending, s)
	}
	src.known = (s.Second + 1) * 1e9
	return nil
}

// due returns when a source's slot i fell due.
func (r *replay) due(from int, i int64) int64 {
	return r.ledger.sched.due(i*int64(len(r.sources)) + int64(from))
}

// run replays what is known of all sources.
func (r *replay) run() error {
	until, most := int64(math.MaxInt64), int64(0)
	for i := range r.sources {
		most = max(most, r.sources[i].known)
		if !r.sources[i].over {
			until = min(until, r.sources[i].known)
		}
	}
	return r.replayTo(min(until, most))
}

func (r *replay) replayTo(until int64) error {
	for {
		due := r.ledger.nextDue()
		r.endTo(min(due, until))
		if due >= until {
			break
		}
		r.begin(due)
		if due-r.flushed >= int64(flushInterval) {
			r.flushed = due
			if _, err := r.ledger.flush(r.sink); err != nil {
				return err
			}
		}
	}
	_, err := r.ledger.flush(r.sink)
	return err
}

// begin opens the next slot.
func (r *replay) begin(due int64) {
	i := r.ledger.begin()
	src := &r.sources[i%int64(len(r.sources))]
	e := end{slot: i}
	var ok bool
	if e.told, e.single, ok = src.take(i/int64(len(r.sources)), due); !ok {
		r.ledger.absent(i)
		return
	}
	e.at = due + int64(e.told.Latency)*1000
	if e.told.Class == record.Unsent {
		e.at = due + int64(maxLag)
	}
	heap.Push(&r.ends, e)
}

// take returns a source's slot i, which is its next one, with its single record if
// there is one, and whether it was told.
func (s *source) take(i, due int64) (slot Slot, single *record.Request, ok bool) {
	if len(s.pending) == 0 || s.pending[0].First+int64(s.at) != i {
		return Slot{}, nil, false
	}
	first := s.pending[0]
	slot = first.Slots[s.at]
	for s.single < len(first.Requests) && first.Requests[s.single].Due < due {
		s.single++
	}
	if s.single < len(first.Requests) && first.Requests[s.single].Due == due {
		single = &first.Requests[s.single]
	}
	if s.at++; s.at == len(first.Slots) {
		s.pending[0] = nil
		s.pending, s.at, s.single = s.pending[1:], 0, 0
	}
	return slot, single, true
}

// endTo closes the slots that were answered up to then.
func (r *replay) endTo(until int64) {
	for len(r.ends) > 0 && r.ends[0].at <= until {
		e := heap.Pop(&r.ends).(end)
		r.ledger.told(e)
	}
}

// close replays all that was told, says that there is no more, and closes the sink.
func (r *replay) close() error {
	for i := range r.sources {
		r.sources[i].over = true
	}
	err := r.run()
	r.endTo(math.MaxInt64)
	r.ledger.end()
	if err == nil {
		_, err = r.ledger.flush(r.sink)
	}
	if e := r.sink.Close(); err == nil {
		err = e
	}
	return err
}

// absent closes a slot of which nobody tells what became of it: it is left out of
// its window.
func (l *ledger) absent(i int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, s := l.at(i)
	s.class, s.absent, s.pending = record.Unsent, true, false
	w.pending--
	l.absents++
}

// told closes a slot by what another engine has told of it; see resolve.
func (l *ledger) told(e end) {
	if e.told.Class == record.Unsent {
		l.unsent(e.slot)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w, s := l.at(e.slot)
	s.lag, s.latency, s.opened = e.told.Lag, e.told.Latency, e.told.Opened
	if s.opened {
		w.newConns++
	}
	c := e.told.Class
	if c != record.TimeoutConnect && c != record.TimeoutResponse {
		l.stalls.answered(e.at)
	}
	l.close(w, s, c)
	switch {
	case c != record.OK:
		w.failed.told(e.single)
	case int64(s.latency)*1000 >= l.stalls.slow():
		w.slow.told(e.single)
	}
}

// told counts a request of which another engine's sampler may have kept a single
// record; those are few already.
func (s *sampler) told(r *record.Request) {
	s.seen++
	if r != nil {
		s.kept = append(s.kept, *r)
	}
}

// end is the moment at which a slot has its outcome.
type end struct {
	at     int64
	slot   int64
	told   Slot
	single *record.Request
}

// ends is a heap of them by time.
type ends []end

func (h ends) Len() int { return len(h) }
func (h ends) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].slot < h[j].slot
}
func (h ends) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *ends) Push(x any)   { *h = append(*h, x.(end)) }
func (h *ends) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
