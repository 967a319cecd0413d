package nodeimage

import (
	"log/slog"
	"time"
)

// Progress is told about the stages of a build. Stages of one build may
// overlap, so its methods must be safe for concurrent use.
type Progress interface {
	// Stage is called when a stage starts that takes longer than a moment;
	// expected is a rough duration on two cores, 0 when it is not known. The
	// function it returns is called once, when the stage has ended.
	Stage(name string, expected time.Duration) (end func(error))
	// Note is called with remarks that are not stages, such as a warning.
	Note(text string)
}

// LogProgress reports progress as log lines with elapsed times.
func LogProgress(log *slog.Logger) Progress { return logProgress{log} }

type logProgress struct{ log *slog.Logger }

func (p logProgress) Stage(name string, expected time.Duration) func(error) {
	start := time.Now()
	if expected > 0 {
		p.log.Info(name, "expected", expected.String())
	} else {
		p.log.Info(name)
	}
	return func(err error) {
		elapsed := time.Since(start).Round(100 * time.Millisecond).String()
		if err != nil {
			// The error itself is returned, and told by who asked.
			p.log.Warn(name+": stopped", "elapsed", elapsed)
			return
		}
		p.log.Info(name+": done", "elapsed", elapsed)
	}
}

func (p logProgress) Note(text string) { p.log.Warn(text) }
