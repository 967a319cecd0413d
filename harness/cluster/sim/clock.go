package sim

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// clock turns the durations of a real cluster into those of the simulation.
type clock struct{ scale float64 }

// of returns how long d takes here.
func (c clock) of(d time.Duration) time.Duration {
	return time.Duration(float64(d) / c.scale)
}

// sleep waits for d of the real cluster's time, or until ctx ends.
func (c clock) sleep(ctx context.Context, d time.Duration) error {
	return pause(ctx, c.of(d))
}

// pause waits for d of this machine's time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dice is a seeded source of chance. Each component has its own, drawn from
// the cluster's seed and the component's name, so that one component's draws
// do not depend on how the goroutines of others were scheduled.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed uint64, name string) *dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return &dice{r: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// spread returns a duration around d with a right tail: most draws lie between
// 0.8 d and 1.3 d, none below 0.7 d or above 2 d.
func (d *dice) spread(mean time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := 0.8 + 0.2*d.r.ExpFloat64()
	return time.Duration(float64(mean) * min(max(f, 0.7), 2))
}

// share returns a number in [0, 1).
func (d *dice) share() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Float64()
}

// pick returns a number in [0, n).
func (d *dice) pick(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// suffix returns n characters of the alphabet that Kubernetes uses for
// generated names (k8s.io/apimachinery/pkg/util/rand).
func (d *dice) suffix(n int) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	d.mu.Lock()
	defer d.mu.Unlock()
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[d.r.IntN(len(alphabet))]
	}
	return string(b)
}

// counter gives numbers from 1.
type counter struct {
	mu sync.Mutex
	n  uint64
}

func (c *counter) next() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}
