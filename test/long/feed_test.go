package long

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/metrics"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// outage is a stretch of the run, in seconds of it, in which every stride-th
// request of lane new fails.
type outage struct {
	from, length int64
	stride       int
}

// rehearsal is one that never took place.
type rehearsal struct {
	baseline, upgrade, settle time.Duration
	workers                   int
	outages                   []outage
	// podEvery is how many seconds apart the events of pods are.
	podEvery int64
}

func (r rehearsal) seconds() int64 {
	return int64((warmup + r.baseline + r.upgrade + r.settle) / time.Second)
}

const warmup = 10 * time.Second

// eightHours is a roll of fifty workers with three outages: one of five seconds,
// one of a single second, and one of half a minute in which every second request
// fails.
func eightHours() rehearsal {
	return rehearsal{
		baseline: 10 * time.Minute, upgrade: 8*time.Hour - 11*time.Minute, settle: time.Minute - warmup,
		workers: 50, podEvery: 5, outages: []outage{{2 * 3600, 5, 1}, {4*3600 + 7, 1, 1}, {6 * 3600, 30, 2}},
	}
}

// tenMinutes is a short one of the same kind.
func tenMinutes() rehearsal {
	return rehearsal{baseline: 3 * time.Minute, upgrade: 6 * time.Minute, settle: time.Minute - warmup, workers: 3, podEvery: 5, outages: []outage{{300, 1, 1}}}
}

// recorder writes a rehearsal as the engine, the probes and the timeline do.
type recorder struct {
	t       *testing.T
	of      rehearsal
	path    string
	dir     *record.Dir
	lanes   []*lane
	probes  []*record.ProbeWriter
	events  *timeline.Recorder
	planned []timeline.Event // of the phases and the upgrade, in order
	meter   *metrics.Metrics
	window  func(record.Lane, *record.Window)
	sample  func(string, record.ProbeSample)
}

type lane struct {
	record.Lane
	sink  *record.LaneWriter
	rng   *rand.Rand
	table [4096]uint64 // latencies in microseconds, of which requests draw
}

// begin makes the record of r with everything that is known beforehand.
func begin(t *testing.T, r rehearsal) *recorder {
	t.Helper()
	o := synth.Options{Rate: 0.01, Warmup: warmup, Baseline: r.baseline, Upgrade: r.upgrade, Settle: r.settle, Workers: r.workers}
	of := synth.Record(o) // nearly no load: it is written second by second
	o.Rate = rate
	s := o.Scenario()
	run := of.Run
	scenario, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	run.Scenario = scenario
	run.ScenarioSHA256 = ""
	for i := range run.Lanes {
		run.Lanes[i].Rate = rate
	}
	w := &recorder{t: t, of: r, path: filepath.Join(t.TempDir(), "run"), planned: of.Events, meter: metrics.New(metrics.Build{})}
	observer := w.meter.Observer()
	w.window, w.sample = observer.Load.Window, observer.Sample
	w.meter.Begin(&harness.RunPlan{Scenario: &s}, w.path)
	w.dir, err = record.Create(w.path, run)
	w.must(err)
	for name, snapshot := range map[string]*record.Snapshot{record.SnapshotBefore: of.Before, record.SnapshotAfter: of.After} {
		w.must(w.dir.SaveSnapshot(name, snapshot))
	}
	out, err := w.dir.Timeline()
	w.must(err)
	w.events = timeline.NewRecorder(timeline.NewClock(time.Now()), out)
	w.events.Tap(w.meter.Event)
	for i, l := range run.Lanes {
		sink, err := w.dir.Lane(l)
		w.must(err)
		x := &lane{Lane: l, sink: sink, rng: rand.New(rand.NewPCG(1, uint64(i)))}
		for k := range x.table {
			x.table[k] = uint64(8000 * math.Exp(0.35*x.rng.NormFloat64()))
		}
		w.lanes = append(w.lanes, x)
	}
	for _, p := range run.Probes {
		file, err := w.dir.Probe(p.Name)
		w.must(err)
		w.probes = append(w.probes, file)
	}
	return w
}

func (w *recorder) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// second writes all that belongs to one second of the run.
func (w *recorder) second(s int64) {
	for len(w.planned) > 0 && w.planned[0].T < (s+1)*1e9 {
		w.events.Add(w.planned[0])
		w.planned = w.planned[1:]
	}
	if s%w.of.podEvery == 0 {
		w.events.Add(timeline.Event{T: s*1e9 + 5e8, Source: timeline.SourceKube, Kind: []string{timeline.KindPodReady, timeline.KindPodDeleted}[s/w.of.podEvery%2],
			Subject: fmt.Sprintf("pod/canary/canary-%d", s), Detail: map[string]string{"node": fmt.Sprintf("worker-%d", s%50+1)}})
	}
	for _, l := range w.lanes {
		w.load(l, s)
	}
	for i, p := range w.probes {
		for q := range int64(4) {
			x := record.ProbeSample{T: s*1e9 + q*25e7, D: 2e6, OK: true}
			w.must(p.Write(x))
			w.sample(fmt.Sprint("probe-", i), x)
		}
	}
}

// load writes a second of a lane.
func (w *recorder) load(l *lane, s int64) {
	slots := int(l.Rate)
	stride := 0
	if l.Name == scenarios.LaneNew {
		for _, o := range w.of.outages {
			if s >= o.from && s < o.from+o.length {
				stride = o.stride
			}
		}
	}
	win := &record.Window{Second: s}
	open := false
	for i := range slots {
		due := s*1e9 + int64(i)*1e9/int64(slots)
		win.SendLag.Add(uint64(100 + l.rng.IntN(50)))
		if stride == 0 || i%stride != 0 {
			win.Counts[record.OK]++
			win.Latency.Add(l.table[l.rng.IntN(len(l.table))])
			open = false
			continue
		}
		win.Counts[record.Refused]++
		if open {
			win.Spans[len(win.Spans)-1].Last = due
			win.Spans[len(win.Spans)-1].Count++
		} else {
			win.Spans = append(win.Spans, record.Span{Kind: record.SpanFailed, First: due, Last: due, Count: 1})
		}
		open = true
		if i < 24 { // what the engine writes singly of a second
			w.must(l.sink.WriteRequest(&record.Request{Due: due, Sent: due, Latency: 1e6, Class: record.Refused.String(), Error: "dial tcp 127.0.0.1:30080: connect: connection refused"}))
		} else {
			win.Dropped++
		}
	}
	if l.Name != scenarios.LaneReused {
		win.NewConns = win.Sent()
	}
	w.must(l.sink.WriteWindow(win))
	w.window(l.Lane, win)
}

// end seals the record and returns its directory.
func (w *recorder) end() string {
	w.t.Helper()
	for _, l := range w.lanes {
		w.must(l.sink.Close())
	}
	w.must(w.events.Err())
	w.must(w.dir.Seal())
	w.must(w.dir.Close())
	return w.path
}
