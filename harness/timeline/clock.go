package timeline

import "time"

// Clock gives offsets from the start of one run. All lanes, probes and watches
// of a run share one Clock, so that their data can be laid over each other.
// It is safe for concurrent use.
type Clock struct{ start time.Time }

// NewClock returns a clock whose offset zero is the instant start. The value
// must carry a monotonic reading (time.Now does), or a step of the wall clock
// would show as a jump of the timeline.
func NewClock(start time.Time) Clock { return Clock{start: start} }

// Start returns the instant of offset zero.
func (c Clock) Start() time.Time { return c.start }

// Now returns the offset of the present instant.
func (c Clock) Now() time.Duration { return time.Since(c.start) }

// At returns the offset of t, which may be negative.
func (c Clock) At(t time.Time) time.Duration { return t.Sub(c.start) }
