package command

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

// slow takes its time over each piece, as a program does that unpacks it.
type slow struct{ bytes.Buffer }

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.Buffer.Write(p)
}

func TestSlowReaderGetsEverything(t *testing.T) {
	defer func(d time.Duration) { waitDelay = d }(waitDelay)
	waitDelay = time.Millisecond
	const size = 256 << 10
	var got slow
	if err := Run(t.Context(), Cmd{Args: []string{"head", "-c", strconv.Itoa(size), "/dev/zero"}, Stdout: &got}); err != nil {
		t.Fatal(err)
	}
	if got.Len() != size {
		t.Errorf("%d of %d bytes came", got.Len(), size)
	}
}

// failing takes nothing.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestReaderThatFailsEndsTheProgram(t *testing.T) {
	err := Run(t.Context(), Cmd{Args: []string{"yes"}, Stdout: failing{}})
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v", err)
	}
}
