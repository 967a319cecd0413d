// Package pause waits, and stops waiting when there is no more reason to.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends, and returns the cause of its end then. A d
// of 0 or less does not wait.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
