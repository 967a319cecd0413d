package kind

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

// tarOf is what docker cp prints for a file.
func tarOf(t *testing.T, content string) string {
	t.Helper()
	r, err := docker.OneFile("file", 0o644, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSendFileSendsTheContentWhole(t *testing.T) {
	f := newFakeDocker(t, answer{match: `"cp "*`, stdout: tarOf(t, "hello")})
	received := filepath.Join(f.dir, "received")
	d := newDriver(f, nil)
	d.docker = &docker.Client{Binary: filepath.Join(f.dir, "docker2")}
	f.write("docker2", "#!/bin/sh\ncase \"$1\" in cp) exec "+f.dir+"/docker \"$@\";; *) cat >"+received+";; esac\n")
	if err := os.Chmod(d.docker.Binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.sendFile(t.Context(), "stage", "/file", "exec", "node", "cat"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(received); err != nil || string(got) != "hello" {
		t.Errorf("received %q, %v", got, err)
	}
}

func TestSendFileFailsWhenEitherSideDoes(t *testing.T) {
	whole := tarOf(t, strings.Repeat("x", 100_000))
	for _, tc := range []struct {
		name    string
		answers []answer
		want    []string
	}{
		{"the source before it began", []answer{{match: `"cp "*`, stderr: "boom\n", exit: 1}}, []string{"read /file of container stage", "boom"}},
		{"the source in between", []answer{{match: `"cp "*`, stdout: whole[:50_000], stderr: "boom\n", exit: 1}}, []string{"boom"}},
		{"the stream, silently", []answer{{match: `"cp "*`, stdout: whole[:50_000]}}, []string{"unexpected EOF"}},
		{"the target", []answer{{match: `"cp "*`, stdout: whole}, {match: `"target"`, stderr: "boom\n", exit: 1}}, []string{"target: exit status 1", "boom"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := newDriver(newFakeDocker(t, tc.answers...), nil).sendFile(t.Context(), "stage", "/file", "target")
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to contain %q", err, want)
				}
			}
		})
	}
}

func TestQueryAsksAgainWhenNothingCame(t *testing.T) {
	f := newFakeDocker(t)
	_, err := newDriver(f, nil).query(t.Context(), "n", "curl", "x")
	if want := "curl x in container n printed nothing, 3 times"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := len(f.calls()); got != 3 {
		t.Errorf("asked %d times, want 3", got)
	}
}
