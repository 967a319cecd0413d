package timeline

import (
	"encoding/json"
	"io"
	"sync"
)

// Recorder writes events as they happen, one JSON line each. It is safe for
// concurrent use; events of one goroutine keep their order.
type Recorder struct {
	clock Clock
	mu    sync.Mutex
	w     io.Writer
	err   error
	taps  []func(Event)
}

// NewRecorder returns a recorder that stamps events by clock and writes them
// to w, unbuffered: an event that was recorded survives a crash of the process.
func NewRecorder(clock Clock, w io.Writer) *Recorder {
	return &Recorder{clock: clock, w: w}
}

// Clock returns the clock that stamps this recorder's events.
func (r *Recorder) Clock() Clock { return r.clock }

// Tap registers f to see every later event after it was written. f must not
// block and must not record events itself.
func (r *Recorder) Tap(f func(Event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taps = append(r.taps, f)
}

// Record writes an event stamped with the present instant.
func (r *Recorder) Record(source, kind, subject string, detail map[string]string) {
	r.Add(Event{T: int64(r.clock.Now()), Source: source, Kind: kind, Subject: subject, Detail: detail})
}

// Add writes an event that carries its own offset.
func (r *Recorder) Add(e Event) {
	line, err := json.Marshal(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		_, err = r.w.Write(append(line, '\n'))
	}
	if err != nil && r.err == nil {
		r.err = err
	}
	for _, f := range r.taps {
		f(e)
	}
}

// Err returns the first error met while writing: a full disk must not end the
// rehearsal half-way, but it must end it without a verdict.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
