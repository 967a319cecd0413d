package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Program is a Go program that runs alone in an image.
type Program struct {
	Name string // of the image, after "rehearse/", and of the executable
	// Executable is a static executable to use as it is. When it is empty,
	// Package is compiled: an import path that is resolved in Dir, a directory
	// of the module that holds it.
	Executable   string
	Package, Dir string
	User         string // numeric, "65532:65532"; empty means root
}

// LabelContent is the label that holds the hash of an image's executable.
const LabelContent = "io.rehearse.content"

// EnsureProgram makes sure that Docker has an image that holds the static
// executable of a program and nothing else, and returns it. The tag is a hash
// of the executable, so a program that changed gets another image, and one that
// did not is only compiled, which Go's build cache makes a matter of seconds.
// The entrypoint is /NAME.
func (b *Builder) EnsureProgram(ctx context.Context, p Program) (Image, error) {
	var img Image
	err := b.withScratch(func(dir string) error {
		executable := p.Executable
		if executable == "" {
			executable = filepath.Join(dir, p.Name)
			if _, err := b.toolchain.runIn(ctx, p.Dir, "build", "-trimpath", "-ldflags", "-s -w", "-o", executable, p.Package); err != nil {
				return fmt.Errorf("compile %s: %w", p.Package, err)
			}
		}
		sum, err := hashFile(executable)
		if err != nil {
			return err
		}
		content := key("program", sum, p.User, b.recipe.Architecture)
		ref := repository + "/" + p.Name + ":" + content
		found, ok, err := b.docker.Image(ctx, ref)
		if err != nil {
			return err
		}
		if ok {
			img = describe(ref, found, Built)
			return nil
		}
		layer, err := writeLayer(filepath.Join(dir, "program.tar"), func(l *layer) {
			l.copyFile(p.Name, 0o755, executable)
			l.dir("tmp", 0o1777)
		})
		if err != nil {
			return err
		}
		assembled, err := b.image(v1.Config{
			Entrypoint: []string{"/" + p.Name}, User: p.User,
			Labels: map[string]string{LabelKind: "program", LabelRecipe: content, LabelContent: sum},
		}, layer)
		if err != nil {
			return err
		}
		if err := load(ctx, b.docker, ref, assembled); err != nil {
			return err
		}
		img, err = b.inspect(ctx, ref, Built)
		return err
	})
	if err != nil {
		return Image{}, fmt.Errorf("image of %s: %w", p.Name, err)
	}
	return img, nil
}

// runIn runs go in a directory of the user's own module, whose workspace and
// module flags it keeps.
func (t toolchain) runIn(ctx context.Context, dir string, args ...string) (string, error) {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -buildvcs=false"))
	return t.runEnv(ctx, dir, env, args...)
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hash an executable: %w", err)
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
