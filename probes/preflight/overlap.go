package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// overlappingBudgets finds pods that more than one PodDisruptionBudget selects.
// The eviction API answers such a pod's eviction with an internal error, always.
func overlappingBudgets(s *State) []record.Finding {
	budgets := map[string][]string{} // pod to budgets
	for i := range s.Budgets {
		for _, p := range protected(s, &s.Budgets[i]) {
			key := p.Namespace + "/" + p.Name
			budgets[key] = append(budgets[key], s.Budgets[i].Name)
		}
	}
	pods := map[string][]string{} // set of budgets to pods
	for pod, names := range budgets {
		if len(names) > 1 {
			slices.Sort(names)
			namespace, _, _ := strings.Cut(pod, "/")
			set := namespace + "/" + strings.Join(names, ", ")
			pods[set] = append(pods[set], pod)
		}
	}
	out := make([]record.Finding, 0, len(pods))
	for _, set := range sortedKeys(pods) {
		slices.Sort(pods[set])
		namespace, names, _ := strings.Cut(set, "/")
		first, _, _ := strings.Cut(names, ", ")
		out = append(out, record.Finding{ID: "budgets-overlap", Severity: record.SeverityBlock, Object: "poddisruptionbudget/" + namespace + "/" + first,
			Cause: fmt.Sprintf("PodDisruptionBudgets %s of namespace %s select the same pods, which the eviction API refuses to evict: %s.",
				names, namespace, several(pods[set])),
			Remedy: "Keep one budget for each pod: narrow their selectors, or delete all but one."})
	}
	return out
}
