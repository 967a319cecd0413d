package cleanup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRunUndoesNewestFirstAndOnlyOnce(t *testing.T) {
	var s Stack
	var order []string
	add := func(name string) func(context.Context) error {
		return s.Add(Entry{What: name, Undo: func(context.Context) error { order = append(order, name); return nil }})
	}
	add("cluster")
	undo := add("watch")
	add("load")
	if err := undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Run(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(order, " "); got != "watch load cluster" {
		t.Errorf("undone in the order %q, want %q", got, "watch load cluster")
	}
}

func TestRunGoesOnAfterAnErrorAndKeepsWhatIsLeft(t *testing.T) {
	var s Stack
	fail := true
	undone := 0
	s.Add(Entry{What: "network n", How: "docker network rm n", Undo: func(context.Context) error { undone++; return nil }})
	s.Add(Entry{What: "container c", How: "docker rm -f c", Undo: func(context.Context) error {
		if fail {
			return errors.New("engine gone")
		}
		return nil
	}})
	err := s.Run(t.Context(), time.Second)
	if err == nil || err.Error() != "container c: engine gone" {
		t.Errorf("error %v, want container c: engine gone", err)
	}
	if undone != 1 {
		t.Errorf("the entry below the failed one was undone %d times, want 1", undone)
	}
	left := s.Left()
	if len(left) != 1 || left[0].How != "docker rm -f c" {
		t.Errorf("left %+v, want the container", left)
	}
	fail = false
	if err := s.Run(t.Context(), time.Second); err != nil || len(s.Left()) != 0 {
		t.Errorf("second run: %v, left %+v", err, s.Left())
	}
}

func TestRunIgnoresCancellationAndBoundsEachEntry(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var s Stack
	reached := false
	s.Add(Entry{What: "first", Undo: func(ctx context.Context) error { reached = ctx.Err() == nil; return nil }})
	s.Add(Entry{What: "hangs", Undo: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	err := s.Run(ctx, 10*time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !reached {
		t.Errorf("error %v, first entry reached with a live context: %v", err, reached)
	}
}

func TestReleaseKeepsOnlyWhatOutlivesTheProcess(t *testing.T) {
	var s Stack
	ended := false
	s.Add(Entry{What: "cluster", How: "kind delete cluster", Undo: func(context.Context) error { t.Error("undone though kept"); return nil }})
	s.Add(Entry{What: "watch", Undo: func(context.Context) error { ended = true; return nil }})
	kept := s.Release()
	if len(kept) != 1 || kept[0].What != "cluster" {
		t.Errorf("kept %+v", kept)
	}
	if err := s.Run(t.Context(), time.Second); err != nil || !ended {
		t.Errorf("watch ended: %v, %v", ended, err)
	}
}
