package step

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A roll that fails may leave one worker too many, or one too few. The way back
// ends with as many as there were, at the version of before.
func TestTheWayBackEndsWithAsManyWorkersAsBefore(t *testing.T) {
	for _, tc := range []struct {
		name, strategy string
		surge          bool
		old            []string // of w and w2, those that are left
		joined         []string // at the newer version
		want           []string
		steps          string
	}{
		{"none was joined for the one that was removed", strategyReplace, false, []string{"w2"}, nil, []string{"new1", "w2"}, "add new1"},
		{"the surge joined, and the drain failed", strategyReplace, true, []string{"w", "w2"}, []string{"x"}, []string{"w", "w2"}, "cordon x, remove x"},
		{"one was replaced, without surge", strategyReplace, false, []string{"w2"}, []string{"x"}, []string{"new1", "w2"}, "cordon x, remove x, add new1"},
		{"one was replaced, with surge", strategyReplace, true, []string{"w2"}, []string{"x"}, []string{"new1", "w2"}, "add new1, cordon x, remove x"},
		{"the new pool is there, and the old one", strategyPoolMigration, false, []string{"w", "w2"}, []string{"x", "y"}, []string{"w", "w2"}, "cordon x, cordon y, remove x, remove y"},
		{"one of the old pool was removed", strategyPoolMigration, false, []string{"w2"}, []string{"x", "y"}, []string{"new1", "w2"},
			"cordon x, cordon y, remove x, add new1, remove y"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var objects []runtime.Object
			for _, name := range tc.joined {
				objects = append(objects, node(name, newer, false, true))
			}
			env, m, _ := rollEnv(t, objects...)
			for _, name := range []string{"w", "w2"} {
				if !slices.Contains(tc.old, name) {
					if err := m.client.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range 2 {
				s := RollBackWorker{Strategy: tc.strategy, Index: i, Of: 2, Workers: 2, Surge: tc.surge, From: older, Drain: drainSoon, Timeout: drainSoon.Timeout}
				if err := s.Run(t.Context(), env); err != nil {
					t.Fatalf("worker %d: %v", i+1, err)
				}
				if err := s.Run(t.Context(), env); err != nil { // as by a process that goes on
					t.Fatalf("worker %d, again: %v", i+1, err)
				}
			}
			if diff := cmp.Diff(tc.want, workersAt(t.Context(), t, m, older)); diff != "" {
				t.Errorf("workers (-want +got):\n%s", diff)
			}
			var log []string // what is asked for again does nothing more
			for _, l := range m.log {
				if !slices.Contains(log, l) {
					log = append(log, l)
				}
			}
			if diff := cmp.Diff(tc.steps, strings.Join(log, ", ")); diff != "" {
				t.Errorf("what was done (-want +got):\n%s", diff)
			}
		})
	}
}

// workersAt returns the names of all workers, each of which must run v and take
// pods.
func workersAt(ctx context.Context, t *testing.T, m *machines, v string) []string {
	t.Helper()
	all, err := m.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range all.Items {
		if n.Name == "cp" {
			continue
		}
		if n.Status.NodeInfo.KubeletVersion != v || n.Spec.Unschedulable {
			t.Errorf("worker %s runs %s, cordoned: %v", n.Name, n.Status.NodeInfo.KubeletVersion, n.Spec.Unschedulable)
		}
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}
