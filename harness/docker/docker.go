// Package docker is the one way this project talks to Docker: through the
// docker command line client, as kind itself does.
//
// Every call blocks until the client has ended or the context has; a context
// that ends kills the client and its children. Errors carry the command line
// and the end of its output. Use [IsNotFound] and [IsUnavailable] to branch on
// them.
//
// A Client holds no state and may be used from several goroutines.
package docker

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"regexp"

	"github.com/kube-rehearse/rehearse/harness/command"
)

// Client runs the docker command line client. The zero value runs "docker"
// as found on PATH, with the environment of the caller (so DOCKER_HOST and
// contexts work as usual).
type Client struct {
	// Binary is the client to run; empty means "docker".
	Binary string
}

func (c *Client) argv(args []string) []string {
	binary := c.Binary
	if binary == "" {
		binary = "docker"
	}
	return append([]string{binary}, args...)
}

// Run runs `docker args...` and discards its output, save for the error.
func (c *Client) Run(ctx context.Context, args ...string) error {
	return command.Run(ctx, command.Cmd{Args: c.argv(args)})
}

// Output runs `docker args...` and returns its standard output without
// trailing newlines.
func (c *Client) Output(ctx context.Context, args ...string) (string, error) {
	return command.Output(ctx, command.Cmd{Args: c.argv(args)})
}

// Pipe runs `docker args...` between the two streams; either may be nil.
func (c *Client) Pipe(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	return command.Run(ctx, command.Cmd{Args: c.argv(args), Stdin: stdin, Stdout: stdout})
}

// Exec runs a program in a running container and returns its standard output
// without trailing newlines.
func (c *Client) Exec(ctx context.Context, container string, args ...string) (string, error) {
	return c.Output(ctx, append([]string{"exec", container}, args...)...)
}

// IsNotFound reports whether err says that an image, container, network or
// volume does not exist.
func IsNotFound(err error) bool {
	return outputMatches(err, notFound)
}

// The engine has worded it in two ways over the years. A program that is
// missing in a container ("executable file not found") is something else.
var notFound = regexp.MustCompile(`(?i)no such (image|container|network|volume|object)|(image|container|network|volume) \S+ not found`)

var unavailable = regexp.MustCompile(`(?i)cannot connect to the docker daemon|failed to connect to the docker api|` +
	`error during connect|permission denied while trying to connect`)

// IsUnavailable reports whether err says that there is no client, or that no
// engine answers it.
func IsUnavailable(err error) bool {
	var e *command.Error
	if !errors.As(err, &e) {
		return false
	}
	noClient := e.ExitCode == -1 && errors.Is(e.Err, exec.ErrNotFound)
	return noClient || outputMatches(err, unavailable)
}

func outputMatches(err error, phrase *regexp.Regexp) bool {
	var e *command.Error
	return errors.As(err, &e) && phrase.MatchString(e.Output)
}
