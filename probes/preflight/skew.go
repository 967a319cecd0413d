package preflight

import (
	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/nodes"
)

// versionSkew finds versions that may not be combined, now, or once the API
// servers run the target: a kubelet that is at its limit already would be
// beyond it after the first step of the upgrade.
func versionSkew(s *State) []record.Finding {
	var out []record.Finding
	for _, problem := range s.Versions.Skew() {
		out = append(out, record.Finding{ID: "version-skew", Severity: record.SeverityBlock, Object: "cluster",
			Cause:  english.Capital(problem) + ".",
			Remedy: "Finish or undo the last upgrade first; see https://kubernetes.io/releases/version-skew-policy/."})
	}
	if from, to, ok := s.minors(); !ok || to < from || len(out) > 0 {
		return out // what a hop back does to kubelets is the least of its faults
	}
	later := nodes.State{Server: s.Target, Kubelets: s.Versions.Kubelets}
	for _, problem := range later.Skew() {
		out = append(out, record.Finding{ID: "version-skew", Severity: record.SeverityBlock, Object: "cluster",
			Cause:  "With API servers at " + s.Target + ": " + problem + ".",
			Remedy: "Upgrade the kubelets to the API servers' present version first."})
	}
	return out
}
