package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// shooter sends the slots of a lane by vegeta attacks, one after the other. The
// schedule and the connections are the lane's, so that an attack goes on exactly
// where the one before it stopped.
type shooter struct {
	lane   Lane
	clock  timeline.Clock
	ledger *ledger
	client client
	expect expectation

	limit   limiter // of the one pacer that is running
	wake    chan struct{}
	phase   atomic.Int64 // counts phases; an attack ends when it changes
	stopped atomic.Bool

	died    chan struct{} // closed with err set
	dieOnce sync.Once
	err     error
}

func newShooter(l Lane, clock timeline.Clock, ledger *ledger, c client) *shooter {
	return &shooter{
		lane: l, clock: clock, ledger: ledger, client: c, expect: expectationOf(l),
		limit: newLimiter(l.ownRate()), wake: make(chan struct{}, 1), died: make(chan struct{}),
	}
}

// maxWorkers bounds the requests under way: what the rate and the timeout allow,
// with catching up, and a margin for workers between two requests.
func maxWorkers(l Lane) uint64 {
	return uint64(math.Ceil(l.ownRate()*(l.Timeout+maxLag).Seconds()*catchUp)) + 16
}

// next ends the present attack and begins another one.
func (s *shooter) next() {
	s.phase.Add(1)
	s.nudge()
}

// stop ends the last attack. It does not wait.
func (s *shooter) stop() {
	s.stopped.Store(true)
	s.next()
}

func (s *shooter) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // the pacer has not seen the last one yet
	}
}

// die ends the lane by an error.
func (s *shooter) die(err error) {
	s.dieOnce.Do(func() {
		s.err = err
		close(s.died)
		s.stop()
	})
}

// run sends until stop or until the lane dies. It returns when every request has
// come back.
func (s *shooter) run(context.Context) error {
	var wg sync.WaitGroup
	for !s.stopped.Load() {
		a := newAttack(s)
		results := a.attacker.Attack(a.target, a, 0, "")
		wg.Go(func() {
			for range results {
				// Outcomes went to the ledger where the request was sent.
			}
			a.drained()
		})
		<-a.paced
	}
	wg.Wait()
	s.client.Close()
	select {
	case <-s.died:
		return s.err
	default:
		return nil
	}
}

// attack is one vegeta attack: its pacer, and the transport of its client.
type attack struct {
	*shooter
	attacker *vegeta.Attacker
	number   int64 // the phase it is for
	paced    chan struct{}
	once     sync.Once
	// slots holds the slot of each hit, by the hit's number modulo its length.
	// It is longer than there are workers, so no entry is overwritten before
	// its worker has read it.
	slots []atomic.Int64
}

func newAttack(s *shooter) *attack {
	workers := maxWorkers(s.lane)
	a := &attack{
		shooter: s, number: s.phase.Load(), paced: make(chan struct{}),
		slots: make([]atomic.Int64, 1<<bits.Len64(2*workers)),
	}
	a.attacker = vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: a}),
		vegeta.Workers(min(workers, vegeta.DefaultWorkers)),
		vegeta.MaxWorkers(workers),
	)
	return a
}

// target is vegeta's Targeter. The request it describes is only a token: the
// lane's client has the real one.
func (a *attack) target(t *vegeta.Target) error {
	t.Method, t.URL = http.MethodGet, a.lane.Target
	return nil
}

// Rate implements vegeta.Pacer.
func (a *attack) Rate(time.Duration) float64 { return a.lane.ownRate() }

// patience is the longest wait that is left to vegeta, which cannot be woken.
const patience = 20 * time.Millisecond

// Pace implements vegeta.Pacer: it takes the slot that falls due next. Vegeta's
// own idea of the time elapsed is not used; all attacks of a lane follow one
// schedule on the run's clock.
func (a *attack) Pace(_ time.Duration, hits uint64) (wait time.Duration, stop bool) {
	defer func() {
		if r := recover(); r != nil {
			a.die(fmt.Errorf("the pacer panicked: %v\n%s", r, debug.Stack()))
			stop = true
		}
		if stop {
			a.end()
		}
	}()
	for a.number == a.phase.Load() {
		now := int64(a.clock.Now())
		due := a.ledger.nextDue()
		at := max(due, a.limit.earliest(), now)
		if at > due+int64(maxLag) {
			a.ledger.unsent(a.ledger.begin())
			continue
		}
		wait := time.Duration(at - now)
		if wait > patience {
			a.sleep(wait - patience/2)
			continue
		}
		a.limit.take(at)
		a.slots[hits%uint64(len(a.slots))].Store(a.ledger.begin())
		return wait, false
	}
	return 0, true
}

// sleep waits for d or until something has changed.
func (a *attack) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.wake:
	}
}

// end lets the next attack begin.
func (a *attack) end() { a.once.Do(func() { close(a.paced) }) }

// drained is called when the attack's last request has come back.
func (a *attack) drained() {
	if a.number == a.phase.Load() {
		a.die(errors.New("the attack ended by itself"))
	}
	a.end()
}

// answered is what vegeta is told of every request; it only counts them.
var answered = &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}

var answers = sync.Pool{New: func() any { return new(http1.Answer) }}

// RoundTrip implements http.RoundTripper for vegeta: it sends the request of the
// hit's slot, reads the whole answer and accounts for it.
func (a *attack) RoundTrip(req *http.Request) (*http.Response, error) {
	defer func() {
		if r := recover(); r != nil {
			a.die(fmt.Errorf("a request panicked: %v\n%s", r, debug.Stack()))
		}
	}()
	seq, err := strconv.ParseUint(req.Header.Get("X-Vegeta-Seq"), 10, 64)
	if err != nil {
		a.die(fmt.Errorf("vegeta's sequence number: %w", err))
		return answered, nil
	}
	a.send(a.slots[seq%uint64(len(a.slots))].Load())
	return answered, nil
}

// send sends the request of slot i, unless it is too late for that.
func (a *attack) send(i int64) {
	if int64(a.clock.Now())-a.ledger.sched.due(i) > int64(maxLag) {
		a.ledger.unsent(i)
		return
	}
	answer := answers.Get().(*http1.Answer)
	a.client.Do(time.Now().Add(a.lane.Timeout), answer)
	class, text := a.expect.classify(answer)
	a.ledger.resolve(i, class, text, answer)
	answers.Put(answer)
}
