package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/test/buffer"
)

// A terminal that is closed stops a run, which cleans up: the hang-up of its
// shell, a moment later, must not keep it from that. A further signal does.
func TestAClosedTerminalStopsInOrder(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		// Of a test under nohup, which nothing can take back within the process.
		again := exec.Command("env", "--default-signal=HUP", os.Args[0], "-test.run=^TestAClosedTerminalStopsInOrder$")
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	var b buffer.Locked
	ctx, stop := watchSignals(t.Context(), Streams{Out: io.Discard, Err: &b})
	defer stop()
	in := interruptsOf(ctx)
	in.cleanup.Add(cleanup.Entry{What: "cluster x", How: "docker rm x", Undo: func(context.Context) error { return nil }})
	send := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	send(syscall.SIGHUP)
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the context goes on after SIGHUP")
	}
	if cause := context.Cause(ctx); !errors.Is(cause, errInterrupted) {
		t.Errorf("ended by %v, want %v", cause, errInterrupted)
	}
	send(syscall.SIGHUP)
	select {
	case <-in.second:
		t.Fatal("a second SIGHUP stopped it at once")
	case <-time.After(100 * time.Millisecond):
	}
	send(syscall.SIGTERM)
	select {
	case <-in.second:
	case <-time.After(10 * time.Second):
		t.Fatal("SIGTERM after SIGHUP does not stop it at once")
	}
	for _, want := range []string{"rehearse: hangup: stopping and cleaning up", "cluster x: docker rm x"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, b.String())
		}
	}
}
