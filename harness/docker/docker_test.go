package docker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

// fake puts a docker on PATH that runs script and returns a function that
// tells with which arguments it was called, one line a call.
func fake(t *testing.T, script string) (calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	body := "#!/bin/sh\necho \"$*\" >>" + log + "\n" + script
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

func TestErrorCarriesCommandLineAndOutput(t *testing.T) {
	fake(t, "echo progress; echo 'Error response from daemon: boom' >&2; exit 125")
	_, err := (&docker.Client{}).RunDetached(t.Context(), "--name", "two words", "image")
	want := "run container: docker run --detach --name 'two words' image: exit status 125\n  Error response from daemon: boom"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNoClientIsUnavailable(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := (&docker.Client{}).Info(t.Context())
	if !docker.IsUnavailable(err) {
		t.Errorf("want unavailable, got %v", err)
	}
}

func TestNoEngineIsUnavailable(t *testing.T) {
	fake(t, "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1")
	_, err := (&docker.Client{}).Info(t.Context())
	if !docker.IsUnavailable(err) {
		t.Errorf("want unavailable, got %v", err)
	}
}

func TestNotFound(t *testing.T) {
	for _, tc := range []struct {
		stderr string
		want   bool
	}{
		{"Error: No such image: a", true},
		{"Error response from daemon: No such container: a", true},
		{"Error response from daemon: network a not found", true},
		{`OCI runtime exec failed: exec failed: "x": executable file not found in $PATH`, false},
		{"Error response from daemon: conflict", false},
	} {
		fake(t, "echo '"+tc.stderr+"' >&2; exit 1")
		if got := docker.IsNotFound((&docker.Client{}).Run(t.Context(), "x")); got != tc.want {
			t.Errorf("%s: got %v", tc.stderr, got)
		}
	}
}

func TestInfo(t *testing.T) {
	calls := fake(t, `case $1 in
version) echo 20.10.24 ;;
info) echo '{"ServerVersion":"20.10.24","CgroupVersion":"1","NCPU":2,"MemTotal":1024,"DefaultRuntime":"runc","Architecture":"x86_64"}' ;;
esac`)
	got, err := (&docker.Client{}).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := docker.Info{ServerVersion: "20.10.24", CgroupVersion: "1", NCPU: 2, MemTotal: 1024, DefaultRuntime: "runc", Architecture: "x86_64"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"version --format {{.Server.Version}}", "info --format {{json .}}"}, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestImage(t *testing.T) {
	fake(t, `echo '[{"Id":"sha256:1","RepoTags":["b:1","a:1"],"Size":7,"Created":"2026-01-02T03:04:05Z","Architecture":"amd64","Config":{"Labels":{"k":"v"}}}]'`)
	got, found, err := (&docker.Client{}).Image(t.Context(), "a:1")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	want := docker.Image{ID: "sha256:1", Tags: []string{"a:1", "b:1"}, Size: 7, Architecture: "amd64",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Labels: map[string]string{"k": "v"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMissingImageIsNotAnError(t *testing.T) {
	fake(t, "echo 'Error: No such image: a' >&2; exit 1")
	_, found, err := (&docker.Client{}).Image(t.Context(), "a")
	if found || err != nil {
		t.Error(found, err)
	}
}

func TestImportThatCannotReadItsLayerLeavesNoName(t *testing.T) {
	calls := fake(t, "cat >/dev/null")
	boom := errors.New("disk on fire")
	err := (&docker.Client{}).Import(t.Context(), iotest.ErrReader(boom), "a:1", `CMD ["/a"]`)
	if !errors.Is(err, boom) {
		t.Errorf("want the reader's error, got %v", err)
	}
	if diff := cmp.Diff([]string{`import --change CMD ["/a"] - a:1`, "rmi a:1"}, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestRemoveContainersByLabelGoesOnAfterAnError(t *testing.T) {
	calls := fake(t, `case "$*" in
ps*) echo 1 2 ;;
"container inspect 1 2") echo '[{"Id":"2","Name":"/b"},{"Id":"1","Name":"/a"}]' ;;
*" a") echo 'Error response from daemon: busy' >&2; exit 1 ;;
esac`)
	removed, err := (&docker.Client{}).RemoveContainers(t.Context(), "run=x")
	if diff := cmp.Diff([]string{"b"}, removed); diff != "" {
		t.Error(diff)
	}
	if want := "remove container a: docker rm --force --volumes a: exit status 1\n  Error response from daemon: busy"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	want := []string{"ps --all --quiet --no-trunc --filter label=run=x", "container inspect 1 2",
		"rm --force --volumes a", "rm --force --volumes b"}
	if diff := cmp.Diff(want, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestContainer(t *testing.T) {
	fake(t, `echo '[{"Id":"1","Name":"/a","State":{"Status":"running"},"Config":{"Image":"i","Labels":{"k":"v"}},
"NetworkSettings":{"Networks":{"kind":{"IPAddress":"10.0.0.2"}},"Ports":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"3000"}],"81/tcp":null}}}]'`)
	got, found, err := (&docker.Client{}).Container(t.Context(), "a")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	want := docker.Container{ID: "1", Name: "a", Image: "i", State: "running", Labels: map[string]string{"k": "v"},
		Addresses: map[string]string{"kind": "10.0.0.2"}, Ports: map[string][]string{"80/tcp": {"127.0.0.1:3000"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNetworks(t *testing.T) {
	calls := fake(t, `case "$*" in
"network ls --quiet --filter name=^taken$") echo 12 ;;
"network ls --format"*) echo b a ;;
"network create"*) echo 34 ;;
esac`)
	c := &docker.Client{}
	_, err := c.CreateNetwork(t.Context(), "taken")
	if want := "create network taken: it exists already; remove it with: docker network rm taken"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if id, err := c.CreateNetwork(t.Context(), "free", "k=v"); id != "34" || err != nil {
		t.Error(id, err)
	}
	removed, err := c.RemoveNetworks(t.Context(), "k")
	if diff := cmp.Diff([]string{"a", "b"}, removed); diff != "" || err != nil {
		t.Error(diff, err)
	}
	want := []string{"network ls --quiet --filter name=^taken$", "network ls --quiet --filter name=^free$",
		"network create --label k=v free", "network ls --format {{.Name}} --filter label=k", "network rm a", "network rm b"}
	if diff := cmp.Diff(want, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestCancelKillsTheClient(t *testing.T) {
	fake(t, "sleep 600 & echo started >&2; wait")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	timer := time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	defer timer.Stop()
	if err := (&docker.Client{}).Run(ctx, "pull", "x"); !errors.Is(err, why) {
		t.Errorf("want the cause, got %v", err)
	}
}

func TestLogsHoldBothStreams(t *testing.T) {
	calls := fake(t, "echo out; echo err >&2")
	var b strings.Builder
	if err := (&docker.Client{}).Logs(t.Context(), "balancer", &b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "out\n") || !strings.Contains(got, "err\n") {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff([]string{"logs --timestamps balancer"}, calls()); diff != "" {
		t.Error(diff)
	}
}
