package reports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// TestReportsOfJudgedRecords shows what the judge really says, where the other
// fixtures show what somebody wrote by hand.
func TestReportsOfJudgedRecords(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults []synth.Fault
		want   judge.Outcome
	}{
		{"judged-go", nil, judge.Go},
		{"judged-no-go", []synth.Fault{{Kind: synth.Fail, Lane: "new", Start: 60 * time.Second, Length: 5 * time.Second}, {Kind: synth.SlowBody, Lane: "reused", Start: 0, Length: 180 * time.Second, Factor: 1.4}}, judge.NoGo},
		{"judged-inconclusive", []synth.Fault{{Kind: synth.Pause, Start: 90 * time.Second, Length: 3 * time.Second}}, judge.Inconclusive},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := synth.Options{Seed: 3, Faults: c.faults}
			s := o.Scenario()
			r := synth.Record(o)
			v := judge.Judge(r, s.Criteria())
			if v.Outcome != c.want {
				t.Fatalf("the judge says %s: %s", v.Outcome, v.Summary)
			}
			dir := t.TempDir()
			if err := Write(dir, r, v); err != nil {
				t.Fatal(err)
			}
			junit, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
			if err != nil {
				t.Fatal(err)
			}
			checkJUnit(t, junit)
			text, err := os.ReadFile(filepath.Join(dir, "report.txt"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), string(c.want)+"  ") {
				t.Errorf("the text begins %q", text[:40])
			}
			for _, line := range strings.Split(string(text), "\n") {
				if columns(line) > 80 {
					t.Errorf("%d columns in %q", columns(line), line)
				}
			}
			keep(t, dir, c.name)
			checkOutages(t, NewView(r, v), r)
		})
	}
}

// keep leaves the reports of a run in $REHEARSE_REPORTS, for somebody to look at.
func keep(t *testing.T, dir, name string) {
	t.Helper()
	if to := os.Getenv("REHEARSE_REPORTS"); to != "" {
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// checkOutages holds the charts to the verdict: each judged outage is marked.
func checkOutages(t *testing.T, v View, r *record.Record) {
	t.Helper()
	want := 0
	for _, o := range v.Outages {
		if o.Usable {
			want++
		}
	}
	if got := len(newCharts(v).Outages); got != want {
		t.Errorf("%d outages are marked, the verdict has %d", got, want)
	}
	if got := len(newCharts(v).Lanes); got != len(r.Lanes) {
		t.Errorf("%d lanes are drawn of %d", got, len(r.Lanes))
	}
}
