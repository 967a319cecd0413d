package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/agent"
)

// Offset is what one exchange tells of an agent's clock: the agent reads Offset more
// than the runner at the same instant, within Bound either way.
type Offset struct{ Offset, Bound time.Duration }

// exchange is the clock filter's input of NTP (RFC 5905, section 8): the question
// left at t1 and the answer came at t4, by the runner's clock; it came at t2 and left
// at t3, by the agent's. Whatever the two ways took, the true offset is within half
// of what both took together (Cristian 1989, Probabilistic Clock Synchronization).
func exchange(t1, t2, t3, t4 int64) Offset {
	return Offset{
		Offset: time.Duration(((t2 - t1) + (t3 - t4)) / 2),
		Bound:  time.Duration((t4-t1)-(t3-t2)) / 2,
	}
}

// certain is by how much the clock is off at least, given the bound.
func (o Offset) certain() time.Duration { return max(o.Offset.Abs()-o.Bound, 0) }

// String says it as people do.
func (o Offset) String() string {
	return fmt.Sprintf("%s ± %s", o.Offset.Round(10*time.Microsecond), o.Bound.Round(10*time.Microsecond))
}

// Exchanges are made until so many have been answered; the best of them counts,
// which is the quickest. Of so many, one is hardly ever held up.
const (
	exchanges     = 16
	exchangeEvery = 50 * time.Millisecond
)

// measure asks an agent's clock again and again. Whether its clock is zeroed by then
// is the caller's business; zero is subtracted from what it reads.
func (m *member) measure(ctx context.Context, zero int64) (best Offset, err error) {
	var last error
	got, failed := false, 0
	for i := 0; i < exchanges && failed < 3; i++ {
		if i > 0 {
			if err := pause(ctx, exchangeEvery); err != nil {
				return best, err
			}
		}
		o, err := m.askClock(ctx, zero)
		switch {
		case err != nil:
			last = err
			failed++
		case !got || o.Bound < best.Bound:
			best, got = o, true
		}
	}
	if !got {
		return best, fmt.Errorf("%s: ask its clock: %w", m, last)
	}
	return best, nil
}

func (m *member) askClock(ctx context.Context, zero int64) (Offset, error) {
	t1 := int64(m.clock.Now())
	body, err := m.do(ctx, "GET", agent.PathClock, "", nil)
	t4 := int64(m.clock.Now())
	if err != nil {
		return Offset{}, err
	}
	var a agent.ClockAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return Offset{}, fmt.Errorf("its clock's answer: %w", err)
	}
	if a.Boot != m.boot {
		return Offset{}, errRestarted
	}
	return exchange(t1, a.Received-zero, a.Sent-zero, t4), nil
}

var errRestarted = errors.New("another process answers in its place: it was restarted")

// pause waits, or returns the cause of the context's end.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
