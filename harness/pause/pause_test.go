package pause

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	interrupted := errors.New("interrupted")
	for _, tc := range []struct {
		name      string
		d, ends   time.Duration // ends: when the context does; 0 for before
		want      error
		wantAfter time.Duration
	}{
		{"to its end", time.Minute, time.Hour, nil, time.Minute},
		{"cut short", time.Minute, time.Second, interrupted, time.Second},
		{"nothing to wait for", 0, time.Hour, nil, 0},
		{"nothing to wait for, and ended", -time.Second, 0, interrupted, 0},
		{"ended before", time.Minute, 0, interrupted, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				if tc.ends == 0 {
					cancel(interrupted)
				} else {
					time.AfterFunc(tc.ends, func() { cancel(interrupted) })
				}
				begun := time.Now()
				if err := For(ctx, tc.d); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if took := time.Since(begun); took != tc.wantAfter {
					t.Errorf("took %s, want %s", took, tc.wantAfter)
				}
				cancel(nil)
			})
		})
	}
}
