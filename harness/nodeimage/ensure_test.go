package nodeimage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// silent drops progress and keeps notes.
type silent struct{ notes []string }

func (*silent) Stage(string, time.Duration) func(error) { return func(error) {} }
func (s *silent) Note(text string)                      { s.notes = append(s.notes, text) }

func newBuilder(t *testing.T) *Builder {
	t.Helper()
	b, err := New(Options{CacheDir: t.TempDir(), Progress: &silent{}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const missing = "echo 'Error: No such image: x' >&2; exit 1"

func inspect(key, version string) string {
	return fmt.Sprintf(`echo '[{"Id":"sha256:1","RepoTags":["rehearse/node:%[2]s"],"Size":7,"Created":"2026-01-02T03:04:05Z",`+
		`"Config":{"Labels":{"io.rehearse.image":"node","io.rehearse.kubernetes":"%[2]s","io.rehearse.recipe":"%[1]s","io.rehearse.warnings":"a; b"}}}]'`, key, version)
}

func TestEnsureTakesABuiltImageOfThisRecipe(t *testing.T) {
	b := newBuilder(t)
	key := b.recipe.nodeKey("v1.34.4")
	calls := fakeProgram(t, "docker", inspect(key, "v1.34.4"))
	got, err := b.Ensure(t.Context(), "v1.34.4")
	if err != nil {
		t.Fatal(err)
	}
	want := []Image{{
		Version: "v1.34.4", Ref: "rehearse/node:v1.34.4", ID: "sha256:1", Source: Built, Size: 7, RecipeKey: key, Flannel: true,
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Warnings: []string{"a", "b"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"image inspect rehearse/node:v1.34.4"}, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureTakesUpstreamsImageBeforeItBuilds(t *testing.T) {
	calls := fakeProgram(t, "docker", `case "$*" in
"image inspect kindest/node:v1.35.4") echo '[{"Id":"sha256:2","RepoTags":["kindest/node:v1.35.4"]}]' ;;
*) `+missing+` ;;
esac`)
	got, err := newBuilder(t).Ensure(t.Context(), "v1.35.4")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Image{{Version: "v1.35.4", Ref: "kindest/node:v1.35.4", ID: "sha256:2", Source: Found}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"image inspect rehearse/node:v1.35.4", "image inspect kindest/node:v1.35.4"}, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestEnsurePullsBeforeItBuilds(t *testing.T) {
	calls := fakeProgram(t, "docker", `case "$*" in
"manifest inspect kindest/node:v1.35.4") ;;
"pull --quiet kindest/node:v1.35.4") touch "$0.pulled" ;;
"image inspect kindest/node:v1.35.4") [ -e "$0.pulled" ] && echo '[{"Id":"sha256:2"}]' || { `+missing+`; } ;;
*) `+missing+` ;;
esac`)
	got, err := newBuilder(t).Ensure(t.Context(), "v1.35.4")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Image{{Version: "v1.35.4", Ref: "kindest/node:v1.35.4", ID: "sha256:2", Source: Pulled}}, got); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"image inspect rehearse/node:v1.35.4", "image inspect kindest/node:v1.35.4", "manifest inspect kindest/node:v1.35.4",
		"pull --quiet kindest/node:v1.35.4", "image inspect kindest/node:v1.35.4",
	}
	if diff := cmp.Diff(want, calls()); diff != "" {
		t.Error(diff)
	}
}

// An image of an older recipe, and no registry: it has to be built, which
// without a toolchain fails with what to install.
func TestEnsureBuildsWhatAnOlderRecipeMade(t *testing.T) {
	calls := fakeProgram(t, "docker", `case "$*" in
"image inspect rehearse/node:v1.34.4") `+inspect("old", "v1.34.4")+` ;;
*) `+missing+` ;;
esac`)
	fakeProgram(t, "go", "echo '{\"Error\":\"proxy says no\"}'; exit 1")
	fakeProgram(t, "debootstrap", "exit 0")
	_, err := newBuilder(t).Ensure(t.Context(), "v1.34.4")
	if err == nil || !strings.Contains(err.Error(), "proxy says no") && !strings.Contains(err.Error(), "needs root") {
		t.Errorf("got %v", err)
	}
	for _, call := range calls() {
		if strings.HasPrefix(call, "commit") || strings.HasPrefix(call, "load") {
			t.Errorf("a failed build made an image: %s", call)
		}
	}
}

// Build does not even look whether upstream has an image.
func TestBuildIsFromSource(t *testing.T) {
	b := newBuilder(t)
	calls := fakeProgram(t, "docker", inspect(b.recipe.nodeKey("v1.34.4"), "v1.34.4"))
	got, err := b.Build(t.Context(), "v1.34.4")
	if err != nil || len(got) != 1 || got[0].Ref != "rehearse/node:v1.34.4" || !got[0].Flannel {
		t.Errorf("%+v, %v", got, err)
	}
	fakeProgram(t, "docker", missing)
	fakeProgram(t, "go", "echo '{\"Error\":\"proxy says no\"}'; exit 1")
	fakeProgram(t, "debootstrap", "exit 0")
	if _, err := b.Build(t.Context(), "v1.35.4"); err == nil {
		t.Error("built without a toolchain")
	}
	if diff := cmp.Diff([]string{"image inspect rehearse/node:v1.34.4"}, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureAsksAnEngineThatDoesNotAnswer(t *testing.T) {
	fakeProgram(t, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
	_, err := newBuilder(t).Ensure(t.Context(), "v1.34.4")
	want := "node image v1.34.4: inspect image rehearse/node:v1.34.4: docker image inspect rehearse/node:v1.34.4: exit status 1\n  Cannot connect to the Docker daemon"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestList(t *testing.T) {
	fakeProgram(t, "docker", `case "$*" in
"images --quiet --no-trunc --filter reference=rehearse/node") echo 1 ;;
"images --quiet --no-trunc --filter reference=kindest/node") echo 2 ;;
"image inspect 1") `+inspect("k", "v1.35.4")+` ;;
"image inspect 2") echo '[{"Id":"2","RepoTags":["kindest/node:v1.34.0","kindest/node:latest","other/node:v1.30.0"]}]' ;;
esac`)
	got, err := newBuilder(t).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, img := range got {
		refs = append(refs, fmt.Sprintf("%s %s %s", img.Version, img.Ref, img.Source))
	}
	want := []string{"v1.34.0 kindest/node:v1.34.0 found", "v1.35.4 rehearse/node:v1.35.4 built"}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Error(diff)
	}
}

func TestWarningsStayWithTheStage(t *testing.T) {
	dir := tree(t, map[string]string{"go.mod": "module example.com/dns\n\ngo 1.24\n"})
	calls := fakeProgram(t, "go", strings.ReplaceAll(proxy, "/m", dir))
	b := newBuilder(t)
	c := component{name: "dns", path: "example.com/dns", version: "v1.13.1", program: func(module) (program, error) {
		return program{packages: []string{"."}}, nil
	}}
	const want = "example.com/dns v1.12.1 stands in for v1.13.1, which cannot be had as a Go module"
	for range 2 {
		done, err := b.component(t.Context(), c)
		if err != nil || done.warning != want {
			t.Errorf("got %q, %v", done.warning, err)
		}
	}
	builds := 0
	for _, call := range calls() {
		if strings.HasPrefix(call, "build ") {
			builds++
		}
	}
	if builds != 1 {
		t.Errorf("built %d times", builds)
	}
}

func TestFlannelManifest(t *testing.T) {
	b := newBuilder(t)
	forKind := b.FlannelManifest("")
	if !strings.HasPrefix(forKind, "# would you kindly template this file\n") || !strings.Contains(forKind, `"Network": "{{ .PodSubnet }}"`) {
		t.Error("kind would not fill in the pod subnet")
	}
	applied := b.FlannelManifest("10.1.0.0/16")
	if strings.Contains(applied, "FLANNEL_IMAGE") || strings.Contains(applied, "{{") || !strings.Contains(applied, `"Network": "10.1.0.0/16"`) {
		t.Error(applied)
	}
}

func TestPullableNames(t *testing.T) {
	if got := pullable(cluster.Version("v1.34.0")); got != PullableProbe {
		t.Errorf("%s is not the name that is probed, %s", got, PullableProbe)
	}
}
