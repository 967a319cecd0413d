package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Check is one thing looked at on this machine.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"` // a rehearsal on kind cannot be carried out without it
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what to do about it; empty when OK
}

// Checks says what HostChecks compares the machine with.
type Checks struct {
	Client *Client
	// PullableImage is asked of its registry, without pulling it. Empty skips
	// the check.
	PullableImage string
	CacheDir      string // where images are built; empty skips the check of its disk
	DiskNeeded    int64  // bytes
	MemoryNeeded  int64  // bytes
	InotifyNeeded int    // instances, beside those in use
}

// registryTimeout bounds the question to the registry: behind a firewall that
// drops packets, the client would otherwise wait for minutes.
const registryTimeout = 15 * time.Second

// HostChecks looks at what a rehearsal on kind needs of this machine. It
// changes nothing but for a container and an image of a few bytes. Checks that
// depend on a failed one are left out.
func HostChecks(ctx context.Context, o Checks) []Check {
	info, err := o.Client.Info(ctx)
	if err != nil {
		return append([]Check{unreachable(err)}, disk("disk for the image cache", o.CacheDir, o.DiskNeeded)...)
	}
	checks := []Check{
		{Name: "docker engine", OK: true, Needed: true, Detail: fmt.Sprintf(
			"version %s, storage driver %s, default runtime %s", info.ServerVersion, info.Driver, info.DefaultRuntime)},
		privileged(ctx, o.Client),
		{Name: "cgroup version", OK: true, Detail: cgroupDetail(info.CgroupVersion)},
		memory(info.MemTotal, o.MemoryNeeded),
	}
	if _, err := os.Stat(info.DockerRootDir); err == nil {
		checks = append(checks, disk("disk for Docker", info.DockerRootDir, o.DiskNeeded)...)
		checks = append(checks, inotify(procDir, o.InotifyNeeded)...)
	}
	checks = append(checks, disk("disk for the image cache", o.CacheDir, o.DiskNeeded)...)
	if o.PullableImage != "" {
		checks = append(checks, registry(ctx, o.Client, o.PullableImage))
	}
	return checks
}

func unreachable(err error) Check {
	check := Check{Name: "docker engine", Needed: true, Detail: firstLine(err), Remedy: "make docker"}
	// The first line tells the command, the last one what docker said of it.
	if last := lastLine(err); last != check.Detail {
		check.Detail += ": " + last
	}
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		check.Remedy = "start the engine at " + host + ", or unset DOCKER_HOST, which names it"
	}
	if strings.Contains(strings.ToLower(err.Error()), "permission denied") {
		check.Remedy = "add yourself to the group docker (sudo usermod -aG docker $USER, then log in again), or run as root"
	}
	return check
}

func privileged(ctx context.Context, c *Client) Check {
	check := Check{Name: "privileged containers", Needed: true}
	ok, refusal, err := c.Privileged(ctx)
	switch {
	case err != nil:
		check.Detail = firstLine(err)
		check.Remedy = "look at the log of dockerd"
	case ok:
		check.OK = true
		check.Detail = "one was started and removed"
	default:
		check.Detail = refusal
		check.Remedy = "make docker (sets an OCI runtime that leaves out the capabilities that this machine lacks)"
	}
	return check
}

func cgroupDetail(version string) string {
	if version == "1" {
		return "1; kubelets from v1.35 on are told to accept it (failCgroupV1: false)"
	}
	return version
}

func memory(have, need int64) Check {
	check := Check{Name: "memory", OK: have >= need, Detail: fmt.Sprintf("%s, needed are %s", gib(have), gib(need))}
	if !check.OK {
		check.Remedy = "rehearse with fewer nodes (cluster.controlPlanes, cluster.workers), or on a larger machine"
	}
	return check
}

func disk(name, dir string, need int64) []Check {
	if dir == "" {
		return nil
	}
	check := Check{Name: name}
	free, err := freeBytes(dir)
	if err != nil {
		check.Detail = err.Error()
		check.Remedy = "make the directory readable, or set REHEARSE_CACHE to another"
		return []Check{check}
	}
	check.OK = free >= need
	check.Detail = fmt.Sprintf("%s free in %s, needed are %s", gib(free), dir, gib(need))
	if !check.OK {
		check.Remedy = "docker system prune, or more disk"
	}
	return []Check{check}
}

// freeBytes is what an unprivileged user can still write below dir, or below
// its nearest ancestor that exists.
func freeBytes(dir string) (int64, error) {
	for {
		var fs syscall.Statfs_t
		err := syscall.Statfs(dir, &fs)
		if errors.Is(err, syscall.ENOENT) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("free space of %s: %w", dir, err)
		}
		return int64(fs.Bavail) * fs.Bsize, nil
	}
}

func registry(ctx context.Context, c *Client, image string) Check {
	check := Check{Name: "image registry", Detail: image + " can be pulled", OK: true}
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	if err := c.Run(ctx, "manifest", "inspect", image); err != nil {
		check.OK = false
		check.Detail = image + " cannot be pulled: " + lastLine(err)
		check.Remedy = "not needed: node images are then built from source, which takes about half an hour once (rehearse images build)"
	}
	return check
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func gib(bytes int64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) }
