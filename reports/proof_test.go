package reports

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/test/golden"
)

func proof() *record.Proof {
	return &record.Proof{
		Driver: "sim", Tool: "v0.1.0", TookNS: 400 * second,
		Rows: []record.ProofOfOne{
			{Fault: "clean", What: "nothing: a clean upgrade", Clean: true, Expected: "GO", Verdict: "GO", Found: true, Attempts: 1},
			{
				Fault: "blackout-300ms", What: "a blackout of 300 ms at the balancer", Expected: "outage/new, outage/reused", Verdict: "NO-GO", DetectedAfterNS: p(int64(4e6)),
				AttributedTo: "unattributed: the process was gone and its endpoint not yet removed", Found: true, Attempts: 2, First: []string{"The verdict is INCONCLUSIVE and not NO-GO: a busy machine."},
			},
			{
				Fault: "node-left-old", What: "a node that falls back to the old version", Expected: "versions", Verdict: "GO", Attempts: 2,
				WhyNot: []string{"The verdict is GO and not NO-GO: all passed.", "Criterion versions did not fail: pass, all nodes run v1.35.4."}, First: []string{"The verdict is GO and not NO-GO: all passed."},
				Record: "/tmp/rehearse-prove-1/node-left-old-20261121T093000Z",
			},
			{Fault: "probe-dies", What: "a probe of the API that dies", Expected: "probe-data/api-new", WhyNot: []string{"The rehearsal could not be carried out: no room."}, Attempts: 1},
		},
	}
}

func TestProofText(t *testing.T) {
	for _, width := range []int{100, 140} {
		var b bytes.Buffer
		if err := ProofText(&b, NewProof(proof()), TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		golden.Equal(t, "proof-"+english.Number(uint64(width))+".txt", b.Bytes())
	}
}

// TestEveryFormatShowsTheProof renders a run that was preceded by a proof.
func TestEveryFormatShowsTheProof(t *testing.T) {
	f := fixture{"proven", loaded(goRecord()), goVerdict()}
	without := map[string]string{}
	for _, format := range Formats {
		without[format] = string(render(t, format, f))
	}
	f.record.Run.Proof = proof()
	f.record.Run.Proof.Rows = f.record.Run.Proof.Rows[:2]
	const statement = "1 of 1 planted fault found, 1 of 1 clean run passed"
	for format, want := range map[string][]string{
		FormatText:     {"Proof of the gate, before this run", statement + ", on sim, in 6 min 40 s.", "found: clean, blackout-300ms"},
		FormatMarkdown: {"Proof of the gate: " + statement, "`blackout-300ms`"},
		FormatJUnit:    {`<testsuite name="proof" tests="2" failures="0" errors="0" skipped="0"`, `name="blackout-300ms: a blackout of 300 ms at the balancer"`},
		FormatHTML:     {statement + ", on sim, in 6 min 40 s.", "<code>blackout-300ms</code>", "unattributed: the process was gone"},
		FormatJSON:     {`"proof": {`, `"fault": "blackout-300ms"`},
	} {
		got := string(render(t, format, f))
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s does not say %q", format, w)
			}
			if strings.Contains(without[format], w) {
				t.Errorf("%s says %q of a run without a proof", format, w)
			}
		}
	}
	var back struct{ Proof record.Proof }
	if err := json.Unmarshal(render(t, FormatJSON, f), &back); err != nil || len(back.Proof.Rows) != 2 {
		t.Errorf("proof read back: %v, %d rows", err, len(back.Proof.Rows))
	}
}

// TestMissedFaultsDoNotTurnJUnitRed keeps the rule that the document is red
// exactly where the verdict is not GO.
func TestMissedFaultsDoNotTurnJUnitRed(t *testing.T) {
	f := fixture{"proven", loaded(goRecord()), goVerdict()}
	f.record.Run.Proof = proof()
	got := string(render(t, FormatJUnit, f))
	for _, want := range []string{`<testsuite name="proof" tests="4" failures="0" errors="0" skipped="2"`, `<skipped message="✗ MISSED The verdict is GO and not NO-GO: all passed.`} {
		if !strings.Contains(got, want) {
			t.Errorf("the document does not hold %s", want)
		}
	}
}
