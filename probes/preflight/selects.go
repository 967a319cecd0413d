package preflight

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

var nodeOperators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

// Selects reports whether a node selector matches a node: any of its terms does,
// and a term without requirements matches nothing, as in
// k8s.io/component-helpers/scheduling/corev1/nodeaffinity.
func Selects(s *corev1.NodeSelector, n *corev1.Node) bool {
	return slices.ContainsFunc(s.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool {
		for _, f := range t.MatchFields {
			if f.Key == metav1.ObjectNameField && (f.Operator == corev1.NodeSelectorOpIn) != slices.Contains(f.Values, n.Name) {
				return false
			}
		}
		for _, e := range t.MatchExpressions {
			r, err := labels.NewRequirement(e.Key, nodeOperators[e.Operator], e.Values)
			if err != nil || !r.Matches(labels.Set(n.Labels)) {
				return false
			}
		}
		return len(t.MatchFields)+len(t.MatchExpressions) > 0
	})
}
