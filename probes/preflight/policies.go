package preflight

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// policies finds ValidatingAdmissionPolicies that are bound to deny and that
// decide over evictions, or over nodes or pods of the system, which an upgrade
// makes and changes. Whether one denies depends on its expressions, which are
// not evaluated here.
func policies(s *State) []record.Finding {
	denied := map[string]bool{}
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if slices.Contains(b.Spec.ValidationActions, admissionv1.Deny) {
			denied[b.Spec.PolicyName] = true
		}
	}
	var out []record.Finding
	for i := range s.Policies {
		p := &s.Policies[i]
		m := p.Spec.MatchConstraints
		if !denied[p.Name] || m == nil {
			continue
		}
		rules := make([]admissionv1.RuleWithOperations, 0, len(m.ResourceRules))
		for _, r := range m.ResourceRules {
			rules = append(rules, r.RuleWithOperations)
		}
		object := "validatingadmissionpolicy/" + p.Name
		switch what := touches(rules); {
		case what == evictions:
			out = append(out, record.Finding{ID: "policy-decides-evictions", Severity: record.SeverityWarn, Object: object,
				Cause:  fmt.Sprintf("ValidatingAdmissionPolicy %s is asked before %s and may deny it: a drain would stop, whatever the budgets allow.", p.Name, what),
				Remedy: "Read its expressions; make an exception for whoever drains, or set its binding to Warn for the time of the upgrade."})
		case what != "" && what != creations || what == creations && coversSystem(m.NamespaceSelector):
			out = append(out, record.Finding{ID: "policy-decides-system", Severity: record.SeverityInfo, Object: object,
				Cause:  fmt.Sprintf("ValidatingAdmissionPolicy %s is asked before %s, in the system's namespaces too: what the target brings along may be denied.", p.Name, what),
				Remedy: "Exclude kube-system, or rehearse with the policy in place."})
		}
	}
	return out
}
