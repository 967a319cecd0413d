package record_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestTogether(t *testing.T) {
	node := func(name, text string) record.Finding {
		return record.Finding{ID: "cgroup-v1", Severity: "warn", Object: "node/" + name, Cause: "Node " + name + " uses " + text + ".", Remedy: "Move " + name + "."}
	}
	plane := node("kind-control-plane", "cgroup v1")
	blocks := node("w3", "cgroup v1")
	blocks.Severity = "block"
	machine := record.Finding{ID: "memory", Severity: "warn", Object: "this machine", Cause: "memory: 2 GiB"}
	got := record.Together([]record.Finding{
		plane, machine, node("w1", "cgroup v1"), node("w2", "cgroup v2"), blocks, node("w4", "cgroup v1"), machine,
		{ID: "cgroup-v1", Severity: "warn", Object: "pod/w5", Cause: "Node w5 uses cgroup v1.", Remedy: "Move w5."},
	})
	want := []record.Group{
		{Finding: plane, Also: []string{"node/w1", "node/w4"}},
		{Finding: machine, Also: []string{"this machine"}},
		{Finding: node("w2", "cgroup v2")},
		{Finding: blocks},
		{Finding: record.Finding{ID: "cgroup-v1", Severity: "warn", Object: "pod/w5", Cause: "Node w5 uses cgroup v1.", Remedy: "Move w5."}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"node/kind-control-plane", "node/w1", "node/w4"}, got[0].Objects()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if got := record.Together(nil); got != nil {
		t.Errorf("got %v of nothing", got)
	}
}
