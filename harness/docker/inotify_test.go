package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A tree like /proc's of two processes, with three instances between them.
func TestInotifyComparesTheLimitWithWhatIsNeeded(t *testing.T) {
	proc := t.TempDir()
	limits := filepath.Join(proc, "sys/fs/inotify")
	if err := os.MkdirAll(limits, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(limits, "max_user_instances"), []byte("128\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, target := range []string{"1/fd/3 anon_inode:inotify", "1/fd/4 /dev/null", "20/fd/0 anon_inode:inotify", "20/fd/9 anon_inode:inotify", "self/fd/9 anon_inode:inotify"} {
		var name, to string
		if _, err := fmt.Sscan(target, &name, &to); err != nil {
			t.Fatal(i, err)
		}
		name = filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		proc string
		need int
		want []Check
	}{
		{"just enough", proc, 125, []Check{{Name: "inotify instances", OK: true,
			Detail: "fs.inotify.max_user_instances is 128, at least 3 are in use, the nodes need about 125"}}},
		{"one too few", proc, 126, []Check{{Name: "inotify instances",
			Detail: "fs.inotify.max_user_instances is 128, at least 3 are in use, the nodes need about 126",
			Remedy: "sudo sysctl fs.inotify.max_user_instances=512 (and a file in /etc/sysctl.d that keeps it)"}}},
		{"a very large cluster", proc, 1000, []Check{{Name: "inotify instances",
			Detail: "fs.inotify.max_user_instances is 128, at least 3 are in use, the nodes need about 1000",
			Remedy: "sudo sysctl fs.inotify.max_user_instances=2006 (and a file in /etc/sysctl.d that keeps it)"}}},
		{"no nodes", proc, 0, nil},
		{"no Linux", t.TempDir(), 126, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, inotify(tc.proc, tc.need)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
