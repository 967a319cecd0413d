package monthly

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
)

// Program is what upgrades production: a program and its arguments, run without
// a shell.
type Program struct {
	Args   []string
	Output io.Writer // receives what it prints
}

// Run runs the program and returns when it has ended. It finds the versions and
// the run directory of the rehearsal in its environment, as REHEARSE_FROM,
// REHEARSE_TO and REHEARSE_RUN_DIR. Where ctx ends it is sent an interrupt
// (SIGINT), once, and still waited for: an upgrade of production is never killed.
func (p Program) Run(ctx context.Context, from, to cluster.Version, dir string) error {
	cmd := exec.CommandContext(ctx, p.Args[0], p.Args[1:]...)
	cmd.Env = append(os.Environ(), "REHEARSE_FROM="+from.String(), "REHEARSE_TO="+to.String(), "REHEARSE_RUN_DIR="+dir)
	cmd.Stdout, cmd.Stderr = p.Output, p.Output
	// In a group of its own a terminal's Ctrl-C does not reach it a second time.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	err := cmd.Run()
	if err == nil {
		return nil
	}
	// The arguments may hold secrets: only the program is named.
	name := command.Quote(p.Args[:1])
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: %w; what it printed is in the log above", name, err)
	}
	return fmt.Errorf("%s: %w; is it installed, and executable?", name, err)
}
