package nodeimage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

func TestToolChecks(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	want := []docker.Check{
		{Name: "build from source: Go", Detail: "go is not on PATH", Remedy: remedyGo},
		{Name: "build from source: debootstrap", Detail: "debootstrap is not on PATH", Remedy: remedyDebootstrap},
	}
	if diff := cmp.Diff(want, ToolChecks()[:2]); diff != "" {
		t.Error(diff)
	}
}
