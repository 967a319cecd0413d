package kind

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
)

// docker exec gives up on what a program has printed two seconds after the
// program has ended (moby's monitor.go). On a busy machine that cuts the end
// off a long stream, and with it the whole output of a short one, and the exit
// code is 0 all the same. So nothing long is read from docker exec here: files
// come out of a container with docker cp. Writing to a program's standard
// input has no such bound.

// queryAttempts is how often query asks.
const queryAttempts = 3

// query runs a program that always prints something, and again when nothing
// came.
func (d *Driver) query(ctx context.Context, container string, args ...string) (string, error) {
	for attempt := 1; ; attempt++ {
		out, err := d.on(ctx, container, args...)
		if err != nil || out != "" {
			return out, err
		}
		if attempt == queryAttempts {
			return "", fmt.Errorf("%s in container %s printed nothing, %d times", command.Quote(args), container, queryAttempts)
		}
	}
}

// sendFile streams a file of one container into a docker command.
func (d *Driver) sendFile(ctx context.Context, container, path string, target ...string) error {
	return d.stream(ctx, []string{"cp", container + ":" + path, "-"}, target, func(r io.Reader) (io.Reader, error) {
		// docker cp wraps what it copies in a tar of one file.
		archive := tar.NewReader(r)
		if _, err := archive.Next(); err != nil {
			return nil, fmt.Errorf("read %s of container %s: %w", path, container, err)
		}
		return archive, nil
	})
}

// sendImage streams an image of Docker's into a docker command.
func (d *Driver) sendImage(ctx context.Context, ref string, target ...string) error {
	return d.stream(ctx, []string{"save", ref}, target, func(r io.Reader) (io.Reader, error) { return r, nil })
}

// stream runs two docker commands, of which the second reads what the first
// prints, by way of through. It fails when either does.
func (d *Driver) stream(ctx context.Context, source, target []string, through func(io.Reader) (io.Reader, error)) error {
	fmt.Fprintf(cluster.Output(ctx), "docker$ %s | %s\n", command.Quote(source), command.Quote(target))
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := d.docker.Pipe(ctx, nil, w, source...)
		// The reader must not take a broken stream for a complete one.
		_ = w.CloseWithError(err)
		sent <- err
	}()
	err := func() error {
		content, err := through(r)
		if err != nil {
			return err
		}
		if err := d.docker.Pipe(ctx, content, nil, target...); err != nil {
			return err
		}
		// What is left is padding, but the source must be able to write it.
		_, err = io.Copy(io.Discard, r)
		return err
	}()
	if err != nil {
		// Unblocks the source. Its error is worth telling all the same: it may
		// have been first, and the reason for the other.
		_ = r.CloseWithError(err)
	}
	return errors.Join(err, <-sent)
}
