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
		o := judge.Outage{
			Lane: []string{"new", "reused"}[i%2], Phase: "upgrade", Start: start, End: start + length, LowerNS: length - 10e6, UpperNS: length,
			Sent: 5, Classes: map[string]uint64{"stalled": 5}, Usable: i%2 == 0, Cause: "unattributed: requests hung and were answered when it was over",
		}
		v.Outages = append(v.Outages, o)
		v.Ledger.Bursts = append(v.Ledger.Bursts, judge.Burst{
			Kind: judge.BurstOutage, Lane: o.Lane, Phase: o.Phase, Start: o.Start, End: o.End, LowerNS: o.LowerNS, UpperNS: o.UpperNS, Sent: o.Sent, Classes: o.Classes,
			Signature: judge.SignatureHang, Cause: o.Cause, Usable: o.Usable,
		})
	}
	return v
}

// TestManyBurstsDoNotBuryTheReport: the five that matter most are told, with
// three events each, and how many more there are.
func TestManyBurstsDoNotBuryTheReport(t *testing.T) {
	v := View{}
	for i := range 20 {
		v.Ledger.Bursts = append(v.Ledger.Bursts, Burst{
			Number: i + 1, Kind: judge.BurstOutage, Lane: fmt.Sprint("lane-", i), AtMost: time.Duration(i) * time.Second, Lost: uint64(i), Usable: i < 10, Nearby: []string{"a", "b", "c", "d"},
		})
	}
	worst, others := v.Ledger.worst(5, 3)
	var lanes []string
	for _, b := range worst {
		lanes = append(lanes, b.Lane)
		if len(b.Nearby) != 3 {
			t.Errorf("%s has %d events, want 3", b.Lane, len(b.Nearby))
		}
	}
	if got, want := strings.Join(lanes, " "), "lane-9 lane-8 lane-7 lane-6 lane-5"; got != want || len(others) != 15 {
		t.Errorf("got %s and %d more, want %s and 15", got, len(others), want)
	}
	if len(v.Ledger.Bursts[0].Nearby) != 4 || v.Ledger.Bursts[0].Number != 1 {
		t.Error("the view itself was changed")
	}
	var b bytes.Buffer
	if err := Text(&b, v, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	const many = "and 15 more (10 not judged) of at most 19 s each, 2 min 35 s together, in which 155 requests were lost; all are in verdict.json"
	if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), " "+many+" ") {
		t.Errorf("the text does not tell of the others:\n%s", b.String())
	}
	b.Reset()
	if err := Markdown(&b, v); err != nil {
		t.Fatal(err)
	}
	const fewer = "and 12 more (10 not judged) of at most 19 s each, 2 min 26 s together, in which 146 requests were lost; all are in verdict.json"
	if !strings.Contains(b.String(), "\n- "+fewer+"\n") {
		t.Errorf("nor does the Markdown:\n%s", b.String())
	}
	b.Reset()
	page := NewView(goRecord(), goVerdict())
	page.Ledger = v.Ledger
	if err := HTML(&b, page); err != nil {
		t.Fatal(err)
	}
	if cards, buttons := strings.Count(b.String(), `<li class="lost" value=`), strings.Count(b.String(), `class="show"`); cards != 8 || buttons != 20 {
		t.Errorf("the page has %d cards and %d buttons of entries, want 8 and 20", cards, buttons)
	}
	if !strings.Contains(b.String(), "<summary>The other 12 entries</summary>") {
		t.Error("nor does the page")
	}
}

func TestBurstInWords(t *testing.T) {
	chance := 0.00498
	for _, x := range []struct {
		burst Burst
		want  string
	}{
		{
			Burst{Kind: judge.BurstLost, Lane: "new", Phase: "settle", Span: Span{Start: 61 * time.Second}, AtLeast: 10 * time.Millisecond, AtMost: 30 * time.Millisecond, Lost: 1, Sent: 3, Usable: true, Cause: "unattributed", Chance: &chance},
			"new at +01:01.0, in the settle: 10 ms to 30 ms, 1 of 3 requests lost | lost |  | ",
		},
		{
			Burst{Kind: judge.BurstSlow, Lane: "reused", Phase: "upgrade", AtMost: time.Second, Slow: 7, Sent: 100, Worst: 1203, Usable: true, Cause: "evict pod/a/b", Chance: &chance, Mend: "Wait.", Set: []string{"upgrade.nodeInterval (now 5s)", "x"}},
			"reused at +00:00.0, in the upgrade: 0 ms to 1 s, 7 of 100 requests slow, the longest took 1.2 s | slow | in 0.498% of cases events at other times would explain it as well | Wait. Set upgrade.nodeInterval (now 5s); x.",
		},
		{
			Burst{Kind: judge.BurstAPI, Lane: "api", Phase: "upgrade", AtLeast: time.Second, AtMost: time.Second, Lost: 8, Sent: 8, Signature: "contention", Classes: []Count{{"refused", 8}}, Cause: "contention of the machine", Chance: &chance},
			"API server at +00:00.0, in the upgrade: 1 s, 8 of 8 observations lost (8 refused); not judged, the measurement was not valid here | machine |  | ",
		},
		{
			Burst{Kind: judge.BurstOutage, Lane: "new", Phase: "upgrade", AtLeast: time.Second, AtMost: time.Second, Lost: 8, Slow: 2, Sent: 10, Usable: true, Pods: []string{"a", "b"}, Nodes: []string{"n"}, From: "requests"},
			"new at +00:00.0, in the upgrade: 1 s, 8 of 10 requests lost, 2 slow around it | lost |  | ",
		},
	} {
		if got := strings.Join([]string{x.burst.statement(), x.burst.Tone(), x.burst.coincidence(), x.burst.remedy()}, " | "); got != x.want {
			t.Errorf("\n got %s\nwant %s", got, x.want)
		}
	}
	b := Burst{Pods: []string{"a", "b"}, Nodes: []string{"n"}, From: "requests"}
	if got, want := b.who(), "pod a, b on node n, as its requests met them"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r := LedgerRest{Lane: "new", Kind: "lost", Bursts: 3, Lost: 4, Cause: "unattributed"}
	if got, want := r.String(), "new, 3 bursts more: 4 lost; unattributed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestJUnitTellsWhoIsToBlame: what failed on a lane comes with its entries of the
// ledger.
func TestJUnitTellsWhoIsToBlame(t *testing.T) {
	doc := string(render(t, FormatJUnit, named(t, "no-go")))
	const want = "new at +04:06.2, in the upgrade: 5.21 s to 5.24 s, 521 of 521 requests lost (480 refused, 41 http-5xx), 12 slow around it; cause: drain-start of node/quickstart-worker"
	if n := strings.Count(doc, want); n != 2 {
		t.Errorf("%d criteria tell the entry, want outage/new and success/new:\n%s", n, doc)
	}
}
