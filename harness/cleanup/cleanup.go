// Package cleanup undoes what a run created: last in, first out, each entry at
// most once, whatever the reason for which the run ended.
package cleanup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Entry is one thing that exists until it is undone.
type Entry struct {
	// What names it for a person: "cluster rehearse-quickstart-4f2a91".
	What string
	// How is the command with which a person removes it, empty for what ends
	// with the process.
	How string
	// Timeout is how long Undo may take where that is longer than usual; see Run.
	Timeout time.Duration
	// Undo removes it. It must bear being called when nothing is left to remove.
	Undo func(context.Context) error
}

// Stack holds what is to be undone. The zero value is ready; it is safe for
// concurrent use, so that a second interrupt can list what is left while the
// first is still being served.
type Stack struct {
	mu      sync.Mutex
	entries []*Entry
}

// Add registers e and returns a function that undoes it at once and takes it
// off the stack; calling that again does nothing. Register before creating:
// what is half-made must be undone too.
func (s *Stack) Add(e Entry) (undo func(context.Context) error) {
	p := &e
	s.mu.Lock()
	s.entries = append(s.entries, p)
	s.mu.Unlock()
	return func(ctx context.Context) error {
		if !s.holds(p) {
			return nil
		}
		if err := p.Undo(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.What, err)
		}
		s.take(p)
		return nil
	}
}

// Run undoes everything, newest first, and joins the errors. It ignores the
// cancellation of ctx, since it runs after an interrupt, and gives each entry
// at most the time each, or its own Timeout if that is longer. What could not be undone stays on the stack.
func (s *Stack) Run(ctx context.Context, each time.Duration) error {
	ctx = context.WithoutCancel(ctx)
	s.mu.Lock()
	pending := append([]*Entry(nil), s.entries...)
	s.mu.Unlock()
	var errs []error
	for i := len(pending) - 1; i >= 0; i-- {
		e := pending[i]
		if !s.holds(e) {
			continue
		}
		one, cancel := context.WithTimeout(ctx, max(each, e.Timeout))
		err := e.Undo(one)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.What, err))
			continue
		}
		s.take(e)
	}
	return errors.Join(errs...)
}

// Release takes the entries that a person can remove off the stack without
// undoing them, and returns them: what a run keeps on purpose. What ends with
// the process stays, to be undone.
func (s *Stack) Release() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []Entry
	rest := s.entries[:0]
	for _, e := range s.entries {
		if e.How != "" {
			kept = append(kept, *e)
		} else {
			rest = append(rest, e)
		}
	}
	s.entries = rest
	return kept
}

// Left returns what is still to be undone and would outlive the process.
func (s *Stack) Left() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []Entry
	for _, e := range s.entries {
		if e.How != "" {
			left = append(left, *e)
		}
	}
	return left
}

func (s *Stack) holds(p *Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e == p {
			return true
		}
	}
	return false
}

func (s *Stack) take(p *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.entries {
		if e == p {
			s.entries = append(s.entries[:i], s.entries[i+1:]...)
			return
		}
	}
}
