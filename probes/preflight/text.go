package preflight

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
)

func lower(s string) string { return strings.ToLower(s) }

// several names the first few of many, and counts the rest.
func several(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

func podNames(pods []*corev1.Pod) string {
	names := make([]string, 0, len(pods))
	for _, p := range pods {
		name := p.Namespace + "/" + p.Name
		if p.Spec.NodeName != "" {
			name += " on " + p.Spec.NodeName
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return several(names)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// minorOf returns the minor number of a version, or 0 where it cannot be read.
func minorOf(text string) uint {
	v, err := version.ParseGeneric(text)
	if err != nil {
		return 0
	}
	return v.Minor()
}
