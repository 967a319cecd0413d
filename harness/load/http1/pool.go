package http1

import (
	"sync"
	"time"
)

// pool holds the idle connections of a Client. They are used in turn, the one
// that rested longest first, so that a service's whole set of endpoints stays
// in use; a last-in-first-out pool would measure one or two of them.
type pool struct {
	least int

	mu   sync.Mutex
	idle []*conn // a ring: idle[head], idle[head+1], ...
	head int
	size int

	// open counts connections that are idle, in use or being opened; peak is the
	// largest number in use at once during the present and the previous period.
	open    int
	peak    [2]int
	period  time.Time
	stopped bool
}

// peakPeriod is how long a surge of requests keeps its connections.
const peakPeriod = 5 * time.Second

// take returns an idle connection, or nil where a new one is to be opened, which
// it then counts as open.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size == 0 || p.open < p.least {
		p.open++
		p.note()
		return nil
	}
	c := p.idle[p.head]
	p.idle[p.head] = nil
	p.head = (p.head + 1) % len(p.idle)
	p.size--
	p.note()
	return c
}

// note keeps the peak of connections in use.
func (p *pool) note() {
	p.peak[0] = max(p.peak[0], p.open-p.size)
}

// put makes c idle, or closes it where there are more than were needed lately.
func (p *pool) put(c *conn) {
	now := c.used
	p.mu.Lock()
	if now.Sub(p.period) > peakPeriod {
		p.peak[1], p.peak[0], p.period = p.peak[0], 0, now
	}
	if p.stopped || p.open > max(p.least, p.peak[0], p.peak[1]) {
		p.open--
		p.mu.Unlock()
		c.close()
		return
	}
	if p.size == len(p.idle) {
		grown := make([]*conn, max(16, 2*len(p.idle)))
		n := copy(grown, p.idle[p.head:])
		copy(grown[n:], p.idle[:p.head])
		p.idle, p.head = grown, 0
	}
	p.idle[(p.head+p.size)%len(p.idle)] = c
	p.size++
	p.mu.Unlock()
}

// enter counts a connection about to be opened, leave one that could not be.
func (p *pool) enter() {
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
}

func (p *pool) leave() {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

// drop closes a connection that was in use.
func (p *pool) drop(c *conn) {
	p.leave()
	c.close()
}

// close closes the idle connections; those in use are closed when they come back.
func (p *pool) close() {
	p.mu.Lock()
	var all []*conn
	for ; p.size > 0; p.size-- {
		all = append(all, p.idle[p.head])
		p.idle[p.head] = nil
		p.head = (p.head + 1) % len(p.idle)
		p.open--
	}
	p.stopped = true
	p.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}
