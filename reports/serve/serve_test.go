package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
)

// rehearsal makes the record of a rehearsal that never took place: it ended on
// the given day of November 2026, and its scenario is called name.
func rehearsal(id, name string, day int, faults ...synth.Fault) *record.Record {
	o := synth.Options{Lanes: []string{"new"}, Baseline: 40 * time.Second, Upgrade: 45 * time.Second, Settle: 5 * time.Second, Warmup: time.Second, Faults: faults}
	r := synth.Record(o)
	s := o.Scenario()
	s.Name = name
	resolved, err := s.Resolved()
	if err != nil {
		panic(err)
	}
	r.Run.Scenario = resolved
	if r.Run.ScenarioSHA256, err = record.ScenarioDigest(resolved); err != nil {
		panic(err)
	}
	r.Run.ID, r.Run.Name, r.Run.Driver, r.Run.Simulated, r.Run.Tool = id, name, "kind", false, "v1.2.3"
	r.Run.Started = time.Date(2026, 11, day, 3, 4, 5, 0, time.UTC)
	r.Run.Ended = r.Run.Started.Add(5 * time.Minute)
	return r
}

var away = synth.Fault{Lane: "new", Start: 10 * time.Second, Length: 5 * time.Second}

// write writes a run directory with its reports, as a run would have.
func write(t *testing.T, dir string, r *record.Record) {
	t.Helper()
	if err := synth.Write(dir, r); err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	j, err := s.judgeAnew(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := reports.Write(dir, j.record, j.verdict); err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T, content string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func serverOf(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := New(dir, Options{Tool: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// get asks as a browser on the same machine would.
func get(s *Server, target string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "127.0.0.1:8099"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	tags   = regexp.MustCompile(`(?s)<(style|script)[^>]*>.*?</(style|script)>|<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// words returns what a page says, without its markup.
func words(page string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(page, " ")), " "))
}

// rows returns what the rows of a table's body say.
func rows(page string) []string {
	_, page, _ = strings.Cut(page, "<tbody>")
	page, _, _ = strings.Cut(page, "</tbody>")
	var out []string
	for _, row := range strings.SplitAfter(page, "</tr>") {
		if w := words(row); w != "" {
			out = append(out, w)
		}
	}
	return out
}

func says(t *testing.T, s *Server, target string, status int, want ...string) string {
	t.Helper()
	r := get(s, target)
	page := body(t, r)
	if r.StatusCode != status {
		t.Errorf("%s answers %d, want %d: %s", target, r.StatusCode, status, words(page))
	}
	for _, w := range want {
		if !strings.Contains(words(page), w) {
			t.Errorf("%s does not say %q; it says:\n%.3000s", target, w, words(page))
		}
	}
	return page
}

// runs is a directory with a run of each kind.
func runs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good"), rehearsal("aaaaaa", "monthly", 3))
	write(t, filepath.Join(dir, "bad"), rehearsal("bbbbbb", "monthly", 4, away))
	sim := rehearsal("cccccc", "nightly", 5)
	sim.Run.Driver, sim.Run.Simulated = "sim", true
	write(t, filepath.Join(dir, "search", "sim"), sim)
	return dir
}

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
	reads(500, "at first")
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

func TestNewRefuses(t *testing.T) {
	dir := runs(t)
	for path, want := range map[string]string{
		filepath.Join(dir, "no"):                 "stat " + filepath.Join(dir, "no") + ": no such file or directory; name the directory that holds the run directories",
		filepath.Join(dir, "good", "run.json"):   filepath.Join(dir, "good", "run.json") + " is a file; name the directory that holds the run directories",
		filepath.Join(dir, "good") + string('/'): filepath.Join(dir, "good") + "/ is a run directory itself; name the directory that holds it: " + dir,
	} {
		if _, err := New(path, Options{}); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", path, err, want)
		}
	}
	empty := serverOf(t, t.TempDir())
	says(t, empty, "/", http.StatusOK, "There is no run yet. rehearse run --out")
	says(t, empty, "/history", http.StatusOK, "There is no run yet whose scenario is known.")
	says(t, empty, "/compare", http.StatusOK, "Choose two runs.")
}

func TestHistory(t *testing.T) {
	dir := runs(t)
	s := serverOf(t, dir)
	page := says(t, s, "/history?scenario=monthly", http.StatusOK, "History of monthly", "2 runs: 1 GO, 1 NO-GO.")
	want := []string{
		"2026-11-03 03:04 good ✓ GO v1.34.4 → v1.35.4 kind 23.7 ms → 21.1 ms none 0 45 s 5 min 0 s",
		"2026-11-04 03:04 bad ✗ NO-GO v1.34.4 → v1.35.4 kind 23.7 ms → 20.9 ms 5.01 s 500 45 s 5 min 0 s",
	}
	if diff := cmp.Diff(want, rows(page)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	_, data, _ := strings.Cut(page, `id="data">`)
	data, _, _ = strings.Cut(data, "</script>")
	var c chart
	if err := json.Unmarshal([]byte(data), &c); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Lanes, []string{"new"}) || len(c.Runs) != 2 || c.Runs[1].Verdict != "NO-GO" || c.Runs[1].URL != "/run/bad" || *c.Runs[1].Lost != 500 || c.Runs[0].Outage[1] != 0 || c.Runs[1].Outage[1] < 5000 {
		t.Errorf("the charts have %s", data)
	}
	// Without a choice it is the scenario that ran last.
	says(t, s, "/history", http.StatusOK, "History of nightly", "1 run: 1 GO.")
	says(t, s, "/history?scenario=none", http.StatusOK, "History of none", "0 runs.")
}

func TestRunPage(t *testing.T) {
	dir := runs(t)
	s := serverOf(t, dir)
	r := get(s, "/run/good")
	page := body(t, r)
	if want := "Judged anew from the record; verdict.json says the same, byte for byte."; r.StatusCode != http.StatusOK || !strings.Contains(page, want) {
		t.Errorf("status %d, no %q", r.StatusCode, want)
	}
	if p := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; script-src 'sha256-") || !strings.HasSuffix(p, "; frame-ancestors 'none'") {
		t.Errorf("the policy of a report is %s", p)
	}
	// It is the report, with links and notices around it.
	report, err := os.ReadFile(filepath.Join(dir, "good", reports.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	page = regexp.MustCompile(`(?s)\n<nav class="around".*?</nav>|\n  <p class="notice.*?</p>`).ReplaceAllString(page, "")
	if page != string(report) {
		t.Error("the page is not the run's report.html")
	}
	says(t, s, "/run/good", http.StatusOK)
	says(t, s, "/run/search/sim", http.StatusOK, "Simulated.")
	if n := s.judgements.Load(); n != 2 {
		t.Errorf("%d records were judged for three pages of two runs", n)
	}

	// A verdict that somebody changed.
	changed := strings.Replace(string(must(os.ReadFile(filepath.Join(dir, "bad", verdictFile)))), `"outcome": "NO-GO"`, `"outcome": "GO"`, 1)
	file(t, changed, dir, "bad", verdictFile)
	says(t, s, "/", http.StatusOK, "monthly bad ✓ GO v1.34.4")
	page = says(t, s, "/run/bad", http.StatusOK, "verdict.json says GO. Judged anew from the record, the verdict is NO-GO, and that is what this page shows. Either another version of rehearse wrote it (the run was made by v1.2.3, this is v1.2.3), or it was changed.")
	if !strings.Contains(page, `<p class="notice alarm" role="alert">`) {
		t.Error("no alarm")
	}
	says(t, s, "/", http.StatusOK, "monthly bad ✓ GO judged anew: NO-GO v1.34.4")

	file(t, strings.Replace(changed, `"outcome": "GO"`, `"outcome":  "NO-GO"`, 1), dir, "bad", verdictFile)
	says(t, s, "/run/bad", http.StatusOK, "verdict.json says NO-GO too, and differs in what stands beside it.")
	file(t, "", dir, "bad", verdictFile)
	says(t, s, "/run/bad", http.StatusOK, "verdict.json is no JSON from byte 0 on: unexpected end of JSON input. This page shows what the record says, judged anew.")
	if err := os.Remove(filepath.Join(dir, "bad", verdictFile)); err != nil {
		t.Fatal(err)
	}
	says(t, s, "/run/bad", http.StatusOK, "There is no verdict.json: nobody judged this run before.")
	if err := os.Remove(filepath.Join(dir, "bad", sumsFile)); err != nil {
		t.Fatal(err)
	}
	says(t, s, "/run/bad", http.StatusOK, "The record is not sealed: the run did not finish, or SHA256SUMS was removed.")

	// Evidence that was changed, after the page was shown once.
	frames := filepath.Join(dir, "good", "load", "new.frames")
	if err := os.Truncate(frames, 1000); err != nil {
		t.Fatal(err)
	}
	page = says(t, s, "/run/good", http.StatusUnprocessableEntity, "No report of good", "The record cannot be read or trusted: load record good: load/new.frames")
	if strings.Contains(page, dir) {
		t.Error("the page names a path of the machine")
	}
	says(t, s, "/run/nosuch", http.StatusNotFound, "There is no such run")
	file(t, `{"format": 1, "id": `, dir, "torn", runFile)
	says(t, s, "/run/torn", http.StatusUnprocessableEntity, "No report of torn", "run.json is no JSON from byte 20 on: unexpected end of JSON input.")
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(100)
	for i := range 50 {
		c.put(fmt.Sprint(i), page{print: "p", body: make([]byte, 30)})
		c.get("0", "p") // stays, because it is asked for
	}
	if c.held > 100 || len(c.pages) != 3 || len(c.order) != 3 {
		t.Errorf("%d bytes in %d pages are held", c.held, len(c.pages))
	}
	if _, ok := c.get("0", "p"); !ok {
		t.Errorf("the page that was asked for last is gone; there are %v", slices.Sorted(maps.Keys(c.pages)))
	}
	if _, ok := c.get("0", "other"); ok {
		t.Error("a page of other evidence was returned")
	}
	c.put("0", page{body: make([]byte, 1000)})
	if c.held != 0 || len(c.pages) != 0 {
		t.Errorf("a page beyond the bound leaves %d bytes", c.held)
	}
}

func TestCompare(t *testing.T) {
	dir := runs(t)
	s := serverOf(t, dir)
	page := says(t, s, "/compare?a=good&b=bad", http.StatusOK,
		"First ✓ GO monthly good All 20 criteria that were judged passed.",
		"Second ✗ NO-GO monthly bad outage/new failed:",
		"Both ran the same scenario, field by field.",
		"The upgrade of both, until the end of the settle phase",
		"The baseline of both, before anything was upgraded",
		"✗ fail Increase of the error rate errors/new +10% ≤ +0.1% The error rate went from 0% to 10%: by at least 9.32 points at 95%",
		"✓ pass Growth of p50 latency p50/new",
		"Longest outage outage/new ✓ pass 0 ms (≤ 1 s)",
		"✗ fail 4.99 s (≤ 1 s)",
		"new upgrade 4,500 → 4,500 0 → 500",
		"kube-proxy v1.34.4 → v1.35.4",
		"kubelets, afterwards v1.35.4 on 4 v1.35.4 on 4",
		"Swap them",
	)
	if !strings.Contains(page, `<option value="bad" selected>`) {
		t.Error("the choice is forgotten")
	}
	if n := s.judgements.Load(); n != 2 {
		t.Errorf("%d records were judged", n)
	}
	says(t, s, "/compare?a=good&b=bad", http.StatusOK)
	if n := s.judgements.Load(); n != 2 {
		t.Errorf("%d records were judged for a page that was made already", n)
	}
	says(t, s, "/compare?a=good&b=search/sim", http.StatusOK, "One of them was simulated and the other was not: their figures say nothing of one another.")
	other := rehearsal("999999", "monthly", 9)
	other.Run.Lanes[0].Rate, other.Lanes[0].Lane.Rate = 50, 50
	write(t, filepath.Join(dir, "slower"), other)
	says(t, s, "/compare?a=good&b=slower", http.StatusOK, "They cannot be held against one another: lane new: 100 requests a second in the first run and 50 in the second run: record both at the same rate.")

	for query, want := range map[string]string{
		"":                                 "Choose two runs.",
		"?b=good":                          "Choose the other run too.",
		"?a=good&b=good":                   "Choose two different runs.",
		"?a=good&b=../x":                   "There is no run ../x; it may have been moved or deleted.",
		"?run=good&run=bad&run=search/sim": "3 runs were ticked; two can be compared. Choose them here.",
	} {
		says(t, s, "/compare"+query, http.StatusOK, want)
	}
	r := get(s, "/compare?run=bad&run=good") // newest first, as the list has them
	if got := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || got != "/compare?a=good&b=bad" {
		t.Errorf("%d to %q", r.StatusCode, got)
	}
	if err := os.Truncate(filepath.Join(dir, "bad", "load", "new.frames"), 1000); err != nil {
		t.Fatal(err)
	}
	says(t, s, "/compare?a=good&b=bad", http.StatusUnprocessableEntity, "No report of bad")
}

func TestStepsAreAlignedByWhatTheyDo(t *testing.T) {
	view := func(id, to string, steps ...string) reports.View {
		v := reports.View{Run: reports.Run{ID: id, From: "v1.34.4", To: to}}
		for i, s := range steps {
			v.Steps = append(v.Steps, reports.Step{Number: i, Description: s, Span: reports.Span{End: time.Duration(i+1) * time.Minute}})
		}
		return v
	}
	c := comparison{
		ViewA: view("aaa", "v1.35.3", "Create", "Upgrade x-aaa to v1.35.3", "Wait", "Upgrade y-aaa to v1.35.3", "Tear down"),
		ViewB: view("bbb", "v1.35.4", "Create", "Probe", "Upgrade x-bbb to v1.35.4", "Upgrade y-bbb to v1.35.4", "Tear down"),
	}
	c.steps()
	var got []string
	for _, p := range c.Steps {
		got = append(got, fmt.Sprintf("%s %t %t %s", p.Description, p.A != nil, p.B != nil, longer(took(p.A), took(p.B))))
	}
	want := []string{
		"Create true true =", "Probe false true ", "Upgrade x-bbb to v1.35.4 true true +1m0s", "Wait true false ",
		"Upgrade y-bbb to v1.35.4 true true =", "Tear down true true =",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
