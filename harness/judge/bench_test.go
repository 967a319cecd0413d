package judge_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
)

// BenchmarkJudge judges ten million results, as one-second windows of three
// lanes at 1,000 requests a second (target 5 of docs/benchmarks.md: 0.2 s).
func BenchmarkJudge(b *testing.B) {
	benchmarkJudge(b, synth.Options{Seed: 1, Rate: 1000, Baseline: 10 * time.Minute, Upgrade: 45 * time.Minute, Settle: 30 * time.Second})
}

// BenchmarkJudgeSlowRate judges as many at 200 requests a second: five times
// the seconds of BenchmarkJudge.
func BenchmarkJudgeSlowRate(b *testing.B) {
	benchmarkJudge(b, synth.Options{Seed: 1, Rate: 200, Baseline: 50 * time.Minute, Upgrade: 225 * time.Minute, Settle: 150 * time.Second})
}

func benchmarkJudge(b *testing.B, o synth.Options) {
	r := synth.Record(o)
	s := o.Scenario()
	criteria := s.Criteria()
	var results uint64
	for i := range r.Lanes {
		for j := range r.Lanes[i].Windows {
			results += r.Lanes[i].Windows[j].Due()
		}
	}
	b.ReportMetric(float64(results), "results")
	withCPU(b, func() { judge.Judge(r, criteria) })
}

// withCPU runs f in b's loop and reports its processor time beside the wall
// time, which says little on a machine that others use as well.
func withCPU(b *testing.B, f func()) {
	before := cpuTime(b)
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(b.N), "cpu-ms/op")
}

// BenchmarkSynth makes the short record that the proofs are run on.
func BenchmarkSynth(b *testing.B) {
	withCPU(b, func() { synth.Record(synth.Options{Seed: 1}) })
}

// BenchmarkJudgeShort judges it.
func BenchmarkJudgeShort(b *testing.B) {
	o := synth.Options{Seed: 1}
	r := synth.Record(o)
	s := o.Scenario()
	withCPU(b, func() { judge.Judge(r, s.Criteria()) })
}

// cpuTime returns the processor time that this process has used.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
