package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

// repository is the prefix of the names of all images that are built here.
const repository = "rehearse"

// Builder finds, pulls and builds images. It may be used from several
// goroutines; what two of them need is made once.
type Builder struct {
	docker    *docker.Client
	cache     cache
	progress  Progress
	recipe    recipe
	toolchain toolchain
}

// Options configure a Builder. The zero value is useful.
type Options struct {
	Docker   *docker.Client // nil means the docker on PATH
	CacheDir string         // empty means that of CacheDir()
	Progress Progress       // nil means log lines on slog's default logger
}

// New returns a Builder. It touches neither Docker nor the disk.
func New(o Options) (*Builder, error) {
	b := &Builder{docker: o.Docker, progress: o.Progress, recipe: current()}
	if b.docker == nil {
		b.docker = &docker.Client{}
	}
	if b.progress == nil {
		b.progress = LogProgress(slog.Default())
	}
	b.cache.dir = o.CacheDir
	if b.cache.dir == "" {
		dir, err := CacheDir()
		if err != nil {
			return nil, err
		}
		b.cache.dir = dir
	}
	b.toolchain.scratch = os.TempDir()
	return b, nil
}

// stage is cache.stage with progress.
func (b *Builder) stage(ctx context.Context, name, key, title string, expected time.Duration, build func(context.Context, string) error) (string, error) {
	waiting := func() { b.progress.Note("waiting for another process: " + title) }
	return b.cache.stage(ctx, name, key, waiting, func(ctx context.Context, dir string) error {
		end := b.progress.Stage(title, expected)
		err := build(ctx, dir)
		end(err)
		return err
	})
}

// work is a stage whose result is in Docker rather than in the cache.
func (b *Builder) work(ctx context.Context, title string, expected time.Duration, do func(context.Context) error) error {
	end := b.progress.Stage(title, expected)
	err := do(ctx)
	end(err)
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	return nil
}

// has reports whether Docker has ref, made by the recipe of that key.
func (b *Builder) has(ctx context.Context, ref, key string) (bool, error) {
	img, found, err := b.docker.Image(ctx, ref)
	return found && img.Labels[LabelRecipe] == key, err
}

// locked runs f while no other process builds the image of that key.
func (b *Builder) locked(ctx context.Context, name string, f func() error) (err error) {
	unlock, err := b.cache.lock(ctx, name, func() { b.progress.Note("waiting for another process: " + name) })
	if err != nil {
		return err
	}
	defer unlock()
	return f()
}

// cleanupTime bounds how long removing a container may take after the context
// has ended.
const cleanupTime = 30 * time.Second

// removeContainer removes a container also when ctx has ended.
func (b *Builder) removeContainer(ctx context.Context, name string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	return errors.Join(err, b.docker.RemoveContainer(ctx, name))
}

func minutes(n float64) time.Duration { return time.Duration(n * float64(time.Minute)) }
