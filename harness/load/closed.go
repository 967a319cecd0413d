package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Closed is what RunClosed measured.
type Closed struct {
	// Requests were sent, of those asked for; fewer where ctx ended first.
	Requests    uint64                    `json:"requests"`
	Concurrency int                       `json:"concurrency"` // requests at a time
	Elapsed     time.Duration             `json:"elapsedNS"`   // from the first request to the last answer
	Counts      [record.NumClasses]uint64 `json:"-"`           // requests by record.Class
	Classes     map[string]uint64         `json:"classes"`     // Counts by name, without zeros
	NewConns    uint64                    `json:"newConns"`    // connections opened
	BodyBytes   uint64                    `json:"bodyBytes"`   // of all bodies read
	// ShortestBody and LongestBody, in bytes, of the requests that were answered
	// OK: bodies may differ in length.
	ShortestBody int64 `json:"shortestBody"`
	LongestBody  int64 `json:"longestBody"`
	// Latency is of the requests answered OK, in microseconds, from the moment a
	// request was sent.
	Latency record.Histogram `json:"-"`
	// FirstError is the text of the first failure.
	FirstError string `json:"firstError,omitempty"`
}

// Rate returns the requests sent a second.
func (c *Closed) Rate() float64 {
	if c.Elapsed <= 0 {
		return 0
	}
	return float64(c.Requests) / c.Elapsed.Seconds()
}

// RunClosed repeats what teams do with ab -n N -c C -l: it sends n requests, c at
// a time, each as soon as the one before it was answered, over a lane of kind New,
// Reused, HTTP2 or CachedDNS; the lane's rate is not used. Bodies of varying
// length are accepted unless the lane says which body to expect.
//
// A closed loop waits for the target: while the target hangs it sends next to
// nothing, and counts one slow request for each of the c where an open loop
// counts all that were due. It is for comparing with figures that were measured
// so before; no verdict is based on it. It does not use vegeta, which exists to
// keep a rate.
//
// It returns when all are answered, or soon after ctx ends, which is no error.
// Requests that fail are no error either, they are counted; one is returned for a
// lane that cannot be (Lane.Validate, kind Stream), for n or c of 0, and when
// nothing at all was sent.
func RunClosed(ctx context.Context, l Lane, n uint64, c int) (*Closed, error) {
	if l.Rate == 0 {
		l.Rate = 1
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if n == 0 || c < 1 || l.Kind == Stream {
		return nil, fmt.Errorf("lane %s: %d requests, %d at a time, on a lane of kind %s; both numbers must be positive, and the kind not %s", l.Name, n, c, l.Kind, Stream)
	}
	l.Connections = c
	cl, err := newClient(ctx, l)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	run := closedRun{lane: l, client: cl, expect: expectationOf(l)}
	run.left.Store(int64(n))
	parts := make([]closedPart, c)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { run.loop(ctx, &parts[i]) })
	}
	wg.Wait()
	out := &Closed{Concurrency: c, Elapsed: time.Since(began), Classes: map[string]uint64{}}
	for i := range parts {
		out.add(&parts[i])
	}
	if out.Requests == 0 {
		return nil, fmt.Errorf("lane %s: nothing was sent: %w", l.Name, errors.Join(context.Cause(ctx), err))
	}
	return out, nil
}

type closedRun struct {
	lane   Lane
	client client
	expect expectation
	left   atomic.Int64
}

// closedPart is what one of the concurrent loops measured.
type closedPart struct {
	Closed
	dense record.Dense
}

func (r *closedRun) loop(ctx context.Context, p *closedPart) {
	var a http1.Answer
	for ctx.Err() == nil && r.left.Add(-1) >= 0 {
		r.client.Do(time.Now().Add(r.lane.Timeout), &a)
		class, text := r.expect.classify(&a)
		p.Requests++
		p.Counts[class]++
		if !a.Reused && a.Stage > http1.StageDial {
			p.NewConns++
		}
		if class != record.OK {
			if p.FirstError == "" {
				p.FirstError = text
			}
			continue
		}
		if p.Counts[class] == 1 || a.Length < p.ShortestBody {
			p.ShortestBody = a.Length
		}
		p.LongestBody = max(p.LongestBody, a.Length)
		p.BodyBytes += uint64(a.Length)
		p.dense.Add(uint64(a.Done.Sub(a.Sent).Microseconds()))
	}
}

func (c *Closed) add(p *closedPart) {
	if p.Counts[record.OK] > 0 && (c.Counts[record.OK] == 0 || p.ShortestBody < c.ShortestBody) {
		c.ShortestBody = p.ShortestBody
	}
	c.LongestBody = max(c.LongestBody, p.LongestBody)
	c.Requests += p.Requests
	c.NewConns += p.NewConns
	c.BodyBytes += p.BodyBytes
	for class, n := range p.Counts {
		c.Counts[class] += n
		if n > 0 {
			c.Classes[record.Class(class).String()] += n
		}
	}
	if c.FirstError == "" {
		c.FirstError = p.FirstError
	}
	h := p.dense.Histogram()
	c.Latency.Merge(&h)
}
