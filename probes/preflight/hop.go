package preflight

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// hop finds a target that cannot be reached in one upgrade from where the API
// servers are: kubeadm and kops go one minor version at a time, and never back
// (https://kubernetes.io/releases/version-skew-policy/).
func hop(s *State) []record.Finding {
	if s.Target == "" {
		return nil
	}
	one := func(id, severity, cause, remedy string) []record.Finding {
		return []record.Finding{{ID: id, Severity: severity, Object: "cluster", Cause: cause, Remedy: remedy}}
	}
	to, err := version.ParseGeneric(s.Target)
	if err != nil {
		return one("version-unreadable", record.SeverityBlock, fmt.Sprintf("The target version %q cannot be read.", s.Target), "Give it in the form v1.35.4.")
	}
	from, err := version.ParseGeneric(s.Versions.Server)
	if err != nil {
		return one("version-unreadable", record.SeverityBlock, fmt.Sprintf("The API server reports version %q, which cannot be read.", s.Versions.Server), "Find out what serves the API.")
	}
	switch {
	case from.EqualTo(to) && s.landed():
		return one("version-same", record.SeverityInfo, fmt.Sprintf("The API server and every kubelet run %s already: there is nothing to do.", s.Target), "Choose a newer target, or skip the upgrade.")
	case to.LessThan(from) && to.Minor() == from.Minor():
		return one("version-downgrade", record.SeverityWarn, fmt.Sprintf("The target %s is an older patch release than %s, which the API servers run.", s.Target, s.Versions.Server),
			"Choose a newer patch release; tools refuse to go back unless they are forced.")
	case to.LessThan(from):
		return one("version-downgrade", record.SeverityBlock, fmt.Sprintf("The target %s is older than %s, which the API servers run. Kubernetes does not support that: what is stored may be unreadable to older servers.", s.Target, s.Versions.Server),
			"Choose a newer target.")
	case to.Minor() > from.Minor()+1:
		return one("version-skip", record.SeverityBlock, fmt.Sprintf("From %s to %s are %d minor versions; an upgrade takes one at a time.", s.Versions.Server, s.Target, to.Minor()-from.Minor()),
			fmt.Sprintf("Upgrade to v1.%d first.", from.Minor()+1))
	}
	return nil
}

// landed reports whether every kubelet runs the target.
func (s *State) landed() bool {
	for _, v := range s.Versions.Kubelets {
		if v != s.Target && "v"+s.Target != v {
			return false
		}
	}
	return true
}
