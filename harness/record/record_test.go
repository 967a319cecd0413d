package record

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

var testLane = Lane{Name: "new", Target: "http://127.0.0.1:80/", Rate: 100, TimeoutNS: 5e9}

// testWindow is a second with everything in it: 60 slots due at 60/s.
func testWindow(second int64) Window {
	w := Window{Second: second, NewConns: 58, Dropped: 2}
	w.Counts[OK], w.Counts[Refused], w.Counts[HTTP5xx], w.Counts[Unsent] = 50, 6, 3, 1
	for i := range uint64(50) {
		w.Latency.Add(200 + i*i)
	}
	for i := range uint64(59) {
		w.SendLag.Add(i)
	}
	at := second * 1e9
	w.Spans = []Span{
		{Kind: SpanFailed, First: at, Last: at + 100e6, Count: 9},
		{Kind: SpanUnsent, First: at + 200e6, Last: at + 200e6, Count: 1},
		{Kind: SpanStalled, First: at + 300e6, Last: at + 999_999_999, Count: 20},
	}
	return w
}

func writeRecord(t *testing.T, seal bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run")
	d, err := Create(path, Run{
		ID: "r1", Name: "test", Tool: "test", Scenario: json.RawMessage(`{"name": "<test> & more"}`),
		Started: time.Unix(1e9, 0).UTC(), Lanes: []Lane{testLane},
		Probes: []Probe{{Name: "api", IntervalNS: 25e7, TimeoutNS: 1e9}}, Outcome: OutcomeRunning,
	})
	if err != nil {
		t.Fatal(err)
	}
	lane, err := d.Lane(testLane)
	if err != nil {
		t.Fatal(err)
	}
	for _, second := range []int64{0, 1, 3} {
		w := testWindow(second)
		if err := lane.WriteWindow(&w); err != nil {
			t.Fatal(err)
		}
	}
	if err := lane.WriteRequest(&Request{Due: 1e9, Sent: 1e9 + 5000, Latency: 3e6, Class: "refused", Error: "connect: refused"}); err != nil {
		t.Fatal(err)
	}
	tw, err := d.Timeline()
	if err != nil {
		t.Fatal(err)
	}
	rec := timeline.NewRecorder(timeline.NewClock(time.Now()), tw)
	rec.Add(timeline.Event{T: 5, Source: timeline.SourceRun, Kind: timeline.KindPhaseEnd, Subject: "phase/warmup"})
	rec.Add(timeline.Event{T: 3, Source: timeline.SourceRun, Kind: timeline.KindPhase, Subject: "phase/warmup", Detail: map[string]string{"a": "b"}})
	if err := rec.Err(); err != nil {
		t.Fatal(err)
	}
	probe, err := d.Probe("api")
	if err != nil {
		t.Fatal(err)
	}
	if err := probe.Write(ProbeSample{T: 1, D: 2, OK: true}); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveSnapshot(SnapshotBefore, &Snapshot{T: 1, ServerVersion: "v1.34.4"}); err != nil {
		t.Fatal(err)
	}
	if seal {
		if err := d.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		r, err := Load(writeRecord(t, sealed))
		if err != nil {
			t.Fatal(err)
		}
		if r.Complete != sealed || len(r.Damage) != 0 {
			t.Errorf("Complete = %v, Damage = %v; want %v and none", r.Complete, r.Damage, sealed)
		}
		want := LaneData{Lane: testLane, Windows: []Window{testWindow(0), testWindow(1), testWindow(3)}, Dropped: 6,
			Requests: []Request{{Due: 1e9, Sent: 1e9 + 5000, Latency: 3e6, Class: "refused", Error: "connect: refused"}}}
		if diff := cmp.Diff([]LaneData{want}, r.Lanes, cmp.AllowUnexported(Histogram{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("lanes (-want +got):\n%s", diff)
		}
		if len(r.Events) != 2 || r.Events[0].T != 3 || r.Events[0].Detail["a"] != "b" {
			t.Errorf("events are not in order of T: %v", r.Events)
		}
		if len(r.Probes) != 1 || len(r.Probes[0].Samples) != 1 || !r.Probes[0].Samples[0].OK {
			t.Errorf("probes: %v", r.Probes)
		}
		if r.Before == nil || r.Before.ServerVersion != "v1.34.4" || r.After != nil {
			t.Errorf("snapshots: %v, %v", r.Before, r.After)
		}
		if got, want := string(r.Run.Scenario), `{"name":"<test> & more"}`; got != want {
			t.Errorf("scenario %s, want %s", got, want)
		}
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	path := writeRecord(t, true)
	_, err := Create(path, Run{})
	if want := "create record: " + path + " exists and is not empty; choose another directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSealIsRenewed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	d, err := Create(path, Run{Outcome: OutcomeRunning, Lanes: []Lane{testLane}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveRun(Run{Outcome: OutcomePassed, Lanes: []Lane{testLane}}); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveResult("verdict.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || r.Run.Outcome != OutcomePassed {
		t.Errorf("Complete = %v, Outcome = %q", r.Complete, r.Run.Outcome)
	}
	if _, err := d.Lane(testLane); err == nil || err.Error() != "open load/new.frames: the record is sealed" {
		t.Errorf("opening a lane after the seal: %v", err)
	}
	for _, name := range []string{"run.json", "load/x", "SHA256SUMS", "../x"} {
		if err := d.SaveResult(name, nil); err == nil {
			t.Errorf("SaveResult(%q) was accepted", name)
		}
	}
}

func TestTornEndIsDroppedAndReported(t *testing.T) {
	for _, c := range []struct {
		file string
		keep int // of the windows, requests or events
	}{{"load/new.frames", 2}, {"load/new.slow.ndjson", 0}, {"timeline.ndjson", 1}, {"probes/api.ndjson", 0}} {
		whole := writeRecord(t, false)
		data, err := os.ReadFile(filepath.Join(whole, c.file))
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{1, 5} {
			write(t, filepath.Join(whole, c.file), data[:len(data)-cut])
			r, err := Load(whole)
			if err != nil {
				t.Fatalf("%s without its last %d bytes: %v", c.file, cut, err)
			}
			if len(r.Damage) != 1 || r.Damage[0].File != c.file || r.Damage[0].Offset <= 0 && c.keep > 0 ||
				!strings.Contains(r.Damage[0].What, "was not written out") {
				t.Errorf("%s without its last %d bytes: Damage = %+v", c.file, cut, r.Damage)
			}
			got := map[string]int{"load/new.frames": len(r.Lanes[0].Windows), "load/new.slow.ndjson": len(r.Lanes[0].Requests),
				"timeline.ndjson": len(r.Events), "probes/api.ndjson": len(r.Probes[0].Samples)}[c.file]
			if got != c.keep {
				t.Errorf("%s without its last %d bytes: %d entries, want %d", c.file, cut, got, c.keep)
			}
		}
		write(t, filepath.Join(whole, c.file), append(data[:len(data):len(data)], make([]byte, 300)...))
		if r, err := Load(whole); err != nil || len(r.Damage) != 1 || r.Damage[0].Offset != int64(len(data)) {
			t.Errorf("%s with zeros at its end: %v, %v", c.file, r, err)
		}
	}
}

// TestEveryChangeOfASealedRecordIsAnError flips each byte of each file, and
// cuts each file at each length.
func TestEveryChangeOfASealedRecordIsAnError(t *testing.T) {
	path := writeRecord(t, true)
	files, err := evidence(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 6 {
		t.Fatalf("the seal covers %v", files)
	}
	for _, file := range files {
		name := filepath.Join(path, file)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		mustFail := func(what string, changed []byte) {
			write(t, name, changed)
			_, err := Load(path)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.File != file || corrupt.Offset > int64(len(data)) {
				t.Fatalf("%s, %s: %v", file, what, err)
			}
		}
		for i := 0; i < len(data); i += 7 {
			changed := append([]byte(nil), data...)
			changed[i] ^= 1
			mustFail("a bit changed", changed)
			mustFail("cut", data[:i])
		}
		write(t, name, data)
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil {
			t.Fatalf("%s removed: no error", file)
		}
		write(t, name, data)
	}
	write(t, filepath.Join(path, "cluster/other.json"), []byte("{}"))
	if _, err := Load(path); err == nil || !strings.HasSuffix(err.Error(), "cluster/other.json: offset 0: was added after the record was sealed") {
		t.Errorf("a file added: %v", err)
	}
}

func TestUnsealedRecordErrors(t *testing.T) {
	frames := func(change func([]byte) []byte) func(string) (string, []byte) {
		return func(dir string) (string, []byte) {
			data, _ := os.ReadFile(filepath.Join(dir, "load/new.frames"))
			return "load/new.frames", change(data)
		}
	}
	runJSON := func(old, new string) func(string) (string, []byte) {
		return func(dir string) (string, []byte) {
			data, _ := os.ReadFile(filepath.Join(dir, "run.json"))
			return "run.json", []byte(strings.Replace(string(data), old, new, 1))
		}
	}
	header := len(appendHeader(nil, "new"))
	for _, c := range []struct {
		what   string
		change func(dir string) (string, []byte)
		want   string
	}{
		{"payload byte", frames(func(b []byte) []byte { b[header+frameHead+3] ^= 4; return b }),
			"load/new.frames: offset 15: the frame is damaged: its checksum does not match"},
		{"length byte", frames(func(b []byte) []byte { b[header+1] ^= 4; return b }),
			"load/new.frames: offset 15: the frame's head is damaged: its checksum does not match"},
		{"version", frames(func(b []byte) []byte { b[4] = 9; return b }),
			"load/new.frames: offset 4: format version 9; this version of rehearse reads version 1"},
		{"magic", frames(func(b []byte) []byte { b[0] = 'X'; return b }),
			`load/new.frames: offset 0: not a file of load frames: it begins with "XHLF" instead of "RHLF"`},
		{"short header", frames(func(b []byte) []byte { return b[:9] }),
			"load/new.frames: offset 9: the header is cut short"},
		{"other lane", frames(func([]byte) []byte { return appendHeader(nil, "reused") }),
			`load/new.frames: offset 8: holds lane "reused" instead of "new"`},
		{"order", frames(func(b []byte) []byte { w := testWindow(2); return appendFrame(b, &w) }),
			"load/new.frames: offset 822: second 2 comes after second 3"},
		{"sums", frames(func(b []byte) []byte {
			w := testWindow(7)
			w.Counts[OK]++
			return appendFrame(b[:header], &w)
		}), "load/new.frames: offset 15: latencies of 50 requests, but 51 were answered ok"},
		{"spans", frames(func(b []byte) []byte {
			w := testWindow(7)
			w.Spans = w.Spans[1:]
			return appendFrame(b[:header], &w)
		}), "load/new.frames: offset 15: spans of kind 0 hold 0 slots, the counts say 9"},
		{"class", func(string) (string, []byte) {
			return "load/new.slow.ndjson", []byte(`{"due":1,"sent":1,"latency":1,"class":"meteor","reused":false}` + "\n")
		}, `load/new.slow.ndjson: offset 0: unknown outcome class "meteor"`},
		{"field", func(string) (string, []byte) {
			return "probes/api.ndjson", []byte(`{"t":1,"d":1,"ok":true}` + "\n" + `{"t":1,"d":1,"okay":true}` + "\n")
		}, `probes/api.ndjson: offset 24: not a line of this file: json: unknown field "okay"`},
		{"scenario", runJSON("<test>", "<pest>"), "run.json: offset 0: the scenario's SHA-256 is "},
		{"run version", runJSON(`"format": 1`, `"format": 2`), "run.json: offset 0: format version 2; this version of rehearse reads version 1"},
		{"stranger", func(string) (string, []byte) { return "load/other.frames", nil },
			"load/other.frames: offset 0: belongs to no lane and no probe that run.json lists"},
	} {
		path := writeRecord(t, false)
		file, data := c.change(path)
		write(t, filepath.Join(path, file), data)
		_, err := Load(path)
		if want := "load record " + path + ": " + c.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", c.what, err, want)
		}
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.HasSuffix(err.Error(), "run.json is missing: not a run directory") {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestWriterRefusesImpossibleWindows(t *testing.T) {
	d, err := Create(filepath.Join(t.TempDir(), "run"), Run{})
	if err != nil {
		t.Fatal(err)
	}
	lane, err := d.Lane(testLane)
	if err != nil {
		t.Fatal(err)
	}
	w := testWindow(4)
	w.Counts[Reset] = 1
	if err := lane.WriteWindow(&w); err == nil || err.Error() != "write window of second 4: send lags of 59 requests, but 60 were sent" {
		t.Errorf("got %v", err)
	}
	w = testWindow(4)
	if err := lane.WriteWindow(&w); err != nil {
		t.Error(err)
	}
	if err := lane.WriteWindow(&w); err == nil || err.Error() != "write window: second 4 comes after second 4" {
		t.Errorf("got %v", err)
	}
	if err := lane.WriteRequest(&Request{Class: "none"}); err == nil {
		t.Error("a request of an unknown class was written")
	}
	for _, name := range []string{"", "../x", "a/b", ".x"} {
		if _, err := d.Lane(Lane{Name: name, Rate: 1}); err == nil {
			t.Errorf("a lane called %q was accepted", name)
		}
	}
}

func TestLogs(t *testing.T) {
	d, err := Create(filepath.Join(t.TempDir(), "run"), Run{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := d.Log("03-create")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	path, err := d.FailLog("03-create")
	if err != nil || path != "logs/FAILED-03-create.log" {
		t.Fatalf("FailLog: %q, %v", path, err)
	}
	if data, err := os.ReadFile(filepath.Join(d.Path(), path)); err != nil || string(data) != "hello\n" {
		t.Errorf("log: %q, %v", data, err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
