package nodeimage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes a file system tree; a value that starts with "-> " is a symbolic
// link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestClosureFollowsLinks(t *testing.T) {
	root := tree(t, map[string]string{
		"sbin":                       "-> usr/sbin",
		"usr/sbin/iptables":          "-> /etc/alternatives/iptables",
		"etc/alternatives/iptables":  "-> /usr/sbin/iptables-nft",
		"usr/sbin/iptables-nft":      "-> xtables-nft-multi",
		"usr/sbin/xtables-nft-multi": "not an ELF file",
		"usr/lib/xtables/libxt_a.so": "",
		"usr/lib/xtables/libxt_b.so": "-> libxt_a.so",
		"usr/sbin/loop":              "-> loop",
		"usr/sbin/other":             "",
	})
	got, err := closure(root, "/sbin/iptables", "/usr/lib/xtables")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/etc/alternatives/iptables", "/sbin", "/usr/lib/xtables/libxt_a.so", "/usr/lib/xtables/libxt_b.so",
		"/usr/sbin/iptables", "/usr/sbin/iptables-nft", "/usr/sbin/xtables-nft-multi",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := closure(root, "/usr/sbin/loop"); err == nil || err.Error() != "collect /usr/sbin/loop: too many symbolic links" {
		t.Error(err)
	}
	if _, err := closure(root, "/usr/sbin/missing"); err == nil || !strings.HasPrefix(err.Error(), "collect /usr/sbin/missing: ") {
		t.Error(err)
	}
}

// The oracle is the loader of this machine: what it loads for a program must
// be in the closure.
func TestClosureHoldsWhatTheLoaderLoads(t *testing.T) {
	const program = "/bin/ls"
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", program, err)
	}
	got, err := closure("/", program)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]bool{}
	for _, p := range got {
		in[p] = true
	}
	libraries := 0
	for _, field := range strings.Fields(string(out)) {
		if !strings.HasPrefix(field, "/") {
			continue
		}
		libraries++
		real, err := filepath.EvalSymlinks(field)
		if err != nil {
			t.Fatal(err)
		}
		if !in[real] {
			t.Errorf("the loader loads %s, which is not in the closure %v", real, got)
		}
	}
	if libraries < 2 {
		t.Errorf("ldd names %d libraries:\n%s", libraries, out)
	}
}
