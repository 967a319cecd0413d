package judge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestCalibrate(t *testing.T) {
	c, err := judge.Calibrate(synth.Record(synth.Options{Seed: 5, Baseline: 2 * time.Minute, Upgrade: 2 * time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"With 135 s a side at 100 requests a second, lane new supports limits down to +7% at p50, +25% at p99 and 0.021 points of errors, and shows outages of 50 ms or more.",
		"With 135 s a side at 100 requests a second, lane reused supports limits down to +7% at p50, +23% at p99 and 0.021 points of errors, and shows outages of 50 ms or more.",
		"With 135 s a side at 100 requests a second, lane control supports limits down to +5% at p50, +33% at p99 and 0.021 points of errors, and shows outages of 50 ms or more.",
	}
	for i, l := range c.Lanes {
		if l.Explain != want[i] {
			t.Errorf("got  %q\nwant %q", l.Explain, want[i])
		}
	}
}

// TestCalibrationHolds judges fresh rehearsals of the calibrated service by the
// limits that calibration gave: hardly any may fail or stay open.
func TestCalibrationHolds(t *testing.T) {
	n := max(5, pairs(t, 10)) // one of five may stay open
	open, failed := 0, 0
	for seed := range n {
		o := synth.Options{Seed: uint64(seed) + 1, Baseline: 2 * time.Minute, Upgrade: 2 * time.Minute, Lanes: []string{"new"}}
		c, err := judge.Calibrate(synth.Record(o))
		if err != nil {
			t.Fatal(err)
		}
		o.Seed += 1 << 32
		s := o.Scenario()
		s.Thresholds.P50Increase.Ratio, s.Thresholds.P99Increase.Ratio = c.Lanes[0].P50Increase, c.Lanes[0].P99Increase
		s.Thresholds.ErrorIncrease.Ratio = c.Lanes[0].ErrorIncrease
		s.Thresholds.LatencyFloor.Duration = 0
		switch v := judge.Judge(synth.Record(o), s.Criteria()); v.Outcome {
		case judge.NoGo:
			failed++
		case judge.Inconclusive:
			open++
		}
	}
	report(t, figure{fmt.Sprintf("limits that calibrate gave, %d fresh unchanged upgrades: NO-GO", n), share(failed, n), "", "≤ 1%", failed*100 <= n})
	report(t, figure{fmt.Sprintf("limits that calibrate gave, %d fresh unchanged upgrades: INCONCLUSIVE", n), share(open, n), "", "≤ 20%", open*5 <= n})
}

func TestCalibrateRefusesTooLittle(t *testing.T) {
	_, err := judge.Calibrate(synth.Record(synth.Options{Baseline: 20 * time.Second, Upgrade: 20 * time.Second, Settle: 5 * time.Second}))
	want := "calibrate: lane new has 45 usable seconds: at least 60 are needed; record for longer, or at a lower rate"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = judge.Calibrate(&record.Record{})
	want = "calibrate: the record has no lane: record at least the control lane"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
