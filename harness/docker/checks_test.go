package docker_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

const engine = `case "$1 $2" in
"version "*) echo 20.10.24 ;;
"info "*) echo '{"ServerVersion":"20.10.24","CgroupVersion":"1","MemTotal":2147483648,"DefaultRuntime":"runc","Driver":"overlay2","Architecture":"x86_64","DockerRootDir":"/does/not/exist"}' ;;
"image inspect") echo 'Error: No such image' >&2; exit 1 ;;
"import "*) cat >/dev/null ;;
"run --rm") RUN ;;
"manifest inspect") echo 'no such manifest: MANIFEST' >&2; exit 1 ;;
esac`

func TestHostChecks(t *testing.T) {
	refusal := "echo 'unable to apply caps: operation not permitted' >&2; exit 126"
	calls := fake(t, strings.ReplaceAll(engine, "RUN", refusal))
	got := docker.HostChecks(t.Context(), docker.Checks{Client: &docker.Client{}, PullableImage: "kindest/node:v9", MemoryNeeded: 4 << 30})
	want := []docker.Check{
		{Name: "docker engine", OK: true, Needed: true, Detail: "version 20.10.24, storage driver overlay2, default runtime runc"},
		{Name: "privileged containers", Needed: true,
			Detail: "docker run --rm --privileged --network none rehearse/exit:1: exit status 126\n  unable to apply caps: operation not permitted",
			Remedy: "make docker (sets an OCI runtime that leaves out the capabilities that this machine lacks)"},
		{Name: "cgroup version", OK: true, Detail: "1; kubelets from v1.35 on are told to accept it (failCgroupV1: false)"},
		{Name: "memory", Detail: "2.0 GiB, needed are 4.0 GiB", Remedy: "rehearse with fewer nodes (cluster.controlPlanes, cluster.workers), or on a larger machine"},
		{Name: "image registry", Detail: "kindest/node:v9 cannot be pulled: no such manifest: MANIFEST",
			Remedy: "not needed: node images are then built from source, which takes about half an hour once (rehearse images build)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, call := range calls() {
		if strings.HasPrefix(call, "pull") {
			t.Errorf("a check must not pull: %s", call)
		}
	}
}

func TestHostChecksWithoutAnEngine(t *testing.T) {
	fake(t, "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1")
	got := docker.HostChecks(t.Context(), docker.Checks{Client: &docker.Client{}, CacheDir: t.TempDir() + "/not/yet/made", DiskNeeded: 1})
	if len(got) != 2 {
		t.Fatalf("want the engine and the disk, got %+v", got)
	}
	if got[0].OK || !strings.HasPrefix(got[0].Remedy, "add yourself to the group docker") {
		t.Errorf("%+v", got[0])
	}
	if !got[1].OK {
		t.Errorf("%+v", got[1])
	}
}

func TestHostChecksSayWhyNoEngineAnswers(t *testing.T) {
	fake(t, "echo 'Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?' >&2; exit 1")
	for _, tc := range []struct{ host, remedy string }{
		{"", "make docker"},
		{"tcp://127.0.0.1:1", "start the engine at tcp://127.0.0.1:1, or unset DOCKER_HOST, which names it"},
	} {
		t.Setenv("DOCKER_HOST", tc.host)
		want := []docker.Check{{
			Name: "docker engine", Needed: true, Remedy: tc.remedy,
			Detail: "ask Docker for its version: docker version --format '{{.Server.Version}}': exit status 1: Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?",
		}}
		if diff := cmp.Diff(want, docker.HostChecks(t.Context(), docker.Checks{Client: &docker.Client{}})); diff != "" {
			t.Error(diff)
		}
	}
}
