package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// TestNodeDNSIsReported says what each node saw of DNS, and no verdict hangs on it,
// whenever the node came or went.
func TestNodeDNSIsReported(t *testing.T) {
	o := synth.Options{Seed: 3}
	s, r := o.Scenario(), synth.Record(o)
	var begin, end int64 // of the upgrade, with the settling
	for _, e := range r.Events {
		switch {
		case e.Kind == timeline.KindPhase && e.Subject == "phase/"+timeline.PhaseUpgrade:
			begin = e.T
		case e.Kind == timeline.KindPhaseEnd && e.Subject == "phase/"+timeline.PhaseSettle:
			end = e.T
		}
	}
	sec := int64(time.Second)
	length := (end - begin) / sec
	if length < 60 {
		t.Fatalf("an upgrade of %d s is too short for this", length)
	}
	without := judge.Judge(r, s.Criteria())
	add := func(node string, from, to int64, failed func(i int64) bool, seen func(i int64) bool) {
		d := record.ProbeData{Probe: record.Probe{Name: "dns-" + node, IntervalNS: sec, TimeoutNS: 2 * sec}}
		for i := from; i < to; i++ {
			if seen(i) {
				d.Samples = append(d.Samples, record.ProbeSample{T: begin + i*sec, D: sec / 1000, OK: !failed(i), Class: map[bool]string{true: "dns"}[failed(i)]})
			}
		}
		r.Run.Probes = append(r.Run.Probes, d.Probe)
		r.Probes = append(r.Probes, d)
	}
	never, always := func(int64) bool { return false }, func(int64) bool { return true }
	add("stayed", 0, length, func(i int64) bool { return i >= 20 && i < 23 }, always)
	add("left", 0, 20, never, always)
	add("vanished", 0, 20, never, always)
	add("joined", 40, length, func(i int64) bool { return i == 40 }, always)
	add("gap", 0, length, never, func(i int64) bool { return i < 20 || i >= 40 })
	add("nothing", 0, 0, never, always)
	r.Events = append(r.Events, timeline.Event{T: begin + 21*sec, Source: timeline.SourceKube, Kind: timeline.KindNodeRemoved, Subject: "node/left"})

	v := judge.Judge(r, s.Criteria())
	if v.Outcome != without.Outcome {
		t.Errorf("verdict %s with them, %s without: %s", v.Outcome, without.Outcome, v.Summary)
	}
	got := map[string][]string{}
	for _, c := range v.Criteria {
		if strings.HasPrefix(c.ID, "probe/dns-") {
			if c.Result != judge.Reported {
				t.Errorf("%s is %s", c.ID, c.Result)
			}
			got[c.ID] = append([]string{c.Explain}, c.Warnings...)
		}
	}
	if diff := cmp.Diff(map[string][]string{
		"probe/dns-stayed": {"dns-stayed answered 207 of 210 observations and was available 98.6% of the time, away for at most 4 s in one piece, at +01:30.0. Reported, not judged."},
		"probe/dns-left":   {"dns-left answered 20 of 20 observations and was available 100% of the time. Reported, not judged."},
		"probe/dns-vanished": {
			"dns-vanished answered 20 of 20 observations and was available 100% of the time. Reported, not judged.",
			"dns-vanished was not watched from +01:29.0 on, although its node stayed.",
		},
		"probe/dns-joined": {"dns-joined answered 169 of 170 observations and was available 99.411% of the time, away for at most 1 s in one piece, at +01:50.0. Reported, not judged."},
		"probe/dns-gap": {
			"dns-gap answered 190 of 190 observations and was available 100% of the time. Reported, not judged.",
			"dns-gap was not watched for 21 s, from +01:29.0 on.",
		},
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
