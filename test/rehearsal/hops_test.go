package rehearsal

import (
	"slices"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestSeveralHops takes a cluster over two minor versions: each node passes
// through the one between, and no worker leaves it before the control plane has.
func TestSeveralHops(t *testing.T) {
	t.Parallel()
	_, res := rehearse(t, strings.Replace(short, "{from: v1.34.4, to: v1.35.4}", "[v1.33.6, v1.34.4, v1.35.4]", 1))
	if res.Verdict.Outcome == judge.NoGo {
		t.Errorf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
	}
	run := res.Record.Run
	if run.Versions.Before != "v1.33.6" || run.Versions.After != "v1.35.4" || !slices.Equal(run.Versions.Via, []string{"v1.34.4"}) {
		t.Errorf("versions %+v", run.Versions)
	}
	seen := map[string][]string{} // by node, in order
	for _, e := range res.Record.Events {
		if e.Kind == timeline.KindNodeVersion {
			seen[e.Subject] = append(seen[e.Subject], e.Detail["to"])
		}
	}
	if len(seen) != 3 {
		t.Errorf("versions changed on %d nodes, want 3: %v", len(seen), seen)
	}
	for node, versions := range seen {
		if !slices.Equal(versions, []string{"v1.34.4", "v1.35.4"}) {
			t.Errorf("%s passed through %v", node, versions)
		}
	}
	for _, n := range res.Record.After.Nodes {
		if n.KubeletVersion != "v1.35.4" {
			t.Errorf("node %s ended at %s", n.Name, n.KubeletVersion)
		}
	}
}
