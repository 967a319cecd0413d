package record

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAddProbe puts series into run.json that nobody knew of before, while
// whoever has the run goes on to save it without them.
func TestAddProbe(t *testing.T) {
	path := t.TempDir()
	run := Run{ID: "abcdef", Name: "n", Scenario: json.RawMessage(`{"name":"n","a":[1,2]}`), Outcome: OutcomeRunning, Probes: []Probe{{Name: "api-new", IntervalNS: 1, TimeoutNS: 1}}}
	d, err := Create(path, run)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Timeline(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, name := range []string{"dns-a", "dns-b", "dns-c"} {
		wg.Go(func() {
			if err := d.AddProbe(Probe{Name: name, IntervalNS: 2, TimeoutNS: 3}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := d.SaveRun(run); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := d.AddProbe(Probe{Name: "dns-a", IntervalNS: 2, TimeoutNS: 3}); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := d.AddProbe(Probe{Name: "../x"}); err == nil {
		t.Error("a name that is no file's was taken")
	}
	w, err := d.Probe("dns-b")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(ProbeSample{T: 1, D: 2, OK: true}); err != nil {
		t.Fatal(err)
	}
	run.Outcome = OutcomePassed
	if err := d.SaveRun(run); err != nil {
		t.Fatal(err)
	}
	if err := d.Seal(); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, p := range r.Probes {
		got[p.Probe.Name] = len(p.Samples)
	}
	if diff := cmp.Diff(map[string]int{"api-new": 0, "dns-a": 0, "dns-b": 1, "dns-c": 0}, got); diff != "" {
		t.Errorf("series and their samples (-want +got):\n%s", diff)
	}
	if r.Run.Outcome != OutcomePassed {
		t.Errorf("outcome %s", r.Run.Outcome)
	}
}

// TestLoadWhileProbesJoin reads a record that is still being written: a probe that
// joins meanwhile, as that of a new node, is no stranger in it.
func TestLoadWhileProbesJoin(t *testing.T) {
	path := t.TempDir()
	d, err := Create(path, Run{ID: "abcdef", Name: "n", Outcome: OutcomeRunning})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Timeline()
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if _, err := io.WriteString(w, `{"t":1,"source":"kube","kind":"node-ready","subject":"node/w1"}`+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			name := fmt.Sprintf("dns-%d", i)
			if err := d.AddProbe(Probe{Name: name, IntervalNS: 2, TimeoutNS: 3}); err != nil {
				t.Error(err)
				return
			}
			if _, err := d.Probe(name); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 30 {
		if _, err := Load(path); err != nil {
			t.Error(err)
			break
		}
	}
	wg.Wait()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
