package judge_test

import (
	"encoding/json"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/test/golden"
)

// TestGolden holds whole verdicts to files, so that a change of any number or
// word of verdict.json is seen in review.
func TestGolden(t *testing.T) {
	for name, o := range map[string]synth.Options{
		"go": {Seed: 21},
		"no-go": {Seed: 22, Faults: []synth.Fault{
			{Start: 63*sec + 100e6, Length: 4 * sec, Lane: "new"},
			{Start: 63*sec + 100e6, Length: 2 * sec, Lane: "reused", Class: record.Reset, Share: 0.6},
		}},
		"inconclusive": {Seed: 23, Faults: []synth.Fault{
			{Kind: synth.Busy, Start: 20 * sec, Length: 120 * sec, Factor: 15},
			{Kind: synth.Pause, Start: 70 * sec, Length: 1500e6},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := o.Scenario()
			got, err := json.MarshalIndent(judge.Judge(synth.Record(o), s.Criteria()), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden.Equal(t, name+".json", got)
		})
	}
}
