//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// The tests whose name begins with TestFull are the long ones. `make e2e` runs
// them on the embedded cluster, `make e2e-full` on real clusters.

// on is the bed with another of this package's scenarios.
func (b bed) on(scenario string, nodes int) bed {
	b.scenario, b.nodes = b.driver+"-"+scenario, nodes
	return b
}

// TestFullHighlyAvailable upgrades three control planes one at a time, and the
// API stays available.
func TestFullHighlyAvailable(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		b = b.on("ha", 6)
		var api *apiWatch
		stop := func() {}
		if b.docker {
			api = watchAPI(t, "rehearse-"+b.scenario+"-")
			stop = api.stop
		}
		o := runStrategy(t, b, stop)
		rec := load(t, o.dir)
		upgraded := spans(t, rec, timeline.KindUpgradeStart, timeline.KindUpgradeEnd, "control-plane")
		if len(upgraded) < 3 {
			t.Errorf("%d upgrades of control planes in the record, want 3 and more: %v", len(upgraded), upgraded)
		}
		for i := 1; i < len(upgraded); i++ {
			if upgraded[i].start < upgraded[i-1].end {
				t.Errorf("%s began at %s, before %s had ended at %s", upgraded[i].subject, at(upgraded[i].start), upgraded[i-1].subject, at(upgraded[i-1].end))
			}
		}
		if api != nil {
			api.check(t, 99.5)
		}
	})
}

// TestFullReplace replaces each worker after a new one has taken its place.
func TestFullReplace(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		b = b.on("replace", 3)
		rec := load(t, runStrategy(t, b).dir)
		added, removed := checkTurnover(t, rec, 2)
		drains := events(rec, timeline.KindDrainStart, "worker")
		if len(drains) != 2 {
			t.Fatalf("%d drains of workers, want 2", len(drains))
		}
		for i := range 2 {
			if added[i].T > drains[i].T || drains[i].T > removed[i].T {
				t.Errorf("worker %d: new one at %s, drain at %s, removed at %s; want this order",
					i+1, at(added[i].T), at(drains[i].T), at(removed[i].T))
			}
		}
		if removed[0].T > added[1].T {
			t.Errorf("the second new worker came at %s, before the first old one had gone at %s", at(added[1].T), at(removed[0].T))
		}
	})
}

// TestFullPoolMigration makes a whole new pool, cordons the old one, drains it
// node by node and removes it.
func TestFullPoolMigration(t *testing.T) {
	full(t, func(t *testing.T, b bed) {
		b = b.on("pool-migration", 3)
		rec := load(t, runStrategy(t, b).dir)
		added, removed := checkTurnover(t, rec, 2)
		cordons, drains := events(rec, timeline.KindCordon, "worker"), events(rec, timeline.KindDrainStart, "worker")
		if len(cordons) < 2 || len(drains) != 2 {
			t.Fatalf("%d cordons and %d drains of workers, want 2 of each", len(cordons), len(drains))
		}
		ends := events(rec, timeline.KindDrainEnd, "worker")
		order := []int64{added[0].T, added[1].T, cordons[0].T, cordons[1].T, drains[0].T, drains[1].T, ends[len(ends)-1].T, removed[0].T, removed[1].T}
		if !slices.IsSorted(order) {
			t.Errorf("want both new workers, both cordons, both drains, both removals in this order; they were at %v", order)
		}
	})
}

// runStrategy rehearses a clean upgrade to GO. A real cluster is kept until it
// was asked itself; rehearsed are called before that, while it is all there.
func runStrategy(t *testing.T, b bed, rehearsed ...func()) outcome {
	t.Helper()
	var args []string
	if b.docker {
		args = []string{"--keep-cluster"}
	}
	o := runScenario(t.Context(), t, b, args...)
	del := deleteOnce(t, o.stderr)
	for _, f := range rehearsed {
		f()
	}
	if o.code != 0 {
		t.Fatalf("exit code %d, want 0 (GO)\n%s", o.code, o.stdout)
	}
	rec := load(t, o.dir)
	checkServed(t, rec)
	if rec.Run.Versions.Before != from || rec.Run.Versions.After != to {
		t.Errorf("versions %+v", rec.Run.Versions)
	}
	if b.docker {
		checkKeptNodes(t.Context(), t, o, b.nodes)
		del()
		checkNothingLeft(t)
	}
	return o
}

// checkServed finds requests that the upgrade lost. What the runner could not
// send is the runner's fault, and bounded elsewhere.
func checkServed(t *testing.T, rec *record.Record) {
	t.Helper()
	for _, lane := range rec.Lanes {
		for _, phase := range []string{timeline.PhaseBaseline, timeline.PhaseUpgrade} {
			if failed, unsent, due := lost(rec, lane, phase); failed > 0 || due == 0 {
				t.Errorf("lane %s, %s: %d of %d requests failed (%d unsent)", lane.Lane.Name, phase, failed, due, unsent)
			}
		}
	}
}

// checkTurnover finds the workers that came and went during the upgrade.
func checkTurnover(t *testing.T, rec *record.Record, want int) (added, removed []timeline.Event) {
	t.Helper()
	upgrade, ok := rec.Phase(timeline.PhaseUpgrade)
	if !ok {
		t.Fatal("the record has no phase upgrade")
	}
	within := func(kind string) []timeline.Event {
		return slices.DeleteFunc(events(rec, kind, "worker"), func(e timeline.Event) bool { return e.T < upgrade.Start })
	}
	added, removed = within(timeline.KindNodeAdded), within(timeline.KindNodeRemoved)
	if len(added) != want || len(removed) != want {
		t.Fatalf("workers added: %v, removed: %v; want %d of each", subjects(added), subjects(removed), want)
	}
	for _, e := range removed {
		if slices.Contains(subjects(added), e.Subject) {
			t.Errorf("%s was added and removed", e.Subject)
		}
	}
	return added, removed
}

// events are those of a kind whose subject contains the text, in order of time.
func events(rec *record.Record, kind, text string) []timeline.Event {
	var out []timeline.Event
	for _, e := range rec.Events {
		if e.Kind == kind && strings.Contains(e.Subject, text) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b timeline.Event) int { return int(a.T - b.T) })
	return out
}

func subjects(list []timeline.Event) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.Subject)
	}
	return out
}

type span struct {
	subject    string
	start, end int64
}

// spans pairs the beginnings and ends of what happened to each subject.
func spans(t *testing.T, rec *record.Record, start, end, text string) []span {
	t.Helper()
	var out []span
	ends := events(rec, end, text)
	for _, s := range events(rec, start, text) {
		i := slices.IndexFunc(ends, func(e timeline.Event) bool { return e.Subject == s.Subject && e.T >= s.T })
		if i < 0 {
			t.Errorf("%s of %s at %s has no end", start, s.Subject, at(s.T))
			continue
		}
		out = append(out, span{s.Subject, s.T, ends[i].T})
	}
	return out
}

// at shows an offset of the timeline in seconds.
func at(ns int64) string { return fmt.Sprintf("%.1fs", float64(ns)/1e9) }
