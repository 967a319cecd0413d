package kind

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestCollectLogsGoesOnWhereOneFails(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"-worker journalctl"*"--unit kubelet"`, stderr: "no journal\n", exit: 1},
		answer{match: `*journalctl*`, stdout: "a line\n"},
		answer{match: `"ps "*"label=io.rehearse.run="*`, stdout: ""})...)
	dir := filepath.Join(t.TempDir(), "logs")
	err := newDriver(f, nil).CollectLogs(t.Context(), theCluster(), dir)
	if err == nil || !strings.Contains(err.Error(), "no journal") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"-worker2/kubelet.log", "-worker/containerd.log", "-control-plane/kubelet.log"} {
		b, err := os.ReadFile(filepath.Join(dir, testName+name))
		if err != nil || string(b) != "a line\n" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestCommandOutputGoesToTheStepsLog(t *testing.T) {
	f := newFakeDocker(t, answer{match: `*"echo hello"`, stdout: "hello\n"})
	var log bytes.Buffer
	out, err := newDriver(f, nil).on(cluster.WithLog(t.Context(), nil, &log), "n", "echo", "hello")
	if err != nil || out != "hello" {
		t.Errorf("got %q, %v", out, err)
	}
	if want := "n$ echo hello\nhello\n"; log.String() != want {
		t.Errorf("log %q, want %q", log.String(), want)
	}
}
