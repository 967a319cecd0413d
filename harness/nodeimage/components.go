package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// component is one part of a node, other than Kubernetes, that is compiled
// from a Go module.
type component struct {
	name    string // also the name of its stage
	path    string // of its module
	version string
	// exact is set where no other version may stand in.
	exact bool
	// program says what to compile; it need not fill in module.
	program func(m module) (program, error)
	// sources are templates that the result depends on.
	sources []string
}

func (r recipe) containerd() component {
	const path = "github.com/containerd/containerd/v2"
	return component{name: "containerd", path: path, version: r.Containerd, program: func(m module) (program, error) {
		return program{
			packages: []string{path + "/cmd/containerd", path + "/cmd/containerd-shim-runc-v2", path + "/cmd/ctr"},
			// Snapshotters that a node never selects.
			tags:    "no_aufs no_btrfs no_devmapper no_zfs",
			ldflags: "-X " + path + "/version.Version=" + m.Version,
		}, nil
	}}
}

const cniModule = "github.com/containernetworking/plugins"

func (r recipe) cni() component {
	return component{name: "cni", path: cniModule, version: r.CNI, program: func(module) (program, error) {
		return program{packages: []string{
			cniModule + "/plugins/ipam/host-local", cniModule + "/plugins/main/bridge",
			cniModule + "/plugins/main/loopback", cniModule + "/plugins/main/ptp", cniModule + "/plugins/meta/portmap",
		}}, nil
	}}
}

func (r recipe) flannelCNI() component {
	return component{name: "cni-flannel", path: cniModule, version: r.FlannelCNI, exact: true,
		program: func(module) (program, error) {
			return program{packages: []string{cniModule + "/plugins/meta/flannel"}}, nil
		}}
}

// unusedBackends are flannel's back ends that are left out: udp needs a C
// compiler, the others the client libraries of a cloud.
var unusedBackends = regexp.MustCompile(`(?m)^.*"github\.com/flannel-io/flannel/pkg/backend/(alivpc|awsvpc|gce|tencentvpc|udp)"\n`)

func (r recipe) flannel() component {
	const path = "github.com/flannel-io/flannel"
	return component{name: "flannel", path: path, version: r.Flannel, program: func(m module) (program, error) {
		main, err := os.ReadFile(filepath.Join(m.Dir, "main.go"))
		if err != nil {
			return program{}, fmt.Errorf("read the main package of flannel: %w", err)
		}
		return program{
			files:    map[string]string{"main.go": unusedBackends.ReplaceAllString(string(main), "")},
			packages: []string{"."}, names: map[string]string{throwAway: "flanneld"},
			ldflags: "-X " + path + "/pkg/version.Version=" + m.Version,
		}, nil
	}}
}

// etcd builds the server and its client. tag is as kubeadm gives it, with
// Kubernetes' own revision at the end: 3.6.5-0.
func etcd(tag string) component {
	version, _, _ := strings.Cut(tag, "-")
	const server, client = "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdctl/v3"
	return component{name: "etcd", path: server, version: "v" + strings.TrimPrefix(version, "v"), program: func(m module) (program, error) {
		return program{
			requires: []string{client + " " + m.Version}, packages: []string{server, client},
			names: map[string]string{"server": "etcd"},
		}, nil
	}}
}

func coreDNS(tag string) component {
	const path = "github.com/coredns/coredns"
	main := template("coredns.go.tmpl")
	return component{name: "coredns", path: path, version: "v" + strings.TrimPrefix(tag, "v"), sources: []string{main},
		program: func(module) (program, error) {
			return program{
				files: map[string]string{"main.go": main}, packages: []string{"."},
				names: map[string]string{throwAway: "coredns"},
			}, nil
		}}
}

// built is a component's stage: its directory, and what to know about it.
type built struct {
	dir     string
	warning string
}

// warningFile keeps the warning with the stage, so that it is not lost when
// the stage is found rather than built.
const warningFile = "WARNING"

// component returns the stage of c, building it when it does not exist.
func (b *Builder) component(ctx context.Context, c component) (built, error) {
	dir, err := b.stage(ctx, c.name, b.recipe.componentKey(c.name, c.version, c.sources...),
		fmt.Sprintf("compile %s %s", c.name, c.version), minutes(2), func(ctx context.Context, dir string) error {
			return b.compile(ctx, c, dir)
		})
	if err != nil {
		return built{}, err
	}
	warning, err := os.ReadFile(filepath.Join(dir, warningFile))
	if err != nil && !os.IsNotExist(err) {
		return built{}, fmt.Errorf("read the warning of %s: %w", c.name, err)
	}
	return built{dir: dir, warning: string(warning)}, nil
}

func (b *Builder) compile(ctx context.Context, c component, dir string) error {
	var m module
	var warning string
	var err error
	if c.exact {
		m, err = b.toolchain.download(ctx, c.path, c.version)
	} else {
		m, warning, err = b.toolchain.nearest(ctx, c.path, c.version)
	}
	if err != nil {
		return err
	}
	p, err := c.program(m)
	if err != nil {
		return err
	}
	p.module = m
	work := filepath.Join(dir, "module")
	if err := b.toolchain.build(ctx, work, p, dir); err != nil {
		return err
	}
	if warning != "" {
		if err := os.WriteFile(filepath.Join(dir, warningFile), []byte(warning), 0o644); err != nil {
			return fmt.Errorf("record the warning: %w", err)
		}
	}
	return os.RemoveAll(work)
}

// pause has no module of its own; its source is a template.
func (b *Builder) pause(ctx context.Context) (string, error) {
	main := template("pause.go.tmpl")
	return b.stage(ctx, "pause", b.recipe.componentKey("pause", "", main), "compile pause", 0, func(ctx context.Context, dir string) error {
		work := filepath.Join(dir, "module")
		if err := writeFiles(work, map[string]string{"go.mod": "module pause\n\ngo 1.21\n", "main.go": main}); err != nil {
			return err
		}
		if _, err := b.toolchain.run(ctx, work, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "pause"), "."); err != nil {
			return fmt.Errorf("compile pause: %w", err)
		}
		return os.RemoveAll(work)
	})
}
