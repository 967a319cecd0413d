// Package command runs other programs to their end.
//
// It exists because a rehearsal must leave nothing behind when it is
// interrupted: every program is started in a process group of its own, and
// when the context ends the whole group is killed, so that the children of a
// compiler or of a docker client do not outlive the tool.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/kube-rehearse/rehearse/harness/secret"
)

// Cmd describes one program to run. The zero value of every field but Args is
// useful.
type Cmd struct {
	Args  []string // the program and its arguments, not a shell line
	Dir   string   // working directory; empty means that of the caller
	Env   []string // whole environment; nil means that of the caller
	Stdin io.Reader
	// Stdout and Stderr receive the output in addition to what is kept for
	// the error. When Stdout is nil, Output returns it instead.
	Stdout io.Writer
	Stderr io.Writer
	// Grace is what the process group gets between SIGTERM and SIGKILL when the
	// context ends; 0 kills it at once.
	Grace time.Duration
	// PrivateMounts runs the program in a mount namespace of its own, so that
	// what it mounts is gone when it is, even when it was killed. Needs root.
	PrivateMounts bool
	// Secrets are values that are taken out of all that is kept and handed on of
	// what the program prints, which then comes in whole lines.
	Secrets []string
}

// Error says that a program could not be started or did not end with 0.
type Error struct {
	Args     []string
	ExitCode int    // -1 when the program did not start or was killed
	Output   string // the end of what it printed, standard error preferred
	Err      error
}

// Error names the whole command line and the end of its output, because a
// reader of a CI log has nothing else. What looks secret in it is secret.Mask.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %v", Quote(e.Args), e.Err)
	if e.Output != "" {
		s += "\n  " + strings.ReplaceAll(secret.Text(e.Output, nil), "\n", "\n  ")
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// waitDelay bounds how long Run waits for pipes that are still open after the
// process group was killed. It is a variable for the sake of tests.
var waitDelay = 5 * time.Second

// kept is how many bytes at the end of each output stream an Error carries.
const kept = 4 << 10

// Run runs c to its end and blocks until then. A context that ends kills the
// whole process group; the error then matches context.Cause(ctx).
func Run(ctx context.Context, c Cmd) error {
	_, err := run(ctx, c, nil)
	return err
}

// Output runs c like Run and returns its standard output without trailing
// newlines.
func Output(ctx context.Context, c Cmd) (string, error) {
	var out bytes.Buffer
	if _, err := run(ctx, c, &out); err != nil {
		return "", err
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

func run(ctx context.Context, c Cmd, stdout *bytes.Buffer) (*exec.Cmd, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("command: no program given")
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.Dir, c.Env, c.Stdin
	outTail, errTail := &tail{max: kept}, &tail{max: kept}
	stdoutTo, flushOut := guarded(writers(outTail, c.Stdout, stdout), c.Secrets)
	stderrTo, flushErr := guarded(writers(errTail, c.Stderr, nil), c.Secrets)
	cmd.Stderr = stderrTo
	out, err := pipeTo(stdoutTo)
	if err != nil {
		return nil, &Error{Args: c.Args, ExitCode: -1, Err: err}
	}
	cmd.Stdout = out.w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.PrivateMounts {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	signal := syscall.SIGKILL
	if c.Grace > 0 {
		signal = syscall.SIGTERM
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, signal) }
	cmd.WaitDelay = waitDelay
	if c.Grace > 0 {
		cmd.WaitDelay = c.Grace
	}
	err = cmd.Run()
	err = errors.Join(err, out.drain(ctx))
	err = errors.Join(err, flushOut(), flushErr())
	if c.Grace > 0 && ctx.Err() != nil && cmd.Process != nil {
		// What of the group is still there has had its time.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if err == nil {
		return cmd, nil
	}
	failure := &Error{Args: c.Args, ExitCode: -1, Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		failure.ExitCode = exit.ExitCode()
	}
	if ctx.Err() != nil {
		failure.Err = context.Cause(ctx)
	}
	failure.Output = errTail.String()
	if failure.Output == "" {
		failure.Output = outTail.String()
	}
	return cmd, failure
}

// output is a program's standard output on its way to a writer. It is not left
// to os/exec, which gives up on what a slow reader has not taken a while after
// the program has ended: docker cp may be through long before the images that it
// printed are unpacked.
type output struct {
	r, w   *os.File
	copied chan error // what io.Copy returned
}

func pipeTo(w io.Writer) (*output, error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{r: pr, w: pw, copied: make(chan error, 1)}
	go func() {
		_, err := io.Copy(w, pr)
		// The program must not wait for a reader that has failed.
		_ = pr.Close()
		o.copied <- err
	}()
	return o, nil
}

// drain returns when all output has been taken, or, once ctx has ended, after
// waitDelay at the latest.
func (o *output) drain(ctx context.Context) error {
	_ = o.w.Close()
	select {
	case err := <-o.copied:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-o.copied:
		return err
	case <-time.After(waitDelay):
		return o.r.Close()
	}
}

// guarded lets no secret through to w.
func guarded(w io.Writer, secrets []string) (to io.Writer, flush func() error) {
	if len(secrets) == 0 {
		return w, func() error { return nil }
	}
	s := secret.NewWriter(w, secrets)
	return s, s.Flush
}

func writers(t *tail, w io.Writer, b *bytes.Buffer) io.Writer {
	all := []io.Writer{t}
	if w != nil {
		all = append(all, w)
	}
	if b != nil {
		all = append(all, b)
	}
	return io.MultiWriter(all...)
}

// Quote renders args as a line that a shell would read back as args, to be read
// by people: what is secret in them is secret.Mask.
func Quote(args []string) string {
	args = secret.Args(args)
	quoted := make([]string, len(args))
	for i, a := range args {
		if a != secret.Mask && (a == "" || strings.ContainsAny(a, " \t\n'\"\\$&|;<>()*?[]{}#~`!")) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

// tail keeps the last max bytes written to it.
type tail struct {
	max int
	buf []byte
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
		t.cut = true
	}
	return len(p), nil
}

func (t *tail) String() string {
	s := strings.TrimSpace(string(t.buf))
	if t.cut {
		return "... " + s
	}
	return s
}
