package gate_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

var ended = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

func good() (*record.Record, judge.Verdict) {
	return &record.Record{Complete: true, Run: record.Run{
		Ended: ended, Versions: record.Versions{From: "v1.34.4", To: "v1.35.4"},
	}}, judge.Verdict{Outcome: judge.Go, Summary: "All passed."}
}

func TestCheck(t *testing.T) {
	strict := gate.Require{From: "v1.34.4", To: "v1.35.4", MaxAge: 24 * time.Hour}
	for _, tc := range []struct {
		name   string
		want   gate.Require
		after  time.Duration
		change func(*record.Record, *judge.Verdict)
		why    []string // rule: why
	}{
		{"everything as asked", strict, time.Hour, nil, nil},
		{"nothing asked", gate.Require{}, 1000 * time.Hour, nil, nil},
		{"simulated", gate.Require{}, 0, func(r *record.Record, _ *judge.Verdict) { r.Run.Simulated = true },
			[]string{"simulated: The rehearsal ran on the embedded cluster: no real cluster was upgraded."}},
		{"simulated, allowed", gate.Require{AllowSimulated: true}, 0, func(r *record.Record, _ *judge.Verdict) { r.Run.Simulated = true }, nil},
		{"too old", strict, 25 * time.Hour, nil, []string{"age: The rehearsal ended 25h0m0s ago; at most 24h0m0s is accepted."}},
		{"other versions", gate.Require{From: "v1.33.1", To: "v1.34.4"}, 0, nil,
			[]string{"versions: The rehearsal went from v1.34.4, and not from v1.33.1.", "versions: The rehearsal went to v1.35.4, and not to v1.34.4."}},
		{"not sealed and not judged", gate.Require{}, 0, func(r *record.Record, v *judge.Verdict) {
			r.Complete = false
			*v = judge.Verdict{Outcome: judge.Inconclusive, Summary: "The run was interrupted."}
		}, []string{"record: The record is not complete: the run was not finished and sealed.", "verdict: The verdict is INCONCLUSIVE: The run was interrupted."}},
		{"a gate that was not proven", gate.Require{}, 0, func(r *record.Record, _ *judge.Verdict) {
			r.Run.Proof = &record.Proof{Rows: []record.ProofOfOne{{Fault: "clean", Found: true}, {Fault: "bare-pod"}}}
		}, []string{"proof: The gate was not proven before the rehearsal: it missed bare-pod."}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, v := good()
			if tc.change != nil {
				tc.change(r, &v)
			}
			var got []string
			for _, x := range gate.Check(r, v, tc.want, ended.Add(tc.after)) {
				got = append(got, x.Rule+": "+x.Why)
				if x.Remedy == "" {
					t.Errorf("%s has no remedy", x.Rule)
				}
			}
			if diff := cmp.Diff(tc.why, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
