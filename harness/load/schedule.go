package load

import (
	"math"
	"time"
)

// maxLag is how late a slot may be sent. One that could not be sent by then is
// unsent: sending it all the same would be load that nobody asked for, at a time
// nobody asked for it. A backlog of maxLag is caught up within a second, and a
// slot sent later than that would say nothing of the moment that it stands for
// (docs/decisions/0031).
const maxLag = 100 * time.Millisecond

// Bounds of catching up. After a pause of the runner, slots that are not yet too
// late are sent at catchUp times the rate after a burst of burstTime; in any
// second that is at most catchUp·(1+burstTime)·rate + 1, below 1.2 times the
// rate from 16 requests a second up.
const (
	catchUp   = 1.1
	burstTime = 30 * time.Millisecond
)

// schedule says when slots are due, in nanoseconds from the run's start.
type schedule struct {
	origin int64
	rate   float64 // of the whole lane, a second
	part   Part    // slots are counted within it
}

// due returns when slot i is due. Of a part it is the very number that one engine
// has for the same slot of the whole, and not its rate's own multiple.
func (s schedule) due(i int64) int64 {
	return s.origin + int64(math.Round(float64(s.part.slot(i))*1e9/s.rate))
}

// limiter spaces sends: the generic cell rate algorithm of ITU-T I.371.
type limiter struct {
	step float64 // ns between sends when catching up
	tat  float64 // theoretical arrival time
}

func newLimiter(rate float64) limiter {
	return limiter{step: 1e9 / (catchUp * rate), tat: math.Inf(-1)}
}

// earliest returns when the next send may happen.
func (l *limiter) earliest() int64 {
	if math.IsInf(l.tat, -1) {
		return math.MinInt64
	}
	return int64(math.Ceil(l.tat)) - int64(burstTime)
}

// take accounts for a send at time at.
func (l *limiter) take(at int64) { l.tat = max(l.tat, float64(at)) + l.step }
