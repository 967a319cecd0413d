package ociruntime_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/docker/ociruntime"
)

const (
	everything  ociruntime.Set = 1<<41 - 1
	noResource                 = everything &^ (1 << 24)
	onlyNetwork ociruntime.Set = 1 << 12
)

func TestRewrite(t *testing.T) {
	const privileged = `{"ociVersion":"1.0.2","process":{"capabilities":{"bounding":["CAP_NET_ADMIN","CAP_SYS_RESOURCE"],"permitted":["CAP_SYS_RESOURCE"]},"oomScoreAdj":-999,"rlimits":[{"hard":1048576,"soft":1048576,"type":"RLIMIT_NOFILE"}]},"x":12345678901234567890}`
	for _, tc := range []struct {
		name string
		have ociruntime.Set
		in   string
		want string
	}{
		{"a machine that lacks nothing", everything, privileged, privileged},
		{"a machine without CAP_SYS_RESOURCE", noResource, privileged,
			`{"ociVersion":"1.0.2","process":{"capabilities":{"bounding":["CAP_NET_ADMIN"],"permitted":[]},"oomScoreAdj":0},"x":12345678901234567890}`},
		{"a machine that has little", onlyNetwork, privileged,
			`{"ociVersion":"1.0.2","process":{"capabilities":{"bounding":["CAP_NET_ADMIN"],"permitted":[]},"oomScoreAdj":0},"x":12345678901234567890}`},
		{"a positive score is kept", noResource, `{"process": {"oomScoreAdj": 500}}`, `{"process": {"oomScoreAdj": 500}}`},
		{"a name nobody knows", everything, `{"process":{"capabilities":{"ambient":["CAP_FUTURE"]}}}`, `{"process":{"capabilities":{"ambient":[]}}}`},
		{"no process", noResource, `{"hostname": "a"}`, `{"hostname": "a"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "config.json")
			write(t, config, tc.in)
			if err := ociruntime.Rewrite([]string{"--root", "/run/x", "create", "--bundle", dir, "--pid-file", "p", "id"}, tc.have); err != nil {
				t.Fatal(err)
			}
			if got := read(t, config); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestRewriteFindsTheFile(t *testing.T) {
	const in = `{"capabilities":{"bounding":["CAP_SYS_RESOURCE"]}}`
	const out = `{"capabilities":{"bounding":[]}}`
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"exec with a process file", []string{"--log", "l", "exec", "--process", "FILE", "id"}, out},
		{"with the flag's other form", []string{"exec", "--process=FILE", "id"}, out},
		{"with its short form", []string{"exec", "-p", "FILE", "id"}, out},
		{"exec of a command", []string{"exec", "id", "ls"}, in},
		{"delete", []string{"delete", "--process", "FILE", "id"}, in},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "process.json")
			write(t, file, in)
			args := append([]string(nil), tc.args...)
			for i, a := range args {
				if len(a) >= 4 && a[len(a)-4:] == "FILE" {
					args[i] = a[:len(a)-4] + file
				}
			}
			if err := ociruntime.Rewrite(args, noResource); err != nil {
				t.Fatal(err)
			}
			if got := read(t, file); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestRewriteWithoutAConfiguration(t *testing.T) {
	err := ociruntime.Rewrite([]string{"create", "-b", "/does/not/exist", "id"}, noResource)
	want := "read the container's configuration: open /does/not/exist/config.json: no such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestBounding(t *testing.T) {
	status := filepath.Join(t.TempDir(), "status")
	write(t, status, "Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t000001fffeffffff\n")
	set, err := ociruntime.Bounding(status)
	if err != nil || set != noResource {
		t.Errorf("got %x, %v", set, err)
	}
	if set.Has("CAP_SYS_RESOURCE") || !set.Has("CAP_SYS_ADMIN") || set.Has("CAP_FUTURE") {
		t.Errorf("%x", set)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
