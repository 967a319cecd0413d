package long

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

const mb = 1e6

// TestEightHours records, judges and reports a rehearsal of eight hours and one of
// ten minutes. What it prints is what make bench measures; what it asserts are ratios
// and sizes.
func TestEightHours(t *testing.T) {
	long, short := eightHours(), tenMinutes()
	w := begin(t, long)
	var held []uint64
	for s := range long.seconds() {
		w.second(s)
		if (s+1)%3600 == 0 {
			held = append(held, heap())
		}
	}
	if got := len(held); got != 8 {
		t.Fatalf("%d hours were recorded", got)
	}
	fmt.Printf("heap after hour 1 %.2f MB, after hour 8 %.2f MB, ratio %.3f\n", float64(held[0])/mb, float64(held[7])/mb, float64(held[7])/float64(held[0]))
	if ratio := float64(held[7]) / float64(held[0]); ratio > 1.2 {
		t.Errorf("recording holds %.2f times as much after the eighth hour as after the first: %v bytes", ratio, held)
	}
	runtime.KeepAlive(w)
	dir := w.end()
	size := bytesOf(t, dir)
	perSecond := float64(size) / float64(long.seconds()*3)
	fmt.Printf("record %.1f MB, %.0f bytes a second of each of 3 lanes at %d/s\n", float64(size)/mb, perSecond, rate)
	if perSecond > 1500 {
		t.Errorf("the record takes %.0f bytes for a second of a lane, want at most 1,500", perSecond)
	}

	w = begin(t, short)
	for s := range short.seconds() {
		w.second(s)
	}
	of8, of10 := evaluate(t, dir), evaluate(t, w.end())
	results := float64(of8.results)
	fmt.Printf("judged in %.2f s of CPU time, %.3f s for 10 M results, of %.1f M; loaded in %.2f s, reported in %.2f s; report %.2f MB\n",
		of8.judged.Seconds(), of8.judged.Seconds()*1e7/results, results/1e6, of8.loaded.Seconds(), of8.reported.Seconds(), float64(of8.page)/mb)
	if of8.page >= 2*mb {
		t.Errorf("the report has %d bytes, want less than 2,000,000", of8.page)
	}
	// Judging is linear in the length of the run, within what a cache explains.
	times := float64(long.seconds()) / float64(short.seconds())
	if ratio := of8.judged.Seconds() / of10.judged.Seconds(); ratio > 3*times {
		t.Errorf("%.0f times as long a run takes %.0f times as long to judge", times, ratio)
	}

	// Nothing of eight hours hides the outages: each is found and bounded.
	var found []string
	for _, o := range of8.verdict.Outages {
		if o.Lane != scenarios.LaneNew {
			t.Errorf("an outage of lane %s that was never planted: %+v", o.Lane, o)
			continue
		}
		found = append(found, fmt.Sprintf("%d s, %d failed", o.Start/1e9, o.Failed))
	}
	want := []string{fmt.Sprintf("7200 s, %d failed", 5*rate), fmt.Sprintf("14407 s, %d failed", rate), fmt.Sprintf("21600 s, %d failed", 15*rate)}
	if fmt.Sprint(found) != fmt.Sprint(want) || of8.verdict.Outcome != judge.NoGo {
		t.Errorf("%s: outages %q, want %q", of8.verdict.Outcome, found, want)
	}
}

// evaluated is what became of a record.
type evaluated struct {
	verdict                  judge.Verdict
	results                  uint64
	loaded, judged, reported time.Duration // CPU time
	page                     int64         // bytes
}

func evaluate(t *testing.T, dir string) (out evaluated) {
	t.Helper()
	took := func(f func()) time.Duration {
		runtime.GC()
		before := cpuTime(t)
		f()
		return cpuTime(t) - before
	}
	var r *record.Record
	var err error
	out.loaded = took(func() { r, err = record.Load(dir) })
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenarios.FromResolved(r.Run.Scenario)
	if err != nil {
		t.Fatal(err)
	}
	criteria := s.Criteria()
	out.judged = took(func() { out.verdict = judge.Judge(r, criteria) })
	out.reported = took(func() { err = reports.Write(dir, r, out.verdict) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Lanes {
		for k := range r.Lanes[i].Windows {
			out.results += r.Lanes[i].Windows[k].Due()
		}
	}
	info, err := os.Stat(filepath.Join(dir, reports.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	out.page = info.Size()
	return out
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func bytesOf(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
