package reports

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

var (
	scriptElement = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	styleElement  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	dataElement   = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)
	policyContent = regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`)
)

// TestPolicyAllowsExactlyWhatIsEmbedded: the hashes are those of the scripts and
// styles as they stand in the page, and nothing else is allowed.
func TestPolicyAllowsExactlyWhatIsEmbedded(t *testing.T) {
	doc := string(render(t, FormatHTML, named(t, "hostile")))
	var scripts, styles string
	for _, m := range scriptElement.FindAllStringSubmatch(doc, -1) {
		scripts += " " + sourceHash([]byte(m[1]))
	}
	for _, m := range styleElement.FindAllStringSubmatch(doc, -1) {
		styles += " " + sourceHash([]byte(m[1]))
	}
	want := "default-src 'none'; script-src" + scripts + "; style-src" + styles + "; base-uri 'none'; form-action 'none'"
	got := strings.ReplaceAll(strings.ReplaceAll(policyContent.FindStringSubmatch(doc)[1], "&#39;", "'"), "&#43;", "+")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the policy differs (-want +got):\n%s", diff)
	}
}

// TestHostileTextStaysText: no text of the record becomes an element, an
// attribute or a script.
func TestHostileTextStaysText(t *testing.T) {
	doc := string(render(t, FormatHTML, named(t, "hostile")))
	if n := len(scriptElement.FindAllString(doc, -1)); n != 4 {
		t.Errorf("the page has %d scripts, want the 4 of its own", n)
	}
	for _, raw := range []string{"<script>alert", "\x1b", "\x00", "\u202e", "</details>\\xff"} {
		if strings.Contains(doc, raw) {
			t.Errorf("the page holds %q", raw)
		}
	}
	var data charts
	if err := json.Unmarshal([]byte(dataElement.FindStringSubmatch(doc)[1]), &data); err != nil {
		t.Fatal(err)
	}
	if got, want := data.Events[0].Subject, clean(hostile); got != want {
		t.Errorf("the subject of an event reads %q, want %q", got, want)
	}
}

// TestPageOfEightHoursStaysSmall: 28,800 seconds on three lanes, 50 nodes.
func TestPageOfEightHoursStaysSmall(t *testing.T) {
	f := fixture{"long", longRecord(), goVerdict()}
	doc := render(t, FormatHTML, f)
	if len(doc) >= 2_000_000 {
		t.Errorf("the page has %d bytes, want less than 2,000,000", len(doc))
	}
	var data charts
	if err := json.Unmarshal(dataElement.FindSubmatch(doc)[1], &data); err != nil {
		t.Fatal(err)
	}
	if data.Grid.N > maxPoints || data.Grid.Width != 15 {
		t.Errorf("%d points of %d seconds, want at most %d of 15", data.Grid.N, data.Grid.Width, maxPoints)
	}
	if !strings.Contains(data.Sampling, "each point covers 15 seconds") {
		t.Errorf("the sampling is not told: %q", data.Sampling)
	}
	shown := len(data.Events) + data.Left
	if want := len(f.record.Events); shown != want || len(data.Events) != maxEvents {
		t.Errorf("%d events are shown and %d left out, of %d", len(data.Events), data.Left, want)
	}
	for i, e := range data.Events[1:] {
		if e.T < data.Events[i].T {
			t.Fatal("the events are not in the order of time")
		}
	}
	// The upgrade's own events never give way to those of pods, and these are
	// shown for the last node as for the first.
	if last := data.Events[len(data.Events)-1].T; last < 300+49*560 {
		t.Errorf("the last event shown is at %v s", last)
	}
	pods := 0
	for _, e := range data.Events {
		if e.Kind == timeline.KindPodDeleted && e.T > 300+49*560 {
			pods++
		}
	}
	if pods < 10 {
		t.Errorf("%d of 60 deleted pods of the last node are shown", pods)
	}
	upgrades := 0
	for _, e := range data.Events {
		if e.Kind == timeline.KindUpgradeStart {
			upgrades++
		}
	}
	if upgrades != 50 {
		t.Errorf("%d of 50 upgrades are shown", upgrades)
	}
}

func TestSamplingKeepsEveryPeak(t *testing.T) {
	r := longRecord()
	g := newGrid(r)
	s := newLaneSeries(g, r.Lanes[0].Windows)
	i, _ := g.bucket(9_000)
	if s.Lost[i] != 100 || s.Worst[i] != 100 || s.Due[i] != 1500 {
		t.Errorf("a second that lost all its 100 requests shows as %v lost, %v in the worst second, %v due", s.Lost[i], s.Worst[i], s.Due[i])
	}
	var due, lost float64
	for i := range g.N {
		due += s.Due[i]
		lost += s.Lost[i]
	}
	if due != 2_880_000 || lost != 100 {
		t.Errorf("the buckets sum up to %v due and %v lost, want 2,880,000 and 100", due, lost)
	}
	for k, p99 := range s.P99 {
		worst := 0.0
		for _, w := range r.Lanes[0].Windows[k*15 : k*15+15] {
			worst = max(worst, float64(w.Latency.Quantile(0.99))/1000)
		}
		if p99 != worst {
			t.Fatalf("bucket %d shows a p99 of %v ms, its worst second had %v", k, p99, worst)
		}
	}
}

func TestGapsStayGaps(t *testing.T) {
	r := &record.Record{Lanes: []record.LaneData{{Windows: []record.Window{{Second: 10}, {Second: 13}}}}}
	g := newGrid(r)
	b, err := json.Marshal(newLaneSeries(g, r.Lanes[0].Windows))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"p50":[null,null,null,null],"p99":[null,null,null,null],"due":[0,null,null,0],"lost":[0,null,null,0],"worst":[0,null,null,0],"unsent":[0,null,null,0]}`
	if string(b) != want || g != (grid{First: 10, Width: 1, N: 4}) {
		t.Errorf("got %s on %+v, want %s", b, g, want)
	}
}

func TestSeriesIsCompact(t *testing.T) {
	b, err := json.Marshal(series{0, 1, 0.12345678, 1234.5678, 0.000012345, -2.5})
	if want := "[0,1,0.1235,1235,0.00001234,-2.500]"; err != nil || string(b) != want {
		t.Errorf("got %s (%v), want %s", b, err, want)
	}
}

func TestSwimlanes(t *testing.T) {
	r := goRecord()
	lanes := swimlanes(NewView(r, goVerdict()), r.Events, 620)
	want := swimlane{
		Node: "quickstart-worker", Label: "worker, v1.34.4 → v1.35.4",
		Spans: []nodeSpan{{"cordoned", 245, 308, false}, {"draining", 246, 257, false}, {"upgrading", 258, 307, false}, {"not ready", 285, 305, false}},
		Marks: []nodeMark{{"version changed", 300}, {"validated", 325}},
	}
	if diff := cmp.Diff(want, lanes[1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSwimlaneOfAnInterruptedRoll: what did not end is open until the end of the
// record, and a validation that names no node follows the last upgrade.
func TestSwimlaneOfAnInterruptedRoll(t *testing.T) {
	at := func(t int64, kind, subject string, detail map[string]string) timeline.Event {
		return timeline.Event{T: t * second, Kind: kind, Subject: subject, Detail: detail}
	}
	lanes := swimlanes(View{}, []timeline.Event{
		at(1, timeline.KindUpgradeStart, "node/a", nil), at(2, timeline.KindUpgradeEnd, "node/a", nil),
		at(3, timeline.KindValidation, "cluster", map[string]string{"passed": "false"}),
		at(4, timeline.KindValidation, "cluster", map[string]string{"passed": "true"}),
		at(5, timeline.KindDrainStart, "node/b", nil), at(6, timeline.KindDrainStart, "node/b", nil),
	}, 9)
	want := []swimlane{
		{Node: "a", Spans: []nodeSpan{{"upgrading", 1, 2, false}}, Marks: []nodeMark{{"validated", 4}}},
		{Node: "b", Spans: []nodeSpan{{"draining", 5, 9, true}}},
	}
	if diff := cmp.Diff(want, lanes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	rows := roll(lanes)
	if got, want := rows[1].Took, []string{none, "since 4 s, not ended", none, none}; !slices.Equal(got, want) {
		t.Errorf("the table says %q, want %q", got, want)
	}
}

// TestSwimlaneOfAStalledDrain: a node is stalled while any pod holds its drain
// up, and no longer than the drain.
func TestSwimlaneOfAStalledDrain(t *testing.T) {
	at := func(t int64, kind, subject string, keysAndValues ...string) timeline.Event {
		detail := map[string]string{}
		for i := 0; i < len(keysAndValues); i += 2 {
			detail[keysAndValues[i]] = keysAndValues[i+1]
		}
		return timeline.Event{T: t * second, Kind: kind, Subject: subject, Detail: detail}
	}
	lanes := swimlanes(View{}, []timeline.Event{
		at(1, timeline.KindDrainStart, "node/a"), at(2, timeline.KindDrainStalled, "node/a", "pod", "x/1"), at(3, timeline.KindDrainStalled, "node/a", "pod", "x/2"),
		at(4, timeline.KindDrainResumed, "node/a", "pod", "x/1"), at(5, timeline.KindPodForced, "pod/x/2", "node", "a"), at(6, timeline.KindDrainResumed, "node/a", "pod", "x/2"),
		at(7, timeline.KindDrainEnd, "node/a"),
		at(8, timeline.KindDrainStart, "node/b"), at(9, timeline.KindDrainStalled, "node/b", "pod", "x/3"), at(10, timeline.KindDrainEnd, "node/b"),
	}, 12)
	want := []swimlane{
		{Node: "a", Spans: []nodeSpan{{"draining", 1, 7, false}, {"stalled", 2, 6, false}}, Marks: []nodeMark{{"pod forced", 5}}},
		{Node: "b", Spans: []nodeSpan{{"draining", 8, 10, false}, {"stalled", 9, 10, false}}},
	}
	if diff := cmp.Diff(want, lanes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, want := rollStates(lanes), []string{"cordoned", "draining", "stalled", "upgrading", "not ready"}; !slices.Equal(got, want) {
		t.Errorf("columns %q, want %q", got, want)
	}
	if got, want := roll(lanes)[0].Took, []string{none, "6 s", "4 s", none, none}; !slices.Equal(got, want) {
		t.Errorf("the table says %q, want %q", got, want)
	}
}

// TestSwimlaneOfAReplacedNode: nothing of a node outlasts its removal, the new node
// says whose place it took, and the validation after is its own.
func TestSwimlaneOfAReplacedNode(t *testing.T) {
	at := func(t int64, kind, subject string, detail map[string]string) timeline.Event {
		return timeline.Event{T: t * second, Kind: kind, Subject: subject, Detail: detail}
	}
	r := &record.Record{
		Before: &record.Snapshot{Nodes: []record.Node{{Name: "a", KubeletVersion: "v1.34.4", Ready: true}}},
		After:  &record.Snapshot{Nodes: []record.Node{{Name: "b", KubeletVersion: "v1.35.4", Ready: true}}},
	}
	v := View{Nodes: newNodes(r)}
	lanes := swimlanes(v, []timeline.Event{
		at(1, timeline.KindUpgradeStart, "node/a", map[string]string{"strategy": "replace"}), at(1, timeline.KindCordon, "node/a", nil),
		at(3, timeline.KindNodeRemoved, "node/a", nil), at(4, timeline.KindNodeAdded, "node/b", nil), at(4, timeline.KindNodeNotReady, "node/b", nil), at(6, timeline.KindNodeReady, "node/b", nil),
		at(7, timeline.KindUpgradeEnd, "node/a", map[string]string{"strategy": "replace", "new": "b"}),
		at(8, timeline.KindValidation, "cluster", map[string]string{"passed": "true"}),
	}, 9)
	want := []swimlane{
		{Node: "a", Label: "worker, v1.34.4 → –", Spans: []nodeSpan{{"upgrading", 1, 3, false}, {"cordoned", 1, 3, false}}, Marks: []nodeMark{{"removed", 3}}},
		{Node: "b", Label: "worker, – → v1.35.4, in place of a", Spans: []nodeSpan{{"not ready", 4, 6, false}}, Marks: []nodeMark{{"added", 4}, {"validated", 8}}},
	}
	if diff := cmp.Diff(want, lanes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := v.Nodes[0].state() + ", " + v.Nodes[1].state(); got != "gone, new, ready" {
		t.Errorf("states %q", got)
	}
}

func TestUnusableStretchesAreJoined(t *testing.T) {
	got := unusable([]Validity{
		{Rule: "send-lag", Lane: "new", Unusable: []Span{{1e9, 3e9}, {8e9, 9e9}}},
		{Rule: "unsent", Lane: "new", Unusable: []Span{{2e9, 5e9}, {5e9, 6e9}}},
		{Rule: "unsent", Lane: "control", Unusable: []Span{{2e9, 5e9}}},
	})
	want := []chartSpan{{Name: "control", Start: 2, End: 5}, {Name: "new", Start: 1, End: 6}, {Name: "new", Start: 8, End: 9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnExpectedRestOfANodeIsNoAlarm(t *testing.T) {
	at := func(kind, subject string) timeline.Event { return timeline.Event{Kind: kind, Subject: subject} }
	got := alarms([]timeline.Event{
		at(timeline.KindUpgradeStart, "node/a"), at(timeline.KindNodeNotReady, "node/a"), at(timeline.KindNodeNotReady, "node/b"),
		at(timeline.KindUpgradeEnd, "node/a"), at(timeline.KindNodeNotReady, "node/a"), at(timeline.KindPodReady, "pod/x/y"), at(timeline.KindEvictRefused, "pod/x/y"),
		at(timeline.KindNodeAdded, "node/c"), at(timeline.KindNodeNotReady, "node/c"), at(timeline.KindNodeReady, "node/c"), at(timeline.KindNodeNotReady, "node/c"),
	})
	if want := []bool{false, false, true, false, true, false, true, false, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestIntervalShadesTheFailingSide(t *testing.T) {
	c := Criterion{ID: "success/new", Unit: "ratio", Threshold: p(0.999), Estimate: p(1.0)}
	if got := string(drawInterval(c)); !strings.Contains(got, `<rect class="beyond" x="0.0"`) || !strings.Contains(got, `aria-label="found 100%; limit ≥ 99.9%"`) {
		t.Errorf("a least share is drawn as %s", got)
	}
	c.ID = "outage/new"
	if got := string(drawInterval(c)); strings.Contains(got, `<rect class="beyond" x="0.0"`) {
		t.Errorf("a limit is drawn as %s", got)
	}
	if got := drawInterval(Criterion{ID: "versions", Result: judge.Pass}); got != "" {
		t.Errorf("a criterion without a threshold is drawn as %s", got)
	}
}

// TestPageTellsWhatIsMissing: a run that was aborted before its snapshot must
// not look as if its cluster had been found unhealthy.
func TestPageTellsWhatIsMissing(t *testing.T) {
	doc := string(render(t, FormatHTML, named(t, "aborted")))
	for _, want := range []string{
		"The run failed before its end.", "no snapshot was taken after the upgrade", "No lane was summed up.", "<p>Not measured.</p>",
		"load/new.frames is damaged at byte 81920: the last frame is torn", "log: <code>logs/FAILED-06-upgrade.log</code>",
	} {
		if !bytes.Contains([]byte(doc), []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestTileOfReplacedNodes: the nodes of before that are gone are not counted as
// nodes that were not upgraded; one that is merely lost is the versions' business.
func TestTileOfReplacedNodes(t *testing.T) {
	v := View{Nodes: []Node{
		{Name: "plane", KubeletAfter: "v1.35.4", Observed: true},
		{Name: "worker", KubeletBefore: "v1.34.4", Gone: true},
		{Name: "worker2", KubeletAfter: "v1.35.4", Observed: true, New: true},
		{Name: "worker3", KubeletAfter: "v1.34.4", Observed: true},
	}}
	v.Run.To = "v1.35.4"
	if got := nodesTile(v); got.Value != "2 of 3" || got.Note != "run v1.35.4 now, 1 of them new" {
		t.Errorf("tile %+v", got)
	}
}
