package harness

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// stepLog is a step's own log in the record, beside the run's log: everything
// from debug level up goes there, so that a failed step can be understood
// without running it again.
type stepLog struct {
	r      *runner
	name   string
	file   io.WriteCloser
	logger *slog.Logger
}

func (r *runner) openLog(e Entry) *stepLog {
	l := &stepLog{r: r, name: fmt.Sprintf("%02d-%s", e.Number, slug(e.Description)), logger: r.o.Log}
	file, err := r.dir.Log(l.name)
	if err != nil {
		r.o.Log.Warn("the step's log could not be opened", "step", e.Number, "error", err)
		return l
	}
	l.file = file
	l.logger = slog.New(tee{r.o.Log.Handler(), slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug})})
	return l
}

// output is where drivers write their commands and what these print.
func (l *stepLog) output() io.Writer {
	if l.file == nil {
		return io.Discard
	}
	return l.file
}

// close returns the log's path in the record; a failed step's log says so in
// its name.
func (l *stepLog) close(failure error) string {
	if l.file == nil {
		return ""
	}
	if failure != nil {
		fmt.Fprintf(l.file, "\nFAILED: %v\n", failure)
	}
	if err := l.file.Close(); err != nil {
		l.r.o.Log.Warn("the step's log could not be written", "error", err)
	}
	if failure == nil {
		return "logs/" + l.name + ".log"
	}
	path, err := l.r.dir.FailLog(l.name)
	if err != nil {
		l.r.o.Log.Warn("the step's log could not be kept", "error", err)
	}
	return path
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// slug shortens a description to a file name.
func slug(s string) string {
	s = strings.Trim(notWord.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(s) > 40 {
		s = strings.TrimRight(s[:40], "-")
	}
	return s
}

// tee hands each record to both handlers, each at its own level.
type tee struct{ a, b slog.Handler }

func (t tee) Enabled(ctx context.Context, l slog.Level) bool {
	return t.a.Enabled(ctx, l) || t.b.Enabled(ctx, l)
}

func (t tee) Handle(ctx context.Context, r slog.Record) error {
	var err error
	for _, h := range []slog.Handler{t.a, t.b} {
		if h.Enabled(ctx, r.Level) {
			if e := h.Handle(ctx, r.Clone()); e != nil {
				err = e
			}
		}
	}
	return err
}

func (t tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tee{t.a.WithAttrs(attrs), t.b.WithAttrs(attrs)}
}

func (t tee) WithGroup(name string) slog.Handler {
	return tee{t.a.WithGroup(name), t.b.WithGroup(name)}
}
