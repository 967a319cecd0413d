package gate_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/history"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

var ended = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

func good() (*record.Record, judge.Verdict) {
	return &record.Record{Complete: true, Run: record.Run{
		Ended: ended, ScenarioSHA256: "ab12", Versions: record.Versions{From: "v1.34.4", To: "v1.35.4"},
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
		{"a drill that went back", gate.Require{}, 0, func(r *record.Record, _ *judge.Verdict) {
			r.Events = []timeline.Event{{T: 1, Source: timeline.SourceRun, Kind: timeline.KindPhase, Subject: "phase/" + timeline.PhaseUpgrade}, {T: 2, Source: timeline.SourceRun, Kind: timeline.KindPhase, Subject: "phase/" + timeline.PhaseRollback}}
		}, []string{"versions: The roll was turned round and its workers went back to v1.34.4: the upgrade to v1.35.4 was not rehearsed to its end."}},
		{"no end", strict, 0, func(r *record.Record, _ *judge.Verdict) { r.Run.Ended = time.Time{} },
			[]string{"age: The record does not say when the rehearsal ended; at most 24h0m0s ago is accepted."}},
		{"from the future", strict, -time.Hour, nil,
			[]string{"age: The rehearsal ended at 2026-11-01T03:00:00Z, which is still to come by this machine's clock."}},
		{"a clock a little ahead", strict, -time.Minute, nil, nil},
		{"the scenario asked for", gate.Require{ScenarioSHA256: "ab12"}, 0, nil, nil},
		{"another scenario", gate.Require{ScenarioSHA256: "cd34"}, 0, nil,
			[]string{"scenario: The rehearsal ran another scenario: its SHA-256 is ab12, and not cd34."}},
		{"no scenario", gate.Require{ScenarioSHA256: "cd34"}, 0, func(r *record.Record, _ *judge.Verdict) { r.Run.ScenarioSHA256 = "" },
			[]string{"scenario: The rehearsal ran another scenario: its SHA-256 is none, and not cd34."}},
		{"no proof, but wanted", gate.Require{Proof: true}, 0, nil,
			[]string{"proof: The gate was not proven before the rehearsal."}},
		{"a proof of one fault, but wanted", gate.Require{Proof: true}, 0, func(r *record.Record, _ *judge.Verdict) {
			r.Run.Proof = &record.Proof{Partial: true, Rows: []record.ProofOfOne{{Fault: "clean", Found: true}}}
		}, []string{"proof: The gate was proven with only 1 of its faults before the rehearsal."}},
		{"a whole proof, and wanted", gate.Require{Proof: true}, 0, func(r *record.Record, _ *judge.Verdict) {
			r.Run.Proof = &record.Proof{Rows: []record.ProofOfOne{{Fault: "clean", Found: true}}}
		}, nil},
		{"no mirror", gate.Require{MinFidelity: 0.6}, 0, func(r *record.Record, _ *judge.Verdict) { r.Run.Scenario = []byte("{}") },
			[]string{"fidelity: The mirror's fidelity is not known: the scenario was not made of a production cluster."}},
		{"a poor mirror", gate.Require{MinFidelity: 0.6}, 0, func(r *record.Record, _ *judge.Verdict) {
			r.Run.Scenario = []byte(`{"mirror":{"facts":"","fidelity":0.52}}`)
		}, []string{"fidelity: The mirror's fidelity is 52%; at least 60% is asked."}},
		{"a good mirror", gate.Require{MinFidelity: 0.6}, 0, func(r *record.Record, _ *judge.Verdict) {
			r.Run.Scenario = []byte(`{"mirror":{"facts":"","fidelity":0.6}}`)
		}, nil},
		{"worse than earlier runs", gate.Require{History: []history.Comparison{
			{Figure: history.Figure{ID: "p99/new"}, Against: history.AgainstHistory, Exceeds: true, Explain: "p99/new: p99 grew."},
			{Figure: history.Figure{ID: "lost/new"}, Against: history.AgainstHistory},
			{Figure: history.Figure{ID: "duration"}, Against: history.AgainstBaseline},
		}}, 0, nil, []string{"history: Worse than earlier runs. p99/new: p99 grew."}},
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

// What was asked of a record is said with the decision: a gate that asked for
// little must not look like one that asked for much.
func TestDecideSaysWhatWasAsked(t *testing.T) {
	r, v := good()
	d := gate.Decide("runs/x", r, v, gate.Require{}, ended)
	if diff := cmp.Diff([]string{"record", "verdict", "simulated"}, d.Checked); diff != "" || !d.Open {
		t.Errorf("open %t, checked (-want +got):\n%s", d.Open, diff)
	}
	all := gate.Require{From: "v1.34.4", ScenarioSHA256: "cd34", MaxAge: time.Hour, Proof: true, MinFidelity: 0.5, History: []history.Comparison{{Against: history.AgainstHistory}}}
	d = gate.Decide("runs/x", r, v, all, ended)
	if diff := cmp.Diff(gate.Rules, d.Checked); diff != "" || d.Open || len(d.Refusals) != 3 {
		t.Errorf("open %t, %d refusals, checked (-want +got):\n%s", d.Open, len(d.Refusals), diff)
	}
}

func TestUntrusted(t *testing.T) {
	d := gate.Untrusted("runs/x", &record.CorruptError{File: "run.json", What: "was changed"})
	want := []gate.Refusal{{Rule: "record", Why: "The record cannot be trusted: run.json: offset 0: was changed.", Remedy: "rehearse again"}}
	if diff := cmp.Diff(want, d.Refusals); diff != "" || d.Open {
		t.Errorf("open %t (-want +got):\n%s", d.Open, diff)
	}
}
