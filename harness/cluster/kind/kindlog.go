package kind

import (
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/kind/pkg/log"
)

// kindLogger writes what kind says into the step's log.
type kindLogger struct{ w io.Writer }

var (
	_ log.Logger     = kindLogger{}
	_ log.InfoLogger = kindLogger{}
)

func (l kindLogger) line(s string) { fmt.Fprintf(l.w, "kind: %s\n", strings.TrimSpace(s)) }

func (l kindLogger) Warn(m string)             { l.line(m) }
func (l kindLogger) Warnf(f string, a ...any)  { l.line(fmt.Sprintf(f, a...)) }
func (l kindLogger) Error(m string)            { l.line(m) }
func (l kindLogger) Errorf(f string, a ...any) { l.line(fmt.Sprintf(f, a...)) }
func (l kindLogger) Info(m string)             { l.line(m) }
func (l kindLogger) Infof(f string, a ...any)  { l.line(fmt.Sprintf(f, a...)) }
func (l kindLogger) Enabled() bool             { return true }

// V hides the levels at which kind traces.
func (l kindLogger) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return l
}
