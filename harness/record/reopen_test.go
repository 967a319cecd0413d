package record

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// killed writes a record whose process was killed while it wrote, and returns
// its path.
func killed(t *testing.T) string {
	t.Helper()
	path := writeRecord(t, false)
	for _, file := range []string{"timeline.ndjson", "load/new.frames"} {
		f, err := os.OpenFile(filepath.Join(path, file), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"t":9`); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// release frees the lock that the process of this test holds on the record it
// has written, as its end would.
func release(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(filepath.Join(path, lockFile)); err != nil {
		t.Fatal(err)
	}
}

func TestReopenCutsTornEndsAndAppends(t *testing.T) {
	path := killed(t)
	release(t, path)
	d, r, err := Reopen(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Damage) != 2 {
		t.Errorf("damage: %v, want the torn line and the torn frame", r.Damage)
	}
	lane, err := d.Lane(testLane)
	if err != nil {
		t.Fatal(err)
	}
	w := testWindow(3)
	if err := lane.WriteWindow(&w); err == nil || err.Error() != "write window: second 3 comes after second 3" {
		t.Errorf("a second that the interrupted process wrote: %v", err)
	}
	w = testWindow(60)
	if err := lane.WriteWindow(&w); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lane(testLane); err == nil || err.Error() != "open load/new.frames: it is open already" {
		t.Errorf("a lane opened twice: %v", err)
	}
	tw, err := d.Timeline()
	if err != nil {
		t.Fatal(err)
	}
	rec := timeline.NewRecorder(timeline.NewClock(time.Now()), tw)
	rec.Add(timeline.Event{T: 60e9, Source: timeline.SourceRun, Kind: timeline.KindResumed, Subject: "run"})
	if err := errors.Join(rec.Err(), d.Seal()); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var seconds []int64
	for _, w := range got.Lanes[0].Windows {
		seconds = append(seconds, w.Second)
	}
	if diff := cmp.Diff([]int64{0, 1, 3, 60}, seconds); diff != "" || len(got.Events) != 3 || !got.Complete || len(got.Damage) != 0 {
		t.Errorf("after it was gone on with: %d events, complete %v, damage %v, seconds (-want +got):\n%s", len(got.Events), got.Complete, got.Damage, diff)
	}
}

func TestReopenRemovesTheSealOfAnInterruptedRun(t *testing.T) {
	path := writeRecord(t, true)
	d, r, err := Reopen(path)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete {
		t.Error("the record as it was found is not complete")
	}
	if _, err := os.Stat(filepath.Join(path, sumsFile)); !os.IsNotExist(err) {
		t.Errorf("the seal is still there: %v", err)
	}
	r.Run.Outcome = OutcomePassed
	if err := errors.Join(d.SaveRun(r.Run), d.Seal()); err != nil {
		t.Fatal(err)
	}
	_, _, err = Reopen(path)
	if !errors.Is(err, ErrFinished) || !strings.HasSuffix(err.Error(), "the run is finished (passed): see its report, or rehearse anew") {
		t.Errorf("a finished run: %v", err)
	}
	if got, err := Load(path); err != nil || !got.Complete {
		t.Errorf("the refusal changed the record: %v", err)
	}
}

func TestReopenRefusesARunThatGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	d, err := Create(path, Run{ID: "r1", Outcome: OutcomeRunning})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Reopen(path)
	if err == nil || !strings.Contains(err.Error(), "the run is still going on: another process holds "+filepath.Join(path, lockFile)) {
		t.Errorf("error %v", err)
	}
	if !Held(path) {
		t.Error("nobody is said to hold a run that goes on")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if Held(path) || Held(t.TempDir()) {
		t.Error("a run that nobody writes is said to be held")
	}
	if _, _, err := Reopen(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a run directory") {
		t.Errorf("an empty directory: %v", err)
	}
}

// Once nobody writes a record its lock is gone, and so is all that a refusal or a
// failure has made.
func TestNothingIsLeftOfTheLock(t *testing.T) {
	locked := func(path string) bool {
		_, err := os.Stat(filepath.Join(path, lockFile))
		return err == nil
	}
	path := filepath.Join(t.TempDir(), "run")
	d, err := Create(path, Run{ID: "r1", Outcome: OutcomePassed})
	if err != nil {
		t.Fatal(err)
	}
	if !locked(path) {
		t.Error("no lock while the record is written")
	}
	if err := d.Seal(); err != nil {
		t.Fatal(err)
	}
	if locked(path) {
		t.Error("the lock is still there after the record was sealed")
	}
	if _, _, err := Reopen(path); !errors.Is(err, ErrFinished) || locked(path) {
		t.Errorf("after %v there is a lock: %v", err, locked(path))
	}
}

func TestCreateThatFailsLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	wrong := Run{ID: "r1", Scenario: []byte("{}"), ScenarioSHA256: "another"}
	for _, mine := range []bool{true, false} {
		if !mine { // the user's own empty directory stays
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Create(path, wrong); err == nil {
			t.Fatal("a scenario that is not the digest's was saved")
		}
		entries, err := os.ReadDir(path)
		if mine && !os.IsNotExist(err) || !mine && (err != nil || len(entries) > 0) {
			t.Errorf("the directory was there before: %v; left of it: %v, %v", !mine, entries, err)
		}
	}
}

// The lock's file comes and goes, and yet no two have the lock.
func TestOneHolderAtATime(t *testing.T) {
	path := t.TempDir()
	var holders, taken atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 300 {
				f, err := lockDir(path)
				if errors.Is(err, errLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				taken.Add(1)
				runtime.Gosched()
				holders.Add(-1)
				(&Dir{lock: f}).unlock()
			}
		})
	}
	all.Wait()
	if taken.Load() == 0 {
		t.Error("nobody ever had the lock")
	}
}

func TestClosedDirWritesNothing(t *testing.T) {
	path := writeRecord(t, true)
	d, r, err := Reopen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.SaveState([]byte("{}\n")), d.Close()); err != nil {
		t.Fatal(err)
	}
	_, opened := d.Timeline()
	for what, err := range map[string]error{"SaveRun": d.SaveRun(r.Run), "SaveState": d.SaveState(nil), "Seal": d.Seal(), "Timeline": opened} {
		if err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	again, _, err := Reopen(path)
	if err != nil {
		t.Fatalf("a closed record cannot be reopened: %v", err)
	}
	if state, err := again.State(); err != nil || string(state) != "{}\n" {
		t.Errorf("state %q, %v", state, err)
	}
}

// TestPhasesOfAResumedRun: a phase that goes on is one, and what a measurement
// that began anew had before does not count.
func TestPhasesOfAResumedRun(t *testing.T) {
	event := func(t int64, kind, subject string) timeline.Event {
		return timeline.Event{T: t, Source: timeline.SourceRun, Kind: kind, Subject: subject}
	}
	resumed := func(t int64, measurement string) timeline.Event {
		return timeline.Event{T: t, Kind: timeline.KindResumed, Subject: "run", Detail: map[string]string{"measurement": measurement}}
	}
	for _, tc := range []struct {
		name   string
		events []timeline.Event
		want   []Interval
	}{
		{"killed in the baseline", []timeline.Event{
			event(1, timeline.KindPhase, "phase/warmup"), event(2, timeline.KindPhaseEnd, "phase/warmup"), event(2, timeline.KindPhase, "phase/baseline"),
			event(5, timeline.KindInterrupted, "run"), resumed(50, timeline.MeasurementAnew),
			event(51, timeline.KindPhase, "phase/warmup"), event(52, timeline.KindPhaseEnd, "phase/warmup"), event(52, timeline.KindPhase, "phase/baseline"), event(60, timeline.KindPhaseEnd, "phase/baseline"),
		}, []Interval{{"warmup", 51, 52}, {"baseline", 52, 60}}},
		{"killed in the upgrade", []timeline.Event{
			event(1, timeline.KindPhase, "phase/baseline"), event(9, timeline.KindPhaseEnd, "phase/baseline"), event(9, timeline.KindPhase, "phase/upgrade"),
			event(12, timeline.KindInterrupted, "run"), resumed(40, timeline.MeasurementGoesOn), event(41, timeline.KindPhase, "phase/upgrade"), event(60, timeline.KindPhaseEnd, "phase/upgrade"),
		}, []Interval{{"baseline", 1, 9}, {"upgrade", 9, 60}}},
		{"stopped in the upgrade by Ctrl-C", []timeline.Event{
			event(9, timeline.KindPhase, "phase/upgrade"), event(12, timeline.KindPhaseEnd, "phase/upgrade"),
			resumed(40, timeline.MeasurementGoesOn), event(41, timeline.KindPhase, "phase/upgrade"), event(60, timeline.KindPhaseEnd, "phase/upgrade"),
		}, []Interval{{"upgrade", 9, 60}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &Record{Events: tc.events}
			if diff := cmp.Diff(tc.want, r.Phases()); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
		})
	}
}
