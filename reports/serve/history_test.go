package serve

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
