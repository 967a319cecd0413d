package reports

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestManyOutagesDoNotBuryTheReport: the five that matter most are told, with
// three events each, and how many more there are.
func TestManyOutagesDoNotBuryTheReport(t *testing.T) {
	v := View{}
	for i := range 20 {
		v.Outages = append(v.Outages, Outage{Lane: fmt.Sprint("lane-", i), AtMost: time.Duration(i) * time.Second, Usable: i < 10, Nearby: []string{"a", "b", "c", "d"}})
	}
	worst, more := v.worstOutages(5)
	var lanes []string
	for _, o := range worst {
		lanes = append(lanes, o.Lane)
		if len(o.Nearby) != 3 {
			t.Errorf("%s has %d events, want 3", o.Lane, len(o.Nearby))
		}
	}
	if got, want := strings.Join(lanes, " "), "lane-9 lane-8 lane-7 lane-6 lane-5"; got != want || more != 15 {
		t.Errorf("got %s and %d more, want %s and 15", got, more, want)
	}
	if len(v.Outages[0].Nearby) != 4 {
		t.Error("the view itself was changed")
	}
	var b bytes.Buffer
	if err := Text(&b, v, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "  and 15 shorter ones, in report.html\n") {
		t.Errorf("the text does not tell of the others:\n%s", b.String())
	}
}
