package prove

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

const second = int64(time.Second)

var started = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return started.Add(time.Duration(seconds * float64(time.Second)))
}

// trial is a rehearsal whose upgrade lasted from 10 s to 40 s, with a settle
// phase until 50 s, and with a blackout of one second planted at 20 s, which
// the verdict gets right.
func trial() *Trial {
	r := &record.Record{
		Run: record.Run{Started: started, Lanes: []record.Lane{{Name: "new", Rate: 100}}, Probes: []record.Probe{{Name: "api-new", IntervalNS: second / 4}}},
		Events: []timeline.Event{
			{T: 10 * second, Kind: timeline.KindPhase, Subject: "phase/upgrade"},
			{T: 40 * second, Kind: timeline.KindPhaseEnd, Subject: "phase/upgrade"},
			{T: 40 * second, Kind: timeline.KindPhase, Subject: "phase/settle"},
			{T: 50 * second, Kind: timeline.KindPhaseEnd, Subject: "phase/settle"},
		},
		Lanes: []record.LaneData{{Lane: record.Lane{Name: "new", Rate: 100}}},
		After: &record.Snapshot{T: 51 * second},
	}
	return &Trial{
		Record: r,
		Verdict: judge.Verdict{
			Outcome: judge.NoGo, Summary: "outage/new failed.",
			Criteria: []judge.Criterion{
				{ID: "outage/new", Lane: "new", Result: judge.Fail, Explain: "The only outage lasted a second."},
				{ID: "success/new", Lane: "new", Result: judge.Pass, Explain: "All were served."},
				{ID: "component/coredns", Result: judge.Pass, Explain: "coredns is healthy.", Warnings: []string{"Pod kube-system/coredns-a restarted once."}},
			},
			Outages: []judge.Outage{{
				Lane: "new", Start: 20*second + 5e6, End: 21*second - 5e6, LowerNS: second - 10e6, UpperNS: second + 10e6, Usable: true,
				Cause: "evict pod/rehearse/canary-1 on worker2 0.1 s before: the process was gone",
			}},
		},
		Planted: Planted{From: at(20), To: at(21), Object: "node/worker2"},
	}
}

func blackout() Fault {
	return Fault{Name: "blackout", What: "a blackout", Expect: Expect{
		Outcomes: []judge.Outcome{judge.NoGo}, Failed: []string{"outage/new"}, Spared: []string{"success/*"},
		Names: []string{"canary-1"}, Outage: &Outage{Lanes: []string{"new"}, Adds: 10 * time.Millisecond},
	}}
}

func TestFound(t *testing.T) {
	after := int64(5e6)
	want := record.ProofOfOne{
		Fault: "blackout", What: "a blackout", Expected: "outage/new", Verdict: "NO-GO", DetectedAfterNS: &after,
		AttributedTo: "evict pod/rehearse/canary-1 on worker2 0.1 s before: the process was gone", Found: true, Attempts: 1,
	}
	if diff := cmp.Diff(want, Evaluate(blackout(), trial())); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// TestMissed changes one thing in what the verdict says, or in what was
// expected, and wants the row to fail with exactly that reason.
func TestMissed(t *testing.T) {
	outage := func(t *Trial) *judge.Outage { return &t.Verdict.Outages[0] }
	for name, c := range map[string]struct {
		change func(*Fault, *Trial)
		want   []string
	}{
		"verdict": {
			func(_ *Fault, t *Trial) { t.Verdict.Outcome = judge.Inconclusive },
			[]string{"The verdict is INCONCLUSIVE and not NO-GO: outage/new failed."},
		},
		"criterion passed": {
			func(_ *Fault, t *Trial) { t.Verdict.Criteria[0].Result = judge.Pass },
			[]string{"Criterion outage/new did not fail: pass, The only outage lasted a second."},
		},
		"criterion unknown": {
			func(f *Fault, _ *Trial) { f.Expect.Failed = append(f.Expect.Failed, "dns") },
			[]string{"Criterion dns did not fail: the verdict has none of that name."},
		},
		"another criterion failed": {
			func(_ *Fault, t *Trial) { t.Verdict.Criteria[1].Result = judge.Fail },
			[]string{"Criterion success/new failed as well, which the fault does not touch: All were served."},
		},
		"no outage": {
			func(_ *Fault, t *Trial) { t.Verdict.Outages = nil },
			[]string{"No outage was found on lane new while the fault was there.", `It is not attributed to "canary-1" but to: The only outage lasted a second.`},
		},
		"outage of another lane": {
			func(_ *Fault, t *Trial) { outage(t).Lane = "reused" },
			[]string{"No outage was found on lane new while the fault was there.", `It is not attributed to "canary-1" but to: The only outage lasted a second.`},
		},
		"outage that is not usable": {
			func(_ *Fault, t *Trial) { outage(t).Usable = false },
			[]string{"No outage was found on lane new while the fault was there.", `It is not attributed to "canary-1" but to: The only outage lasted a second.`},
		},
		"attributed wrongly": {
			func(_ *Fault, t *Trial) { outage(t).Cause = "restart pod/kube-system/etcd" },
			[]string{`It is not attributed to "canary-1" but to: restart pod/kube-system/etcd`},
		},
		"only close by": {
			func(_ *Fault, t *Trial) {
				outage(t).Cause = "unattributed: the process was gone (the closest is evict pod/rehearse/canary-1 4 s before, which chance would bring about in 80% of cases)"
			},
			[]string{`It is not attributed to "canary-1" but to: unattributed: the process was gone`},
		},
		"the object is not named": {
			func(f *Fault, t *Trial) {
				f.Expect.Names, t.Planted.Object = []string{"{object}"}, "node/worker3"
			},
			[]string{`It is not attributed to "node/worker3" but to: evict pod/rehearse/canary-1 on worker2 0.1 s before: the process was gone`},
		},
		"too early": {
			func(_ *Fault, t *Trial) { outage(t).Start = 20*second - 60e6 },
			[]string{"The outage on lane new begins 60ms before the fault; 23ms is the tolerance."},
		},
		"too late": {
			func(_ *Fault, t *Trial) { outage(t).Start = 20*second + 60e6 },
			[]string{"The outage on lane new begins only 60ms after the fault; 23ms is the tolerance."},
		},
		"too long": {
			func(_ *Fault, t *Trial) { o := outage(t); o.End, o.LowerNS = 22*second, 2*second-5e6 },
			[]string{"The outage on lane new goes on for 1s after the fault's end; 33ms is the tolerance.", "The outage on lane new lasted at least 1.995s, it says; the fault lasted 1s, and 33ms is the tolerance."},
		},
		"upper bound below the truth": {
			func(_ *Fault, t *Trial) { outage(t).UpperNS = 900e6 },
			[]string{"The outage on lane new lasted at most 900ms, it says; the fault lasted 1s, and 23ms is the tolerance."},
		},
		"no growth as planted": {
			func(f *Fault, t *Trial) {
				f.Expect.Growth = &Growth{Truth: 0.25, Within: 0.05}
				t.Verdict.Criteria[0].Interval = &[2]float64{0.4, 0.6}
			},
			[]string{"Criterion outage/new puts the growth between 0.4 and 0.6; it was 0.25, give or take 0.05."},
		},
		"rule kept": {
			func(f *Fault, t *Trial) {
				f.Expect.Rules = []string{"unsent"}
				t.Verdict.Validity = []judge.Validity{{Rule: "unsent", Result: judge.Pass}}
			},
			[]string{"The validity rule unsent was not broken while the fault was there."},
		},
		"rule broken at another time": {
			func(f *Fault, t *Trial) {
				f.Expect.Rules = []string{"unsent"}
				t.Verdict.Validity = []judge.Validity{{Rule: "unsent", Result: judge.Fail, Unusable: []judge.Stretch{{Start: 30 * second, End: 31 * second}}}}
			},
			[]string{"The validity rule unsent was not broken while the fault was there."},
		},
		"warning without the name": {
			func(f *Fault, _ *Trial) { f.Expect.Warned = []string{"component/*"} },
			[]string{"No warning of criterion component/* names canary-1."},
		},
		"no downtime": {
			func(f *Fault, _ *Trial) { f.Expect.Probe = &Probe{Names: []string{"api-new"}} },
			[]string{"None of the probes api-new saw a downtime while the fault was there."},
		},
		"downtime too short": {
			func(f *Fault, t *Trial) {
				f.Expect.Probe = &Probe{Names: []string{"api-new"}}
				t.down(20.1, 20.2, "100ms", "300ms")
			},
			[]string{"The downtime of probe api-new lasted at most 300ms, it says; the fault lasted 1s, and 500ms is the tolerance."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, x := blackout(), trial()
			c.change(&f, x)
			row := Evaluate(f, x)
			if diff := cmp.Diff(c.want, row.WhyNot); diff != "" || row.Found {
				t.Errorf("found %t, why not (-want +got):\n%s", row.Found, diff)
			}
		})
	}
}

func (t *Trial) down(from, to float64, atLeast, atMost string) {
	t.Record.Events = append(t.Record.Events,
		timeline.Event{T: int64(from * 1e9), Kind: timeline.KindProbeDown, Subject: "probe/api-new"},
		timeline.Event{T: int64(to * 1e9), Kind: timeline.KindProbeUp, Subject: "probe/api-new", Detail: map[string]string{"atLeast": atLeast, "atMost": atMost}})
}

func TestDowntimeOfAProbe(t *testing.T) {
	f, x := blackout(), trial()
	f.Expect.Probe = &Probe{Names: []string{"api-new"}}
	x.down(15, 15.1, "100ms", "600ms") // the control plane's own restart
	x.down(20.1, 21.1, "800ms", "1.2s")
	if row := Evaluate(f, x); !row.Found {
		t.Errorf("not found: %q", row.WhyNot)
	}
}

// TestOnItsWay lets an outage begin with a request that was due before the fault
// and met it.
func TestOnItsWay(t *testing.T) {
	f, x := blackout(), trial()
	x.Verdict.Outages[0].Start = 20*second - 60e6
	x.Record.Lanes[0].Requests = []record.Request{{Due: 20*second - 60e6, Latency: 70e6}, {Due: 19 * second, Latency: 10e6}}
	if row := Evaluate(f, x); !row.Found {
		t.Errorf("not found: %q", row.WhyNot)
	}
	x.Record.Lanes[0].Requests[0].Latency = 50e6 // it had failed before the fault
	if row := Evaluate(f, x); row.Found {
		t.Error("found, though the outage began 60 ms before the fault")
	}
}

// TestClean is GO without anything to find, and refused otherwise.
func TestClean(t *testing.T) {
	f := Fault{Name: "clean", Clean: true, Expect: Expect{Outcomes: []judge.Outcome{judge.Go}}}
	x := trial()
	x.Verdict.Outcome = judge.Go
	if row := Evaluate(f, x); !row.Found || row.DetectedAfterNS != nil || row.Expected != "GO" {
		t.Errorf("clean run: %+v", row)
	}
	x.Verdict.Outcome = judge.NoGo
	if row := Evaluate(f, x); row.Found || strings.Join(row.WhyNot, "") != "The verdict is NO-GO and not GO: outage/new failed." {
		t.Errorf("refused clean run: %+v", row)
	}
}

// TestDetectedAfter counts from when the fault was there, and from the
// upgrade's begin where it always was.
func TestDetectedAfter(t *testing.T) {
	f, x := Fault{Expect: Expect{Outcomes: []judge.Outcome{judge.NoGo}, Failed: []string{"component/coredns"}}}, trial()
	x.Verdict.Criteria[2].Result = judge.Fail
	if row := Evaluate(f, x); row.DetectedAfterNS == nil || *row.DetectedAfterNS != 31*second {
		t.Errorf("planted at 20 s, in the snapshot of 51 s: %v", row.DetectedAfterNS)
	}
	x.Planted = Planted{}
	if row := Evaluate(f, x); row.DetectedAfterNS == nil || *row.DetectedAfterNS != 41*second {
		t.Errorf("always there, upgrade from 10 s: %v", row.DetectedAfterNS)
	}
}
