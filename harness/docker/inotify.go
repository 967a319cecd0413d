package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	procDir = "/proc"
	// inotifyRecommended is what kind's known issues ask for under "too many open
	// files".
	inotifyRecommended = 512
)

// inotify compares what the limit of inotify instances leaves with what nodes
// need. Linux counts them for each user, and whatever runs in nodes runs as
// root. A kubelet that gets none never becomes healthy and says so nowhere but
// in its own journal. No check is made where the limit cannot be read.
func inotify(proc string, need int) []Check {
	limit, err := readInt(filepath.Join(proc, "sys/fs/inotify/max_user_instances"))
	if err != nil || need == 0 {
		return nil
	}
	used := inotifyInstances(proc)
	check := Check{Name: "inotify instances", OK: used+need <= limit, Detail: fmt.Sprintf(
		"fs.inotify.max_user_instances is %d, at least %d are in use, the nodes need about %d", limit, used, need)}
	if !check.OK {
		check.Remedy = fmt.Sprintf("sudo sysctl fs.inotify.max_user_instances=%d (and a file in /etc/sysctl.d that keeps it)",
			max(inotifyRecommended, 2*(used+need)))
	}
	return []Check{check}
}

// inotifyInstances counts those of root's processes that this user may look
// at, which is all of them for root.
func inotifyInstances(proc string) int {
	instances := 0
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/fd/*")) // the pattern is well-formed
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && target == "anon_inode:inotify" {
			instances++
		}
	}
	return instances
}

func readInt(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
