package reports

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
)

// busyVerdict is a NO-GO whose runner also had a stall of some 50 ms every few
// seconds.
func busyVerdict() judge.Verdict {
	v := noGoVerdict()
	for i := range int64(40) {
		start := (80 + 10*i) * 1e9
		length := (30 + i) * 1e6
		v.Outages = append(v.Outages, judge.Outage{
			Lane: []string{"new", "reused"}[i%2], Phase: "upgrade", Start: start, End: start + length, LowerNS: length - 10e6, UpperNS: length,
			Sent: 5, Classes: map[string]uint64{"stalled": 5}, Usable: i%2 == 0, Cause: "unattributed: requests hung and were answered when it was over",
		})
	}
	return v
}

// TestManyOutagesDoNotBuryTheReport: the five that matter most are told, with
// three events each, and how many more there are.
func TestManyOutagesDoNotBuryTheReport(t *testing.T) {
	v := View{}
	for i := range 20 {
		v.Outages = append(v.Outages, Outage{Lane: fmt.Sprint("lane-", i), AtMost: time.Duration(i) * time.Second, Failed: uint64(i), Usable: i < 10, Nearby: []string{"a", "b", "c", "d"}})
	}
	worst, rest := v.worstOutages(5, 3)
	var lanes []string
	for _, o := range worst {
		lanes = append(lanes, o.Lane)
		if len(o.Nearby) != 3 {
			t.Errorf("%s has %d events, want 3", o.Lane, len(o.Nearby))
		}
	}
	if got, want := strings.Join(lanes, " "), "lane-9 lane-8 lane-7 lane-6 lane-5"; got != want || rest.Count != 15 {
		t.Errorf("got %s and %d more, want %s and 15", got, rest.Count, want)
	}
	if len(v.Outages[0].Nearby) != 4 {
		t.Error("the view itself was changed")
	}
	var b bytes.Buffer
	if err := Text(&b, v, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	const folded = "and 15 more of at most 19 s each, 2 min 35 s together, in which 155 requests were lost (10 not judged); all are in verdict.json"
	if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), " "+folded+" ") {
		t.Errorf("the text does not tell of the others:\n%s", b.String())
	}
	b.Reset()
	if err := Markdown(&b, v); err != nil {
		t.Fatal(err)
	}
	const fewer = "and 12 more of at most 19 s each, 2 min 26 s together, in which 146 requests were lost (10 not judged); all are in verdict.json"
	if !strings.Contains(b.String(), "\n- "+fewer+"\n") {
		t.Errorf("nor does the Markdown:\n%s", b.String())
	}
	b.Reset()
	page := NewView(goRecord(), goVerdict())
	page.Outages = v.Outages
	if err := HTML(&b, page); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), `<button type="button" class="show"`); n != 8 {
		t.Errorf("the page has %d cards of outages, want 8", n)
	}
	if !strings.Contains(b.String(), fewer+". The timeline shows them too.") {
		t.Error("nor does the page")
	}
}
