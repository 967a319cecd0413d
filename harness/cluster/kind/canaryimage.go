package kind

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/docker"
)

const (
	canaryPackage    = "github.com/kube-rehearse/rehearse/cmd/canary"
	canaryRepository = "rehearse/canary"
)

// CanaryImage implements cluster.CanaryImager.
func (d *Driver) CanaryImage(ctx context.Context, c *cluster.Cluster) (string, error) {
	ref, err := d.canaryImage(ctx)
	if err != nil {
		return "", err
	}
	name, err := clusterName(c.Spec)
	if err != nil {
		return "", err
	}
	nodes, err := d.nodes(ctx, name)
	if err != nil {
		return "", err
	}
	for _, n := range nodes.names() {
		if err := d.sendImage(ctx, ref, importInto(n)...); err != nil {
			return "", fmt.Errorf("load image %s into node %s: %w", ref, n, err)
		}
	}
	return ref, nil
}

// canaryImage makes an image of the canary's executable, and nothing else, and
// returns its name, which follows from the executable's content.
func (d *Driver) canaryImage(ctx context.Context) (string, error) {
	info, err := d.docker.Info(ctx)
	if err != nil {
		return "", err
	}
	binary, err := d.canaryExecutable(ctx, info.Architecture)
	if err != nil {
		return "", fmt.Errorf("canary image: %w", err)
	}
	sum := sha256.Sum256(binary)
	ref := canaryRepository + ":" + hex.EncodeToString(sum[:6])
	if _, found, err := d.docker.Image(ctx, ref); err != nil || found {
		return ref, err
	}
	archive, err := docker.OneFile("canary", 0o755, binary)
	if err != nil {
		return "", err
	}
	return ref, d.docker.Import(ctx, archive, ref, `ENTRYPOINT ["/canary"]`)
}

// canaryExecutable reads the canary's executable from where Options.CanaryBinary
// says, and refuses one that could not run in an empty image.
func (d *Driver) canaryExecutable(ctx context.Context, architecture string) ([]byte, error) {
	path := d.canaryBinary
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this executable: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "canary")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			dir, err := os.MkdirTemp("", "rehearse-canary-")
			if err != nil {
				return nil, fmt.Errorf("make a directory to compile the canary in: %w", err)
			}
			defer func() { _ = os.RemoveAll(dir) }()
			missing := path
			path = filepath.Join(dir, "canary")
			if err := compileCanary(ctx, path, architecture); err != nil {
				return nil, fmt.Errorf("there is no %s, and it could not be compiled: %w; put it there with `go build -o %s %s`",
					missing, err, missing, canaryPackage)
			}
		}
	}
	if err := checkExecutable(path, architecture); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// goArchitectures are Go's names for uname's.
var goArchitectures = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

// compileCanary works inside a checkout of this module, and where Go finds it
// as a dependency.
func compileCanary(ctx context.Context, path, architecture string) error {
	goarch, known := goArchitectures[architecture]
	if !known {
		return fmt.Errorf("the engine runs on %q; supported are x86_64 and aarch64", architecture)
	}
	return command.Run(ctx, command.Cmd{
		Args: []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, canaryPackage},
		Env:  append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch),
	})
}

// checkExecutable reports an executable that asks for a dynamic linker, or is
// for another machine.
func checkExecutable(path, architecture string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("canary executable %s: want a Linux executable: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("canary executable %s is dynamically linked and cannot run in an empty image; build it with CGO_ENABLED=0", path)
		}
	}
	machines := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}
	if got, want := machines[f.Machine], goArchitectures[architecture]; got != want {
		return fmt.Errorf("canary executable %s is for %s, Docker runs on %s", path, strings.ToLower(f.Machine.String()), architecture)
	}
	return nil
}
