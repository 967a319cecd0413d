package load

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Part is what one of several engines sends of a lane: slot i of the lane's
// schedule belongs to the engine with Index i mod Of. Together they send every
// slot once, each at the time at which a single engine would have sent it. The
// zero value is the whole.
type Part struct {
	Index int `json:"index"` // from 0
	Of    int `json:"of"`    // engines
}

// MaxParts is the most engines that may share a lane.
const MaxParts = 100

func (p Part) of() int { return max(p.Of, 1) }

// slot returns the number within the whole of slot i of the part.
func (p Part) slot(i int64) int64 { return i*int64(p.of()) + int64(p.Index) }

func (p Part) validate() error {
	if p == (Part{}) || 0 <= p.Index && p.Index < p.Of && p.Of <= MaxParts {
		return nil
	}
	return fmt.Errorf("part %d of %d; parts are numbered from 0, and there are at most %d", p.Index, p.Of, MaxParts)
}

// Slot is what became of one slot.
type Slot struct {
	// Lag is how late it was sent, and Latency how late its answer was whole, both
	// after its due time and in microseconds. Of an unsent slot both are 0.
	Lag, Latency uint32
	Class        record.Class
	Opened       bool // a connection for it
}

// Second is what became of the slots that fell due in one second of a lane, or of
// a part of one.
type Second struct {
	Second int64 // offset from the run's start
	// First is the number of Slots[0] within the part; without slots it is 0.
	First int64
	Slots []Slot
	// Requests are some of the failed and slow ones, in order of Due.
	Requests []record.Request
}

// SlotSink is a LaneSink that wants to be told every single slot. Its WriteWindow
// and WriteRequest are never called.
type SlotSink interface {
	LaneSink
	// WriteSlots takes a second when the last of its slots has its outcome, in order
	// and without gaps. It is the sink's to keep.
	WriteSlots(*Second) error
}

// secondOf copies what a window's slots came to.
func secondOf(w *openWindow, requests []record.Request) *Second {
	s := &Second{Second: w.second, Slots: make([]Slot, len(w.slots))}
	if len(w.slots) > 0 {
		s.First = w.first
	}
	for i := range w.slots {
		x := &w.slots[i]
		s.Slots[i] = Slot{Lag: x.lag, Latency: x.latency, Class: x.class, Opened: x.opened}
	}
	s.Requests = append(s.Requests, requests...)
	return s
}
