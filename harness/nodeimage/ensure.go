package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

// Source says where an image came from.
type Source string

// The sources of an image.
const (
	Found  Source = "found"  // it was in Docker, and was not built here
	Pulled Source = "pulled" // by this call
	Built  Source = "built"  // by this call or an earlier one
)

// Image is one image in Docker.
type Image struct {
	Version   cluster.Version `json:"version,omitempty"` // of Kubernetes; empty for the balancer
	Ref       string          `json:"image"`
	ID        string          `json:"id"`
	Source    Source          `json:"source"`
	Size      int64           `json:"size"` // bytes, uncompressed; layers are shared between images
	RecipeKey string          `json:"recipeKey,omitempty"`
	Created   time.Time       `json:"created"`
	// Flannel says that the image's own network is flannel. Pulled images
	// carry kindnet.
	Flannel  bool     `json:"flannel"`
	Warnings []string `json:"warnings,omitempty"`
}

// pullable is the name of upstream's node image of that version. Upstream
// publishes images for some patch releases only.
func pullable(v cluster.Version) string { return "kindest/node:" + v.String() }

// pullTimeout bounds the question whether an image can be pulled, not the
// pull: behind a firewall that drops packets it would take minutes.
const pullTimeout = 15 * time.Second

// Ensure makes sure that Docker has a node image of every version, and returns
// them in the order of the versions. What has to be built is built at once;
// an error does not undo what is finished, and calling Ensure again resumes.
func (b *Builder) Ensure(ctx context.Context, versions ...cluster.Version) ([]Image, error) {
	return b.ensure(ctx, versions, func(v cluster.Version) (Image, error) {
		img, err := b.findBuilt(ctx, v)
		if err != nil || img.Ref != "" {
			return img, err
		}
		img, err = b.findOrPull(ctx, pullable(v))
		img.Version = v
		return img, err
	})
}

// Build is Ensure without upstream's images: what is not built yet is built,
// also where it could be pulled. Built images carry flannel, pulled ones do not.
func (b *Builder) Build(ctx context.Context, versions ...cluster.Version) ([]Image, error) {
	return b.ensure(ctx, versions, func(v cluster.Version) (Image, error) { return b.findBuilt(ctx, v) })
}

// ensure builds what find returns the zero Image for.
func (b *Builder) ensure(ctx context.Context, versions []cluster.Version, find func(cluster.Version) (Image, error)) ([]Image, error) {
	if err := Supported(versions...); err != nil {
		return nil, err
	}
	images := make([]Image, len(versions))
	var missing []cluster.Version
	for i, v := range versions {
		img, err := find(v)
		if err != nil {
			return nil, fmt.Errorf("node image %s: %w", v, err)
		}
		images[i] = img
		if img.Ref == "" && !slices.Contains(missing, v) {
			missing = append(missing, v)
		}
	}
	if len(missing) == 0 {
		return images, nil
	}
	if err := b.buildAll(ctx, missing); err != nil {
		return nil, err
	}
	for i, v := range versions {
		if images[i].Ref != "" {
			continue
		}
		img, err := b.inspect(ctx, builtRef(v), Built)
		if err != nil {
			return nil, fmt.Errorf("node image %s: %w", v, err)
		}
		images[i] = img
	}
	return images, nil
}

// Node is Ensure for one version; it returns the image's name.
func (b *Builder) Node(ctx context.Context, v cluster.Version) (ref string, err error) {
	images, err := b.Ensure(ctx, v)
	if err != nil {
		return "", err
	}
	return images[0].Ref, nil
}

// Balancer is EnsureBalancer; it returns the image's name.
func (b *Builder) Balancer(ctx context.Context) (ref string, err error) {
	img, err := b.EnsureBalancer(ctx)
	return img.Ref, err
}

// buildAll builds the images of all versions. Debian is installed while Go
// compiles: the one waits for the network and the disk, the other for the CPU.
func (b *Builder) buildAll(ctx context.Context, versions []cluster.Version) error {
	group, early := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := b.rootfs(early)
		return err
	})
	group.Go(func() error {
		for _, v := range versions {
			if _, err := b.kubernetes(early, v); err != nil {
				return fmt.Errorf("node image %s: %w", v, err)
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, v := range versions {
		if err := b.build(ctx, v); err != nil {
			return fmt.Errorf("node image %s: %w", v, err)
		}
	}
	return nil
}

// Supported returns an error that names every version that node images are not
// made for.
func Supported(versions ...cluster.Version) error {
	var errs []error
	for _, v := range versions {
		parsed, err := cluster.ParseVersion(v.String())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if minor := parsed.Minor(); !strings.HasPrefix(parsed.String(), "v1.") || minor < OldestMinor || minor > NewestMinor {
			errs = append(errs, fmt.Errorf("version %s: node images are made for v1.%d to v1.%d", v, OldestMinor, NewestMinor))
		}
	}
	return errors.Join(errs...)
}

// findBuilt returns the image that the current recipe has built of that
// version, or the zero Image.
func (b *Builder) findBuilt(ctx context.Context, v cluster.Version) (Image, error) {
	img, found, err := b.docker.Image(ctx, builtRef(v))
	if err != nil || !found || img.Labels[LabelRecipe] != b.recipe.nodeKey(v) {
		return Image{}, err
	}
	return describe(builtRef(v), img, Built), nil
}

// findOrPull returns the image when Docker has it or can pull it, and the zero
// Image otherwise.
func (b *Builder) findOrPull(ctx context.Context, ref string) (Image, error) {
	img, found, err := b.docker.Image(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	if found {
		return describe(ref, img, Found), nil
	}
	asking, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	if err := b.docker.Run(asking, "manifest", "inspect", ref); err != nil {
		// No registry, or no such image in it: both leave building.
		return Image{}, ctx.Err()
	}
	if err := b.work(ctx, "pull "+ref, minutes(2), func(ctx context.Context) error { return b.docker.Pull(ctx, ref) }); err != nil {
		return Image{}, err
	}
	return b.inspect(ctx, ref, Pulled)
}

func (b *Builder) inspect(ctx context.Context, ref string, source Source) (Image, error) {
	img, found, err := b.docker.Image(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	if !found {
		return Image{}, fmt.Errorf("image %s is gone from Docker; did something prune it just now?", ref)
	}
	return describe(ref, img, source), nil
}

// describe tells an image built here by its labels, whatever source says.
func describe(ref string, img docker.Image, source Source) Image {
	d := Image{
		Version: cluster.Version(img.Labels[LabelKubernetes]), Ref: ref, ID: img.ID, Source: source,
		Size: img.Size, RecipeKey: img.Labels[LabelRecipe], Created: img.Created,
	}
	if d.RecipeKey != "" {
		d.Source = Built
		d.Flannel = img.Labels[LabelKind] == "node"
	}
	if w := img.Labels[LabelWarnings]; w != "" {
		d.Warnings = strings.Split(w, "; ")
	}
	return d
}

// List returns the node images in Docker, built here or upstream's, sorted by
// version and name.
func (b *Builder) List(ctx context.Context) ([]Image, error) {
	var all []Image
	for _, filter := range []string{"reference=" + repository + "/node", "reference=kindest/node"} {
		images, err := b.docker.Images(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, img := range images {
			for _, tag := range img.Tags {
				repo, version, _ := strings.Cut(tag, ":")
				v, err := cluster.ParseVersion(version)
				if err != nil || repo != repository+"/node" && repo != "kindest/node" {
					continue
				}
				d := describe(tag, img, Found)
				d.Version = v
				all = append(all, d)
			}
		}
	}
	slices.SortFunc(all, func(a, b Image) int {
		switch {
		case a.Version.Less(b.Version):
			return -1
		case b.Version.Less(a.Version):
			return 1
		}
		return strings.Compare(a.Ref, b.Ref)
	})
	return slices.CompactFunc(all, func(a, b Image) bool { return a.Ref == b.Ref }), nil
}

// PullableProbe is a node image that upstream has published, to learn by
// whether its registry can be reached.
const PullableProbe = "kindest/node:v1.34.0"
