package serve

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/reports"
)

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
	// An hour after the seal the list sees it without judging.
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "bad", verdictFile), later, later); err != nil {
		t.Fatal(err)
	}
	says(t, s, "/", http.StatusOK, "monthly bad ✓ GO verdict.json changed after the record was sealed; open the run to judge it anew v1.34.4")
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
