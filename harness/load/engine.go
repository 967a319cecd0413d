package load

import (
	"context"
	"errors"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// LaneSink takes what one lane records. One goroutine at a time calls it;
// windows come in order of Second and without gaps. *record.LaneWriter is one.
type LaneSink interface {
	WriteWindow(*record.Window) error
	WriteRequest(*record.Request) error
	Close() error
}

// Config is what Start needs.
type Config struct {
	Lanes []Lane
	// Timeline receives the phases and the lanes' own events, and gives the
	// clock that all offsets refer to.
	Timeline *timeline.Recorder
	// Open is called once for each lane, before any load is sent.
	Open func(record.Lane) (LaneSink, error)
}

// ToDir returns an Open that writes to a run directory.
func ToDir(d *record.Dir) func(record.Lane) (LaneSink, error) {
	return func(l record.Lane) (LaneSink, error) { return d.Lane(l) }
}

// LaneLost says that a lane's generator died. Its data end at At; without them
// no verdict is possible.
type LaneLost struct {
	Lane string
	At   time.Duration // offset from the run's start
	Err  error
}

// Running is load that is being sent. Its methods are safe for concurrent use.
type Running struct{}

// Start validates the lanes, opens their sinks and begins to send at the next
// full second of the clock, in phase (for example timeline.PhaseWarmup). It
// returns at once. The load ends with Stop, or when ctx ends; Stop must be
// called in either case.
func Start(ctx context.Context, c Config, phase string) (*Running, error) {
	return nil, errors.New("not written yet")
}

// Phase ends the present phase and begins the next, on all lanes, and writes
// both to the timeline. No slot is lost or sent twice. It does not block.
func (r *Running) Phase(name string) {}

// Lost delivers one value for each lane that dies, and is closed by Stop. It
// need not be read.
func (r *Running) Lost() <-chan LaneLost { return nil }

// Sums returns what every lane has counted up to now, in the order of
// Config.Lanes: for progress lines.
func (r *Running) Sums() []Sum { return nil }

// Sum is what one lane has counted.
type Sum struct {
	Lane   string
	Counts [record.NumClasses]uint64
}

// Stop ends the present phase and the load, waits for the requests that are
// under way (at most their timeout), writes the last windows and closes the
// sinks. It returns the errors of lanes that were lost, joined; calling it
// again returns the same.
func (r *Running) Stop() error { return nil }

// Probe sends the lane's request once and returns nil where it was answered as
// the lane expects. Otherwise the error says why in a sentence that names lane
// and target: the name does not resolve, the connection is refused, the status
// is another, the body is cut.
func Probe(ctx context.Context, l Lane) error { return errors.New("not written yet") }
