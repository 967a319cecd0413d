package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/kube-rehearse/rehearse/harness"
)

// progress tells a person how far a run is. On a terminal the current step
// has a line that moves, with elapsed and expected time; elsewhere each step
// is a line when it starts and one when it ends.
type progress struct {
	w     io.Writer
	now   func() time.Time
	fancy bool

	mu   sync.Mutex
	stop func()
	line string // what stands on the moving line, to be wiped
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, now: time.Now, fancy: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"}
}

var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// Start implements harness.Progress.
func (p *progress) Start(e harness.Entry, of int) {
	head := fmt.Sprintf("[%2d/%d] %s", e.Number, of, e.Description)
	if !p.fancy {
		expected := ""
		if e.Expected >= time.Second {
			expected = " (~" + roughly(e.Expected.Seconds()) + ")"
		}
		fmt.Fprintf(p.w, "%s %s%s\n", p.now().Format("15:04:05"), head, expected)
		return
	}
	begun := p.now()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(120 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			p.draw(frames[i%len(frames)], head, p.now().Sub(begun), e.Expected)
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	p.stop = func() { close(quit); <-done }
}

func (p *progress) draw(mark, head string, took, expected time.Duration) {
	times := roughly(took.Seconds())
	if expected >= time.Second {
		times += " of ~" + roughly(expected.Seconds())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = fmt.Sprintf("%s %s  %s", mark, head, times)
	fmt.Fprintf(p.w, "\r\033[K%s", clip(p.line, p.width()))
}

// Before implements harness.ResumedProgress.
func (p *progress) Before(e harness.Entry, of int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fancy {
		fmt.Fprintf(p.w, "✓ %2d. %s  done before the interruption\n", e.Number, e.Description)
		return
	}
	fmt.Fprintf(p.w, "%s [%2d/%d] %s: done before the interruption\n", p.now().Format("15:04:05"), e.Number, of, e.Description)
}

// End implements harness.Progress.
func (p *progress) End(e harness.Entry, took time.Duration, err error, skipped bool) {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	mark, tail := "✓", roughly(took.Seconds())
	switch {
	case skipped:
		mark, tail = "-", "skipped"
	case err != nil:
		mark, tail = "✗", "failed after "+tail+": "+err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = ""
	if p.fancy {
		fmt.Fprintf(p.w, "\r\033[K%s %2d. %s  %s\n", mark, e.Number, e.Description, tail)
		return
	}
	fmt.Fprintf(p.w, "%s   %s %2d. %s: %s\n", p.now().Format("15:04:05"), mark, e.Number, e.Description, tail)
}

// Write lets log lines pass above the moving line.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fancy && p.line != "" {
		fmt.Fprint(p.w, "\r\033[K")
	}
	n, err := p.w.Write(b)
	if p.fancy && p.line != "" && strings.HasSuffix(string(b), "\n") {
		fmt.Fprint(p.w, clip(p.line, p.width()))
	}
	return n, err
}

func (p *progress) width() int {
	if f, ok := p.w.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}

// clip keeps the moving line on one row, or wiping it would leave rests.
func clip(s string, width int) string {
	r := []rune(s)
	if len(r) < width {
		return s
	}
	return string(r[:max(width-2, 0)]) + "…"
}
