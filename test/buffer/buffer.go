// Package buffer is for tests that read what a goroutine of the code under test
// still writes.
package buffer

import (
	"bytes"
	"sync"
)

// Locked is a buffer that goroutines may write and read at the same time. Its
// zero value is empty.
type Locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer; it never fails.
func (l *Locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written so far.
func (l *Locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
