package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestListShowsEveryRun(t *testing.T) {
	dir := runs(t)
	file(t, `{"format": 1, "id": `, dir, "torn", runFile)
	file(t, `{"format": 7}`, dir, "later", runFile)
	file(t, ``, dir, "headless", timelineFile)
	file(t, `no run`, dir, "notes", "readme.md")
	file(t, `no run`, dir, ".git", runFile)
	unjudged := rehearsal("dddddd", "monthly", 6)
	if err := synth.Write(filepath.Join(dir, "unjudged"), unjudged); err != nil {
		t.Fatal(err)
	}
	oddly := rehearsal("eeeeee", "monthly", 7)
	oddly.Run.Outcome, oddly.Run.Failure = record.OutcomeInterrupted, "The user stopped it."
	write(t, filepath.Join(dir, "stopped"), oddly)
	file(t, `{"format": 1, "outcome": "PERHAPS"}`, dir, "stopped", verdictFile)
	going := rehearsal("ffffff", "monthly", 8).Run
	going.Outcome, going.Ended = record.OutcomeRunning, time.Time{}
	going.Steps = []record.Step{{Number: 1, Description: "Create the cluster", Outcome: record.OutcomePassed}, {Number: 2, Description: "Upgrade it"}}
	d, err := record.Create(filepath.Join(dir, "going"), going)
	if err != nil {
		t.Fatal(err)
	}
	s := serverOf(t, dir)
	broken := map[string]string{}
	list := func() map[string]string {
		out := map[string]string{}
		for _, row := range rows(says(t, s, "/", http.StatusOK)) {
			for _, name := range []string{"good", "bad", "search/sim", "torn", "later", "headless", "unjudged", "stopped", "going"} {
				if strings.Contains(row, name+" ") {
					out[name] = row
				}
			}
		}
		return out
	}
	got := list()
	for _, name := range []string{"torn", "later", "headless"} { // their time is that of the file
		broken[name] = regexp.MustCompile(` 20\d\d-.*| –.*`).ReplaceAllString(got[name], "")
		delete(got, name)
	}
	if diff := cmp.Diff(map[string]string{
		"torn":     "torn torn broken run.json is no JSON from byte 20 on: unexpected end of JSON input the run cannot be read",
		"later":    "later later broken run.json has format version 7; this version of rehearse reads version 1 the run cannot be read",
		"headless": "headless headless broken run.json is missing the run cannot be read",
	}, broken); diff != "" {
		t.Errorf("broken runs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"good":       "monthly good ✓ GO v1.34.4 → v1.35.4 kind 2026-11-03 03:04 5 min 0 s 23.7 ms → 21.1 ms new -11% none 0 of 4,500 –",
		"bad":        "monthly bad ✗ NO-GO v1.34.4 → v1.35.4 kind 2026-11-04 03:04 5 min 0 s 23.7 ms → 20.9 ms new -12% 5.01 s new 500 of 4,500 –",
		"search/sim": "nightly search/sim ✓ GO simulated v1.34.4 → v1.35.4 sim 2026-11-05 03:04 5 min 0 s 23.7 ms → 21.1 ms new -11% none 0 of 4,500 –",
		"unjudged":   "monthly unjudged not judged verdict.json is missing v1.34.4 → v1.35.4 kind 2026-11-06 03:04 5 min 0 s – – – –",
		"stopped":    `monthly stopped interrupted The run was interrupted. The user stopped it. verdict.json has the unknown outcome "PERHAPS" v1.34.4 → v1.35.4 kind 2026-11-07 03:04 5 min 0 s – – – –`,
		"going":      "monthly going running The run is going on: the last step that was written down is 1, Create the cluster (passed). v1.34.4 → v1.35.4 kind 2026-11-08 03:04 – – – – –",
	}, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if err := d.Close(); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	want := "monthly going stopped The run has no end: the last step that was written down is 1, Create the cluster (passed). It was killed, or goes on on another machine. rehearse run --resume may go on with it. verdict.json is missing v1.34.4 → v1.35.4 kind 2026-11-08 03:04 – – – – –"
	if got := list()["going"]; got != want {
		t.Errorf("a killed run:\n got %s\nwant %s", got, want)
	}
	says(t, s, "/", http.StatusOK, "9 runs: 2 GO, 1 NO-GO, 6 without a verdict.")
}

func TestFilters(t *testing.T) {
	dir := runs(t)
	file(t, `{}`, dir, "torn", runFile)
	s := serverOf(t, dir)
	for query, want := range map[string]string{
		"":                                     "torn, search/sim, bad, good",
		"?scenario=monthly":                    "bad, good",
		"?verdict=GO":                          "search/sim, good",
		"?verdict=none":                        "torn",
		"?driver=sim":                          "search/sim",
		"?simulated=real&verdict=NO-GO":        "bad",
		"?simulated=simulated&driver=kind":     "",
		"?scenario=%3Cscript%3Ealert(1)":       "",
		"?scenario=monthly&from=9999":          "bad, good",
		"?scenario=monthly&from=-1&verdict=GO": "good",
	} {
		page := says(t, s, "/"+query, http.StatusOK)
		var got []string
		for _, m := range regexp.MustCompile(`name="run" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q shows %v, want %s", query, got, want)
		}
		if want == "" && !strings.Contains(words(page), "0 of 4 runs. No run is like that. Show all") {
			t.Errorf("%q says %s", query, words(page))
		}
	}
	if page := says(t, s, "/?verdict=NO-GO", http.StatusOK, "1 of 4 runs: 1 NO-GO."); !strings.Contains(page, "<option selected>NO-GO</option>") {
		t.Error("the filter forgets what was chosen")
	}
}

// TestManyRuns counts what is read: each run once, and again only where its
// files have changed.
func TestManyRuns(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "0"), rehearsal("aaaaaa", "monthly", 3))
	var doc map[string]any
	b, err := os.ReadFile(filepath.Join(dir, "0", runFile))
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	verdict, err2 := os.ReadFile(filepath.Join(dir, "0", verdictFile))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 500; i++ {
		doc["started"] = time.Date(2025, 1, 1, i, 0, 0, 0, time.UTC)
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(i)
		file(t, string(b), dir, name, runFile)
		file(t, string(verdict), dir, name, verdictFile)
	}
	s := serverOf(t, dir)
	reads := func(want int64, what string) {
		t.Helper()
		before := s.store.reads.Load()
		says(t, s, "/", http.StatusOK)
		if got := s.store.reads.Load() - before; got != want {
			t.Errorf("%s: %d runs were read, want %d", what, got, want)
		}
	}
	if n, err := s.Runs(); n != 500 || err != nil || s.store.reads.Load() != 0 {
		t.Errorf("%d runs were counted (%v), and %d read for that", n, err, s.store.reads.Load())
	}
	// The newest are there at once, and a page that has not all loads itself again.
	for i, want := range []int64{perLook, perLook, perLook, 500 - 3*perLook} {
		before := s.store.reads.Load()
		r := get(s, "/")
		whole := body(t, r)
		page := words(whole)
		if row := rows(whole)[0]; i == 0 && !strings.HasPrefix(row, "monthly 499 ") {
			t.Errorf("the first row of the first look is %q, want the newest run", row)
		}
		if got := s.store.reads.Load() - before; got != want {
			t.Errorf("look %d reads %d runs, want %d", i+1, got, want)
		}
		notice := fmt.Sprintf("The newest %d of 500 runs have been read. The others follow", (i+1)*perLook)
		if last := i == 3; r.Header.Get("Refresh") == "" != last || strings.Contains(page, notice) == last {
			t.Errorf("look %d: Refresh %q, and the page says %.400s", i+1, r.Header.Get("Refresh"), page)
		}
	}
	reads(0, "nothing changed")
	file(t, `{"format": 1, "outcome": "NO-GO"}`, dir, "7", verdictFile)
	reads(1, "one was judged anew")
	file(t, string(b), dir, "new", runFile)
	reads(1, "one is new")
	if err := os.RemoveAll(filepath.Join(dir, "8")); err != nil {
		t.Fatal(err)
	}
	reads(0, "one is gone")
	if n := len(s.store.known); n != 500 {
		t.Errorf("%d runs are remembered, want 500", n)
	}
	if n := s.judgements.Load(); n != 0 {
		t.Errorf("%d records were judged for a list", n)
	}
	page := says(t, s, "/", http.StatusOK, "500 runs: 498 GO, 1 NO-GO, 1 without a verdict.", "Runs 1 and on. older →")
	if n := len(rows(page)); n != perPage {
		t.Errorf("%d rows, want %d", n, perPage)
	}
	page = says(t, s, "/?from=250&verdict=GO", http.StatusOK, "498 of 500 runs", "Runs 251 and on. ← newer")
	if n := len(rows(page)); n != 248 {
		t.Errorf("%d rows on the second page, want 248", n)
	}
}
