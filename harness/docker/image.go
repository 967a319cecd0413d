package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Image is one image in the engine.
type Image struct {
	ID           string
	Tags         []string // sorted
	Size         int64    // bytes, uncompressed
	Created      time.Time
	Architecture string // Go's names: amd64, arm64
	Labels       map[string]string
}

// Image looks an image up by reference or id. A missing image is (zero,
// false, nil); an error means that the engine could not be asked.
func (c *Client) Image(ctx context.Context, ref string) (Image, bool, error) {
	images, err := c.inspectImages(ctx, ref)
	if IsNotFound(err) {
		return Image{}, false, nil
	}
	if err != nil {
		return Image{}, false, fmt.Errorf("inspect image %s: %w", ref, err)
	}
	if len(images) != 1 {
		return Image{}, false, fmt.Errorf("inspect image %s: want one image, got %d", ref, len(images))
	}
	return images[0], true, nil
}

// Images lists the images that match all filters, each in the form of
// `docker images --filter`, for example "label=key" or "reference=name".
// An image with several tags is listed once.
func (c *Client) Images(ctx context.Context, filters ...string) ([]Image, error) {
	out, err := c.Output(ctx, slices.Concat([]string{"images", "--quiet", "--no-trunc"}, repeated("--filter", filters))...)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	ids := strings.Fields(out)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return nil, nil
	}
	images, err := c.inspectImages(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return images, nil
}

func (c *Client) inspectImages(ctx context.Context, refs ...string) ([]Image, error) {
	out, err := c.Output(ctx, append([]string{"image", "inspect"}, refs...)...)
	if err != nil {
		return nil, err
	}
	var raw []struct {
		ID           string `json:"Id"`
		RepoTags     []string
		Size         int64
		Created      time.Time
		Architecture string
		Config       *struct{ Labels map[string]string }
	}
	if err := json.Unmarshal([]byte(out), &raw); err != nil {
		return nil, fmt.Errorf("decode the output of docker image inspect: %w", err)
	}
	images := make([]Image, len(raw))
	for i, r := range raw {
		slices.Sort(r.RepoTags)
		images[i] = Image{ID: r.ID, Tags: r.RepoTags, Size: r.Size, Created: r.Created, Architecture: r.Architecture}
		if r.Config != nil {
			images[i].Labels = r.Config.Labels
		}
	}
	return images, nil
}

// Pull pulls ref from its registry.
func (c *Client) Pull(ctx context.Context, ref string) error {
	if err := c.Run(ctx, "pull", "--quiet", ref); err != nil {
		return fmt.Errorf("pull image %s: %w", ref, err)
	}
	return nil
}

// Import makes an image of one layer out of a tar stream. Changes are
// Dockerfile instructions such as `ENTRYPOINT ["/canary"]` or `LABEL k=v`. The
// name appears only once the whole stream has been read.
func (c *Client) Import(ctx context.Context, tar io.Reader, ref string, changes ...string) error {
	args := slices.Concat([]string{"import"}, repeated("--change", changes), []string{"-", ref})
	// The engine takes the end of the stream for the end of the tar, so when
	// reading the layer fails it has just named half an image.
	layer := &failingReader{Reader: tar}
	err := c.Pipe(ctx, layer, nil, args...)
	if layer.err != nil {
		err = errors.Join(err, c.RemoveImage(context.WithoutCancel(ctx), ref))
	}
	if err != nil {
		return fmt.Errorf("import image %s: %w", ref, err)
	}
	return nil
}

// failingReader remembers an error other than the end of the stream.
type failingReader struct {
	io.Reader
	err error
}

func (r *failingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// Load loads the images of an archive in the form that `docker save` writes.
func (c *Client) Load(ctx context.Context, archive io.Reader) error {
	if err := c.Pipe(ctx, archive, nil, "load", "--quiet"); err != nil {
		return fmt.Errorf("load images: %w", err)
	}
	return nil
}

// Save writes images as an archive that Load and `ctr images import` read.
func (c *Client) Save(ctx context.Context, w io.Writer, refs ...string) error {
	if err := c.Pipe(ctx, nil, w, append([]string{"save"}, refs...)...); err != nil {
		return fmt.Errorf("save images %s: %w", strings.Join(refs, ", "), err)
	}
	return nil
}

// Commit makes an image of a container. See Import for changes.
func (c *Client) Commit(ctx context.Context, container, ref string, changes ...string) error {
	args := slices.Concat([]string{"commit"}, repeated("--change", changes), []string{container, ref})
	if err := c.Run(ctx, args...); err != nil {
		return fmt.Errorf("commit container %s as %s: %w", container, ref, err)
	}
	return nil
}

// Tag gives an image one more name.
func (c *Client) Tag(ctx context.Context, ref, name string) error {
	if err := c.Run(ctx, "tag", ref, name); err != nil {
		return fmt.Errorf("tag image %s as %s: %w", ref, name, err)
	}
	return nil
}

// RemoveImage removes a name, and the image when it was the last. A missing
// image is not an error.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	if err := c.Run(ctx, "rmi", ref); err != nil && !IsNotFound(err) {
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	return nil
}

// repeated gives a flag once for each value.
func repeated(flag string, values []string) []string {
	args := make([]string, 0, 2*len(values))
	for _, v := range values {
		args = append(args, flag, v)
	}
	return args
}
