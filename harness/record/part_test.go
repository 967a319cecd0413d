package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPartsOfALane(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	lane := Lane{Name: "new", Target: "http://192.0.2.1/", Rate: 3}
	run := Run{ID: "1", Name: "n", Started: time.Now(), Lanes: []Lane{lane}, Agents: []Agent{{Name: "a-0", Node: "n-0"}, {Name: "a-1"}}, Outcome: OutcomePassed}
	d, err := Create(path, run)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 2 {
		w, err := d.Part(lane, k)
		if err != nil {
			t.Fatal(err)
		}
		for s := range int64(5) {
			win := Window{Second: 10 + s, NewConns: 1}
			win.Counts[OK], win.Counts[Reset] = 2, 1
			win.Spans = []Span{{Kind: SpanFailed, First: win.Second * 1e9, Last: win.Second * 1e9, Count: 1}}
			for range 2 {
				win.Latency.Add(uint64(100 * (k + 1)))
			}
			for range 3 {
				win.SendLag.Add(7)
			}
			if err := w.WriteWindow(&win); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.WriteRequest(&Request{Class: "reset"}); err == nil || err.Error() != "write request: an agent's part of a lane has no single requests" {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Part(lane, 1); err == nil || err.Error() != "open load/new.agent-1.frames: it is open already" {
		t.Error(err)
	}
	if err := d.Seal(); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for k, p := range r.Lanes[0].Parts {
		if p.Seconds != 5 || p.Sum.Second != 10 || p.Sum.Counts[OK] != 10 || p.Sum.Failed() != 5 || p.Sum.NewConns != 5 || p.Sum.Latency.Quantile(1) != uint64(100*(k+1)) || p.Sum.SendLag.Count() != 15 {
			t.Errorf("part %d: %+v", k, p)
		}
		w, err := LoadPart(path, "new", k)
		if err != nil || len(w) != 5 || w[4].Second != 14 || len(w[4].Spans) != 1 {
			t.Errorf("part %d: %d windows, %v", k, len(w), err)
		}
	}
	if len(r.Lanes[0].Parts) != 2 {
		t.Errorf("%d parts", len(r.Lanes[0].Parts))
	}

	// Of a third agent nobody knows.
	stranger := filepath.Join(path, "load", "new.agent-2.frames")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasSuffix(err.Error(), "belongs to no lane and no probe that run.json lists") {
		t.Error(err)
	}
	_ = os.Remove(stranger)

	// A part is evidence as all else.
	file := filepath.Join(path, "load", "new.agent-0.frames")
	data, _ := os.ReadFile(file)
	data[len(data)-1] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "load/new.agent-0.frames") {
		t.Error(err)
	}
}

func TestPartsOfAReopenedRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	lane := Lane{Name: "new", Target: "http://192.0.2.1/", Rate: 3}
	d, err := Create(path, Run{ID: "1", Name: "n", Started: time.Now(), Lanes: []Lane{lane}, Agents: []Agent{{Name: "a-0"}}, Outcome: OutcomeRunning})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Part(lane, 0)
	if err == nil {
		err = w.WriteWindow(&Window{Second: 20})
	}
	if err == nil {
		err = d.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	d, _, err = Reopen(path)
	if err != nil {
		t.Fatal(err)
	}
	if w, err = d.Part(lane, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteWindow(&Window{Second: 20}); err == nil || err.Error() != "write window: second 20 comes after second 20" {
		t.Error(err)
	}
	if err := w.WriteWindow(&Window{Second: 21}); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
