package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// result is standard output. It keeps the first error of writing to it, so that a
// result which did not arrive is never reported as told.
type result struct {
	w io.Writer

	mu  sync.Mutex
	err error
}

// Write implements io.Writer.
func (r *result) Write(b []byte) (int, error) {
	n, err := r.w.Write(b)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			r.err = err
		}
	}
	return n, err
}

// Fd lets reports ask whether they are written to a terminal, and how wide it is.
func (r *result) Fd() uintptr {
	if f, ok := r.w.(*os.File); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// end returns how a command ends that ended with err: where nothing else went
// wrong, what went wrong with writing the result.
func (r *result) end(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		return err
	}
	var e *exitError
	if known := errors.As(err, &e); err == nil || known && e.err == nil || !known && errors.Is(err, r.err) {
		return failed(fmt.Errorf("write the result: %w", r.err))
	}
	return err
}
