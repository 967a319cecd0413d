package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// CacheDir returns where builds are kept: $REHEARSE_CACHE, else the directory
// rehearse below the user's cache directory. It need not exist.
func CacheDir() (string, error) {
	if dir := os.Getenv("REHEARSE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory (set REHEARSE_CACHE to choose one): %w", err)
	}
	return filepath.Join(dir, "rehearse"), nil
}

// cache keeps the directories that stages leave, each under the name and the
// key of its stage.
type cache struct{ dir string }

// lockPoll is how often a process that waits for another one's stage looks
// again. flock has no way to wait that a context could end.
const lockPoll = 200 * time.Millisecond

// stage returns the directory that build has left for name and key, calling
// build only when there is none. build gets an empty directory that is renamed
// after it returns nil, and must leave nothing elsewhere. Stages of one key
// exclude each other across processes; a directory that an interrupted process
// left is removed. waiting is called at most once, when another process holds
// the stage.
func (c cache) stage(ctx context.Context, name, key string, waiting func(), build func(ctx context.Context, dir string) error) (string, error) {
	done := filepath.Join(c.dir, name+"-"+key)
	if exists(done) {
		return done, nil
	}
	unlock, err := c.lock(ctx, name+"-"+key, waiting)
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(done) {
		return done, nil
	}
	partial := done + ".partial"
	if err := removeAll(partial); err != nil {
		return "", fmt.Errorf("remove what an interrupted run left: %w", err)
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return "", fmt.Errorf("make the stage's directory: %w", err)
	}
	if err := build(ctx, partial); err != nil {
		return "", errors.Join(err, removeAll(partial))
	}
	// A build that swallowed the end of its context must not count as done.
	if ctx.Err() != nil {
		return "", errors.Join(context.Cause(ctx), removeAll(partial))
	}
	if err := os.Rename(partial, done); err != nil {
		return "", fmt.Errorf("finish the stage: %w", err)
	}
	return done, nil
}

// lock takes the lock of that name, which the kernel drops with the process.
func (c cache) lock(ctx context.Context, name string, waiting func()) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(c.dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the stage's lock: %w", err)
	}
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another process that builds %s: %w", name, context.Cause(ctx)), f.Close())
		case <-ticker.C:
		}
	}
}

// removeAll removes dir, also below directories that are not writable, as
// those that Go unpacks modules into.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
