package reports

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// TestEveryFormatShowsTheFidelity renders a run of a mirror, beside the verdict.
func TestEveryFormatShowsTheFidelity(t *testing.T) {
	f := fixture{"mirrored", loaded(goRecord()), goVerdict()}
	without := map[string]string{}
	for _, format := range Formats {
		without[format] = string(render(t, format, f))
	}
	f.record.Run.Scenario = []byte(`{"mirror":{"facts":"sha256:0","fidelity":0.394,"uncovered":["zones: a and b in production, one in the mirror","storage: ebs in production, none in the mirror"]}}`)
	const statement = "Fidelity 39%: the cluster rehearsed on mirrors production that far"
	for format, want := range map[string][]string{
		FormatText:     {statement, "Not covered by the mirror\n  - zones: a and b in production, one in the mirror\n"},
		FormatMarkdown: {statement + ", and does not cover 2 things.", "Not covered by the mirror: 2</summary>", "- storage: ebs in production"},
		FormatJUnit:    {statement, `<property name="fidelity" value="0.394">`, `<property name="uncovered" value="zones: a and b in production, one in the mirror">`},
		FormatHTML:     {statement, "Not covered by the mirror: 2", "<li>storage: ebs in production, none in the mirror</li>"},
		FormatJSON:     {`"mirror": {`, `"fidelity": 0.394`},
	} {
		got := string(render(t, format, f))
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s does not say %q", format, w)
			}
			if strings.Contains(without[format], w) {
				t.Errorf("%s says %q of a run that mirrors nothing", format, w)
			}
		}
	}
	var back struct{ Mirror scenarios.Mirror }
	if err := json.Unmarshal(render(t, FormatJSON, f), &back); err != nil || len(back.Mirror.Uncovered) != 2 {
		t.Errorf("fidelity read back: %v, %+v", err, back)
	}
}

// TestFidelityDecidesNothing keeps a low number from turning a document red.
func TestFidelityDecidesNothing(t *testing.T) {
	f := fixture{"mirrored", loaded(goRecord()), goVerdict()}
	f.record.Run.Scenario = []byte(`{"mirror":{"facts":"","fidelity":0}}`)
	if got := string(render(t, FormatJUnit, f)); !strings.Contains(got, `failures="0" errors="0"`) || strings.Contains(got, "<failure") {
		t.Error("the document is red")
	}
}
