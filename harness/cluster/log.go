package cluster

import (
	"context"
	"io"
	"log/slog"
	"sync"
)

type logKey struct{}

type logs struct {
	log    *slog.Logger
	output io.Writer
}

// WithLog returns a context that tells a driver where to report. log receives
// what a person following along wants to know; output receives the command
// lines that the driver runs and everything they print, which is a step's log.
// Either may be nil. Writes to output are serialised.
func WithLog(ctx context.Context, log *slog.Logger, output io.Writer) context.Context {
	l := logs{log: log}
	if output != nil {
		l.output = &lockedWriter{w: output}
	}
	return context.WithValue(ctx, logKey{}, l)
}

// Logger returns the context's logger, or slog.Default().
func Logger(ctx context.Context) *slog.Logger {
	if l, ok := ctx.Value(logKey{}).(logs); ok && l.log != nil {
		return l.log
	}
	return slog.Default()
}

// Output returns the context's writer for commands and their output, or
// io.Discard. It may be used from several goroutines.
func Output(ctx context.Context) io.Writer {
	if l, ok := ctx.Value(logKey{}).(logs); ok && l.output != nil {
		return l.output
	}
	return io.Discard
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
