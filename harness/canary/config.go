package canary

import (
	"errors"
	"fmt"
	"time"
)

// MaxBodyBytes bounds an answer's body.
const MaxBodyBytes = 64 << 20

// Config is how one canary answers and stops.
type Config struct {
	// Pod and Node are sent with every answer; empty is sent as "unknown".
	Pod, Node string
	// BodyBytes is the size of the body of PathRoot, 0 to MaxBodyBytes.
	BodyBytes int
	// Latency is how long PathRoot waits before it answers.
	Latency time.Duration
	// ShutdownDelay is how long the canary goes on serving, unready, after it
	// was told to stop. It must exceed the time in which whatever sends it
	// traffic learns that it shall not.
	ShutdownDelay time.Duration
	// GracePeriod bounds the wait for requests in flight after the delay; 0
	// closes them at once.
	GracePeriod time.Duration
}

// Validate names every field that is out of range.
func (c Config) Validate() error {
	var errs []error
	if c.BodyBytes < 0 || c.BodyBytes > MaxBodyBytes {
		errs = append(errs, fmt.Errorf("body size %d: want 0 to %d bytes", c.BodyBytes, MaxBodyBytes))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"latency", c.Latency}, {"shutdown delay", c.ShutdownDelay}, {"grace period", c.GracePeriod}} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s %s: want a duration of at least 0", d.name, d.value))
		}
	}
	return errors.Join(errs...)
}

// body returns n printable bytes, the same for the same n, in lines of 64.
func body(n int) []byte {
	const line = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n"
	b := make([]byte, n)
	for i := range b {
		b[i] = line[i%len(line)]
	}
	return b
}
