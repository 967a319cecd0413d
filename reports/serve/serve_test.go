package serve

import (
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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
