package nodeimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeProgram puts an executable of that name on PATH and returns a function
// that tells with which arguments it was called.
func fakeProgram(t *testing.T, name, script string) (calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"$*\" >>"+log+"\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		b, err := os.ReadFile(log)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

// A proxy that has v1.12.1 and nothing of what comes before it in the order.
const proxy = `case "$*" in
*@v1.12.1) echo '{"Path":"example.com/dns","Version":"v1.12.1","Dir":"/m","GoMod":"/m/go.mod"}' ;;
"mod download"*) printf '%s\n' '{"Path":"example.com/dns","Error":"not found:\n403 Forbidden"}'; echo "go: downloading" >&2; exit 1 ;;
"list -m -versions"*) echo v1.11.1 v1.12.0 v1.12.1 v1.13.0 v1.13.2 v1.13.3-rc.0 v1.14.0 v2.0.0 ;;
esac`

func TestNearestTakesTheWantedVersion(t *testing.T) {
	calls := fakeProgram(t, "go", proxy)
	m, warning, err := toolchain{scratch: t.TempDir()}.nearest(t.Context(), "example.com/dns", "v1.12.1")
	if err != nil || warning != "" {
		t.Fatal(warning, err)
	}
	if diff := cmp.Diff(module{Path: "example.com/dns", Version: "v1.12.1", Dir: "/m", GoMod: "/m/go.mod"}, m); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"mod download -json example.com/dns@v1.12.1"}, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestNearestFallsBackAndSaysSo(t *testing.T) {
	calls := fakeProgram(t, "go", proxy)
	m, warning, err := toolchain{scratch: t.TempDir()}.nearest(t.Context(), "example.com/dns", "v1.13.1")
	if err != nil || m.Version != "v1.12.1" {
		t.Fatal(m, err)
	}
	if want := "example.com/dns v1.12.1 stands in for v1.13.1, which cannot be had as a Go module"; warning != want {
		t.Errorf("got %s, want %s", warning, want)
	}
	want := []string{
		"mod download -json example.com/dns@v1.13.1",
		`list -m -versions -f {{join .Versions " "}} example.com/dns`,
		"mod download -json example.com/dns@v1.13.2",
		"mod download -json example.com/dns@v1.13.0",
		"mod download -json example.com/dns@v1.14.0",
		"mod download -json example.com/dns@v1.12.1",
	}
	if diff := cmp.Diff(want, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestNothingNearResolves(t *testing.T) {
	fakeProgram(t, "go", strings.ReplaceAll(proxy, "@v1.12.1)", "@v9)"))
	_, _, err := toolchain{scratch: t.TempDir()}.nearest(t.Context(), "example.com/dns", "v1.13.1")
	want := "no version near it either: Go module example.com/dns@v1.13.1 cannot be had: not found: 403 Forbidden"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNoToolchain(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := toolchain{scratch: t.TempDir()}.download(t.Context(), "example.com/dns", "v1.0.0")
	want := "building from source needs the Go toolchain, and there is no go on PATH: install Go as https://go.dev/doc/install says, or pull the images instead"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestByDistance(t *testing.T) {
	got := byDistance([]string{"v3.5.9", "v3.5.10", "v3.6.0", "v3.6.4", "v3.6.6", "v3.6.7-rc.0", "v3.6.8", "v3.7.1", "v4.0.0", "nonsense"}, "v3.6.5")
	want := []string{"v3.6.6", "v3.6.4", "v3.6.8", "v3.6.0", "v3.7.1", "v3.5.10", "v3.5.9"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGoModOfAThrowAwayModule(t *testing.T) {
	dir := t.TempDir()
	goMod := filepath.Join(dir, "go.mod")
	if err := os.WriteFile(goMod, []byte("module x\n\ngo 1.24.0\n\ngodebug default=go1.24\n\ngodebug (\n\tx=y\n)\n\nrequire a v1.0.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := program{
		module:   module{Path: "x", Version: "v1.2.3", GoMod: goMod},
		requires: []string{"y v1.2.3"}, replaces: []string{"z => z v0.2.3"},
	}.goMod()
	if err != nil {
		t.Fatal(err)
	}
	want := "module node\n\ngo 1.24.0\ngodebug default=go1.24\nrequire x v1.2.3\nrequire y v1.2.3\nreplace z => z v0.2.3\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBuildNamesTheModulesThatCannotBeHad(t *testing.T) {
	fakeProgram(t, "go", `cat >&2 <<'END'
go: downloading k8s.io/utils v0.0.0-20250604170112-4c0f3b243397
/m/a.go:24:2: k8s.io/kube-proxy@v0.33.6: verifying module: k8s.io/kube-proxy@v0.33.6: reading https://proxy.example/x: 404 Not Found
/m/b.go:25:2: k8s.io/cri-api@v0.33.6: reading https://proxy.example/y: 403 Forbidden
/m/c.go:25:2: k8s.io/cri-api@v0.33.6: reading https://proxy.example/y: 403 Forbidden
END
exit 1`)
	goMod := filepath.Join(t.TempDir(), "go.mod")
	if err := os.WriteFile(goMod, []byte("module x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := toolchain{}.build(t.Context(), t.TempDir(), program{
		module: module{Path: "k8s.io/kubernetes", Version: "v1.33.6", GoMod: goMod}, packages: []string{"."},
	}, t.TempDir())
	want := "compile k8s.io/kubernetes@v1.33.6: its modules k8s.io/cri-api@v0.33.6, k8s.io/kube-proxy@v0.33.6 cannot be had; for another patch release they may be there"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
