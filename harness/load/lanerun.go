package load

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// generator sends the slots of a lane.
type generator interface {
	// next marks the beginning of another phase. It does not block.
	next()
	// stop ends run soon. It does not block.
	stop()
	// run sends until stop and returns when every request has come back.
	run(ctx context.Context) error
}

// laneRun is one lane while it runs: the generator that fills the ledger, and the
// goroutine that watches both and writes what is complete.
type laneRun struct {
	lane   Lane
	ledger *ledger
	gen    generator
	sink   LaneSink
	events *timeline.Recorder
	lost   chan<- LaneLost

	stopping atomic.Bool
	done     chan struct{} // closed when all is written, or the lane is lost
	err      error         // valid after done
}

const (
	flushInterval = 200 * time.Millisecond
	// grace is what a request may take beyond its timeout, and a generator
	// beyond its schedule, before the lane counts as lost. It is generous: on an
	// overloaded machine goroutines start late.
	grace = 5 * time.Second
)

// stop ends the lane soon. It does not block.
func (r *laneRun) stop() {
	r.stopping.Store(true)
	r.gen.stop()
}

func (r *laneRun) start(ctx context.Context) {
	subject := "lane/" + r.lane.Name
	r.events.Record(timeline.SourceLoad, timeline.KindLaneStart, subject, map[string]string{
		"kind": string(r.lane.Kind), "target": r.lane.Target, "rate": fmt.Sprint(r.lane.Rate),
	})
	ran := make(chan error, 1)
	go func() { ran <- r.gen.run(ctx) }()
	go func() {
		defer close(r.done)
		running, err := r.watch(ran)
		r.err = errors.Join(err, r.sink.Close())
		if r.err == nil {
			r.events.Record(timeline.SourceLoad, timeline.KindLaneEnd, subject, nil)
			return
		}
		r.gen.stop()
		at := r.events.Clock().Now()
		r.events.Record(timeline.SourceLoad, timeline.KindLaneLost, subject, map[string]string{"error": r.err.Error()})
		r.lost <- LaneLost{Lane: r.lane.Name, At: at, Err: r.err}
		if running {
			r.leave(ran)
		}
	}()
}

// leave waits for the generator of a lost lane, as long as its requests can take.
func (r *laneRun) leave(ran <-chan error) {
	t := time.NewTimer(maxLag + r.lane.Timeout + grace)
	defer t.Stop()
	select {
	case err := <-ran:
		r.err = errors.Join(r.err, err)
	case <-t.C:
	}
}

// watch writes windows until the generator has ended and all is written. An
// error means that the lane is lost; running, that its generator has not ended.
func (r *laneRun) watch(ran <-chan error) (running bool, err error) {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	silent := time.Duration(0)
	next := r.ledger.nextDue()
	for {
		select {
		case err := <-ran:
			return false, r.finish(err)
		case <-tick.C:
		}
		if _, err := r.ledger.flush(r.sink); err != nil {
			return true, fmt.Errorf("write the record: %w", err)
		}
		now := r.ledger.clock.Now()
		if err := r.ledger.overdue(now, grace); err != nil {
			return true, r.giveUp(err)
		}
		if r.stopping.Load() {
			// It waits for requests under way, which overdue watches.
			if silent += flushInterval; silent > r.lane.Timeout+maxLag+2*grace {
				return true, r.giveUp(errors.New("the generator does not stop"))
			}
			continue
		}
		// Ticks are counted instead of time, so that a machine that was
		// suspended is not taken for a generator that hangs.
		if due := r.ledger.nextDue(); due != next || now < time.Duration(due) {
			next, silent = due, 0
		} else if silent += flushInterval; silent > grace {
			return true, r.giveUp(errors.New("the generator hangs"))
		}
	}
}

// finish writes the last windows of a generator that has ended.
func (r *laneRun) finish(err error) error {
	if n := r.ledger.abandon(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d slots were never accounted for", n))
	}
	if _, e := r.ledger.flush(r.sink); e != nil {
		err = errors.Join(err, fmt.Errorf("write the record: %w", e))
	}
	return err
}

// giveUp writes what is complete and leaves the rest of the generator behind.
func (r *laneRun) giveUp(err error) error {
	r.gen.stop()
	_, e := r.ledger.flush(r.sink)
	return errors.Join(err, e)
}
