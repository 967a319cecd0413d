package judge_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
)

func TestSameRecordSameBytes(t *testing.T) {
	o := synth.Options{Seed: 3, Faults: []synth.Fault{{Start: 50 * time.Second, Length: 3 * time.Second, Share: 0.5}}}
	s := o.Scenario()
	var first []byte
	for range 3 {
		b, err := json.Marshal(judge.Judge(synth.Record(o), s.Criteria()))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Fatalf("two verdicts of one record differ:\n%s\n%s", first, b)
		}
	}
}
