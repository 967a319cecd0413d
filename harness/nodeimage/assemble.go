package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

// searchPath is where the container runtimes look for a container's command.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// fileLayer is an uncompressed image layer in a file. Compressing it would
// cost a minute for each node image, and each node that is created would spend
// the time of an upgrade under measurement on decompressing it again.
type fileLayer struct {
	path string
	hash v1.Hash
	size int64
}

// writeLayer writes a layer to path by means of fill.
func writeLayer(path string, fill func(*layer)) (v1.Layer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write an image layer: %w", err)
	}
	sum := sha256.New()
	counted := &counter{w: io.MultiWriter(f, sum)}
	l := newLayer(counted)
	fill(l)
	if err := errors.Join(l.close(), f.Close()); err != nil {
		return nil, err
	}
	return &fileLayer{path: path, size: counted.n, hash: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}}, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (l *fileLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l *fileLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }
func (l *fileLayer) Size() (int64, error)                 { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error)  { return types.DockerUncompressedLayer, nil }

// image puts layers and a configuration together.
func (b *Builder) image(config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, fmt.Errorf("assemble an image: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("assemble an image: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", b.recipe.Architecture
	config.Env = append([]string{searchPath}, config.Env...)
	file.Config = config
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		return nil, fmt.Errorf("assemble an image: %w", err)
	}
	return img, nil
}

// writeArchive writes images under their references as one archive that docker
// and ctr load.
func writeArchive(w io.Writer, images map[string]v1.Image) error {
	tagged := map[name.Tag]v1.Image{}
	for ref, img := range images {
		tag, err := name.NewTag(ref)
		if err != nil {
			return fmt.Errorf("name an image: %w", err)
		}
		tagged[tag] = img
	}
	if err := tarball.MultiWrite(tagged, w); err != nil {
		return fmt.Errorf("write an image archive: %w", err)
	}
	return nil
}

// load loads one image into Docker under ref.
func load(ctx context.Context, d *docker.Client, ref string, img v1.Image) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := writeArchive(w, map[string]v1.Image{ref: img})
		written <- errors.Join(err, w.CloseWithError(err))
	}()
	err := d.Load(ctx, r)
	// Ends the writer when the client ended before it had read everything.
	closeErr := r.Close()
	return errors.Join(err, closeErr, ignoreClosed(<-written))
}

func ignoreClosed(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// withScratch calls f with a directory for large temporary files, which is
// removed afterwards. It is in the cache, because /tmp may be small.
func (b *Builder) withScratch(f func(dir string) error) error {
	if err := os.MkdirAll(b.cache.dir, 0o755); err != nil {
		return fmt.Errorf("make the cache directory: %w", err)
	}
	dir, err := os.MkdirTemp(b.cache.dir, "scratch-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	return errors.Join(f(dir), os.RemoveAll(filepath.Clean(dir)))
}
