package command_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/command"
)

func TestOutput(t *testing.T) {
	var stderr bytes.Buffer
	out, err := command.Output(t.Context(), command.Cmd{
		Args: []string{"sh", "-c", `echo "$K"; cat; pwd; echo warning >&2`}, Env: append(os.Environ(), "K=v"),
		Dir: "/", Stdin: strings.NewReader("in\n"), Stderr: &stderr,
	})
	if err != nil || out != "v\nin\n/" || stderr.String() != "warning\n" {
		t.Errorf("%q %q %v", out, stderr.String(), err)
	}
}

func TestErrorKeepsTheEndOfTheOutput(t *testing.T) {
	err := command.Run(t.Context(), command.Cmd{Args: []string{"sh", "-c", "yes x | head -c 9000; echo last; exit 3"}})
	var e *command.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.ExitCode != 3 || len(e.Output) > 4<<10+4 || !strings.HasPrefix(e.Output, "... ") || !strings.HasSuffix(e.Output, "\nlast") {
		t.Errorf("exit code %d, %d bytes: %.20q", e.ExitCode, len(e.Output), e.Output)
	}
}

func TestProgramThatDoesNotExist(t *testing.T) {
	err := command.Run(t.Context(), command.Cmd{Args: []string{"no-such-program"}})
	want := `no-such-program: exec: "no-such-program": executable file not found in $PATH`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCancelKillsGrandchildren(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	done := make(chan error, 1)
	go func() {
		done <- command.Run(ctx, command.Cmd{Args: []string{"sh", "-c", "sleep 600 & echo $! >" + pidFile + ".new; mv " + pidFile + ".new " + pidFile + "; wait"}})
	}()
	var pid int
	for pid == 0 {
		if b, err := os.ReadFile(pidFile); err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond)
	}
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("want the cause, got %v", err)
	}
	// A killed process may linger as a zombie until init reaps it.
	for range 1000 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") || strings.Contains(string(stat), ") X ") {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("process %d outlived the context", pid)
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestQuote(t *testing.T) {
	if got, want := command.Quote([]string{"a", "b c", "", "it's"}), `a 'b c' '' 'it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
