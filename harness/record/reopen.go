package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Interruption is a stretch in which nobody carried the run out: from the last
// thing that the interrupted process recorded until another process went on.
type Interruption struct {
	AtNS      int64 `json:"atNS"`      // ns since the run's start
	ResumedNS int64 `json:"resumedNS"` // the same
	// Anew is set where the upgrade had not begun: what had been measured until
	// then does not count, and the baseline was recorded again.
	Anew bool `json:"anew,omitempty"`
}

// ErrFinished is in the error of Reopen for a run that came to its end.
var ErrFinished = errors.New("the run is finished")

// Reopen opens the run directory of an interrupted run to go on with it: it
// cuts off entries that were not written out, which the returned Record's Damage
// lists, removes the seal that an orderly interrupt has left, and appends from
// then on. The caller has the directory for itself until Seal or Close.
//
// It refuses, and changes nothing, where the run is still going on, where it is
// finished (ErrFinished), and where the record does not load.
func Reopen(path string) (*Dir, *Record, error) {
	if _, err := os.Stat(filepath.Join(path, runFile)); err != nil {
		return nil, nil, fmt.Errorf("reopen record: %s is not a run directory: %w", path, err)
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reopen record: %w", err)
	}
	d := &Dir{path: path, lock: lock, reopened: true, opened: map[string]bool{}, last: map[string]int64{}}
	r, err := d.reopen()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("reopen record %s: %w", path, err), d.Close())
	}
	return d, r, nil
}

func (d *Dir) reopen() (*Record, error) {
	r, err := Load(d.path)
	if err != nil {
		return nil, err
	}
	switch r.Run.Outcome {
	case OutcomeRunning, OutcomeInterrupted:
	default:
		return nil, fmt.Errorf("%w (%s): see its report, or rehearse anew", ErrFinished, r.Run.Outcome)
	}
	for _, x := range r.Damage {
		if err := os.Truncate(filepath.Join(d.path, x.File), x.Offset); err != nil {
			return nil, fmt.Errorf("cut off what was not written out: %w", err)
		}
	}
	if err := os.Remove(filepath.Join(d.path, sumsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for i := range r.Lanes {
		if w := r.Lanes[i].Windows; len(w) > 0 {
			d.last[r.Lanes[i].Lane.Name] = w[len(w)-1].Second
		}
		for k := range r.Lanes[i].Parts {
			w, err := LoadPart(d.path, r.Lanes[i].Lane.Name, k)
			if err == nil && len(w) > 0 {
				d.last[partName(r.Lanes[i].Lane.Name, k)] = w[len(w)-1].Second
			}
		}
	}
	return r, nil
}

// LastNS returns the offset of the last thing recorded, in nanoseconds.
func (r *Record) LastNS() int64 {
	var last int64
	if n := len(r.Events); n > 0 {
		last = r.Events[n-1].T
	}
	for _, s := range r.Run.Steps {
		last = max(last, s.StartNS, s.EndNS)
	}
	for i := range r.Lanes {
		if w := r.Lanes[i].Windows; len(w) > 0 {
			last = max(last, w[len(w)-1].Second*1e9)
		}
	}
	for i := range r.Probes {
		if s := r.Probes[i].Samples; len(s) > 0 {
			last = max(last, s[len(s)-1].T+s[len(s)-1].D)
		}
	}
	return last
}

// SaveState writes state.json atomically: what a process that goes on needs and
// run.json does not hold. It is no evidence: no seal covers it.
func (d *Dir) SaveState(data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("save %s: the record was closed", stateFile)
	}
	if err := writeAtomic(filepath.Join(d.path, stateFile), data); err != nil {
		return fmt.Errorf("save %s: %w", stateFile, err)
	}
	return nil
}

// State returns what SaveState wrote last, or nil where it was never called.
func (d *Dir) State() ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(d.path, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// DecodeStrict decodes exactly one JSON value, and refuses unknown fields: for
// what the caller of SaveState wrote.
func DecodeStrict(data []byte, v any) error { return decodeStrict(data, v) }

const lockFile = ".lock"

var errLocked = errors.New("the run is still going on")

// lockDir takes the lock of a run directory. The system frees it when the
// process ends, however it ends; Dir.unlock also removes the file.
func lockDir(path string) (*os.File, error) {
	name := filepath.Join(path, lockFile)
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close() // nothing was written
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w: another process holds %s; wait for its end, or stop it first", errLocked, name)
			}
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		// Who held it may have removed the file after it was opened here: a lock on
		// what nobody else can open is none.
		if held, err := f.Stat(); err == nil {
			if there, err := os.Stat(name); err == nil && os.SameFile(held, there) {
				return f, nil
			}
		}
		_ = f.Close() // nothing was written
	}
}

// Held reports whether a process is writing the run directory at path. It changes
// nothing there; for the instant of the question a writer that begins would be
// told that another one is there.
func Held(path string) bool {
	f, err := os.Open(filepath.Join(path, lockFile))
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// unlock frees the lock and leaves nothing of it. The file goes first: while it is
// locked nobody else can have put another in its place.
func (d *Dir) unlock() {
	if d.lock != nil {
		_ = os.Remove(d.lock.Name()) // one that stays locks nobody out
		_ = d.lock.Close()           // nothing was written
		d.lock = nil
	}
}
