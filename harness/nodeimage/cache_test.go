package nodeimage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStageIsBuiltOnce(t *testing.T) {
	c := cache{dir: t.TempDir()}
	builds := 0
	build := func(_ context.Context, dir string) error {
		builds++
		return os.WriteFile(filepath.Join(dir, "result"), []byte("made"), 0o644)
	}
	for range 2 {
		dir, err := c.stage(t.Context(), "etcd", "k1", nil, build)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "result")); string(b) != "made" {
			t.Errorf("%q %v", b, err)
		}
	}
	if _, err := c.stage(t.Context(), "etcd", "k2", nil, build); err != nil {
		t.Fatal(err)
	}
	if builds != 2 {
		t.Errorf("two keys were built %d times", builds)
	}
}

// An interrupt may fall anywhere: into a build that notices, into one that
// does not, or the process is killed and runs no more code at all.
func TestInterruptedStageIsDoneAgain(t *testing.T) {
	why := errors.New("interrupted")
	half := func(dir string) error { return os.WriteFile(filepath.Join(dir, "half"), nil, 0o444) }
	for name, interrupt := range map[string]func(t *testing.T, c cache) error{
		"the build notices": func(t *testing.T, c cache) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			_, err := c.stage(ctx, "etcd", "k", nil, func(ctx context.Context, dir string) error {
				cancel(why)
				return errors.Join(half(dir), context.Cause(ctx))
			})
			return err
		},
		"the build does not notice": func(t *testing.T, c cache) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			_, err := c.stage(ctx, "etcd", "k", nil, func(_ context.Context, dir string) error {
				cancel(why)
				return half(dir)
			})
			return err
		},
		"the process is killed": func(t *testing.T, c cache) error {
			partial := filepath.Join(c.dir, "etcd-k.partial", "read-only")
			if err := os.MkdirAll(partial, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := half(partial); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(partial, 0o555); err != nil {
				t.Fatal(err)
			}
			return why
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cache{dir: t.TempDir()}
			if err := interrupt(t, c); !errors.Is(err, why) {
				t.Fatalf("want the interrupt, got %v", err)
			}
			if exists(filepath.Join(c.dir, "etcd-k")) {
				t.Fatal("a half-made stage has its final name")
			}
			dir, err := c.stage(t.Context(), "etcd", "k", nil, func(_ context.Context, dir string) error {
				return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644)
			})
			if err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || entries[0].Name() != "whole" {
				t.Errorf("the second run's stage holds %v, %v", entries, err)
			}
			left, err := os.ReadDir(c.dir)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range left {
				names = append(names, e.Name())
			}
			if diff := cmp.Diff([]string{"etcd-k", "etcd-k.lock"}, names); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConcurrentStagesBuildOnce(t *testing.T) {
	c := cache{dir: t.TempDir()}
	var builds, waited atomic.Int32
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	stage := func() {
		_, err := c.stage(t.Context(), "etcd", "k", func() { waited.Add(1); close(release) }, func(context.Context, string) error {
			builds.Add(1)
			close(started)
			<-release
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	wg.Go(stage)
	<-started
	wg.Go(stage)
	wg.Wait()
	if builds.Load() != 1 || waited.Load() != 1 {
		t.Errorf("%d builds, %d told to wait", builds.Load(), waited.Load())
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	c := cache{dir: t.TempDir()}
	unlock, err := c.lock(t.Context(), "etcd-k", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	_, err = c.stage(ctx, "etcd", "k", func() { cancel(why) }, nil)
	want := "wait for another process that builds etcd-k: interrupted"
	if !errors.Is(err, why) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("REHEARSE_CACHE", "/elsewhere")
	if dir, err := CacheDir(); dir != "/elsewhere" || err != nil {
		t.Error(dir, err)
	}
	t.Setenv("REHEARSE_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/cache")
	if dir, err := CacheDir(); dir != "/cache/rehearse" || err != nil {
		t.Error(dir, err)
	}
}
