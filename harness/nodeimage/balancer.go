package nodeimage

import (
	"context"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// BalancerImage is the image that kind's own balancer of control planes runs;
// kind has the name built in, so the built image must carry it.
const BalancerImage = "docker.io/kindest/haproxy:v20251211-v0.29.0-alpha-100-g82a92c5d"

// balancerEntrypoint differs from that of kind's image in -n: kind's
// configuration asks for 100,000 connections, and where the limit on open
// files cannot be raised haproxy would refuse to start.
var balancerEntrypoint = []string{"haproxy", "-W", "-db", "-n", "4000", "-f", "/usr/local/etc/haproxy/haproxy.cfg"}

// balancerTools are what kind calls in the container of its balancer.
var balancerTools = []string{"/usr/sbin/haproxy", "/usr/bin/cp", "/usr/bin/mkdir", "/usr/bin/kill"}

// EnsureBalancer makes sure that Docker has the balancer's image, which serves
// both kind's control planes and the canary, and returns it.
func (b *Builder) EnsureBalancer(ctx context.Context) (Image, error) {
	img, err := b.findOrPull(ctx, BalancerImage)
	if err == nil && img.Ref == "" {
		img, err = b.buildBalancer(ctx)
	}
	if err != nil {
		return Image{}, fmt.Errorf("balancer image: %w", err)
	}
	return img, nil
}

func (b *Builder) buildBalancer(ctx context.Context) (Image, error) {
	err := b.locked(ctx, "balancer-"+b.recipe.balancerKey(), func() error {
		if _, found, err := b.docker.Image(ctx, BalancerImage); err != nil || found {
			return err
		}
		rootfs, err := b.rootfs(ctx)
		if err != nil {
			return err
		}
		kind, err := b.kind(ctx)
		if err != nil {
			return err
		}
		return b.work(ctx, "assemble the balancer image", 0, func(ctx context.Context) error {
			return b.withScratch(func(dir string) error {
				layer, err := writeLayer(filepath.Join(dir, "balancer.tar"), func(l *layer) {
					l.closure(rootfs, balancerTools...)
					l.copyFile("usr/local/etc/haproxy/haproxy.cfg", 0o644, filepath.Join(kind.Dir, "images", "haproxy", "haproxy.cfg"))
					l.dir("tmp", 0o1777)
				})
				if err != nil {
					return err
				}
				img, err := b.image(v1.Config{
					Entrypoint: balancerEntrypoint, StopSignal: "SIGUSR1",
					Labels: map[string]string{LabelKind: "balancer", LabelRecipe: b.recipe.balancerKey()},
				}, layer)
				if err != nil {
					return err
				}
				return load(ctx, b.docker, BalancerImage, img)
			})
		})
	})
	if err != nil {
		return Image{}, err
	}
	return b.inspect(ctx, BalancerImage, Built)
}
