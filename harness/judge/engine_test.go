package judge_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// sink keeps what a lane of the real engine records.
type sink struct{ record.LaneData }

func (s *sink) WriteWindow(w *record.Window) error {
	c := *w
	c.Spans = append([]record.Span(nil), w.Spans...)
	s.Windows = append(s.Windows, c)
	return nil
}

func (s *sink) WriteRequest(r *record.Request) error {
	s.Requests = append(s.Requests, *r)
	return nil
}

func (s *sink) Close() error { return nil }

// rehearseFaults sends real load through the engine, in virtual time: a
// baseline of 5 s, then an upgrade of 12 s that the faults are planted in, by
// the offset from its beginning. It returns the record and that beginning.
func rehearseFaults(t *testing.T, rate float64, faults ...faulttest.Fault) (*record.Record, time.Duration) {
	const baseline, upgrade = 5 * sec, 12 * sec
	var network faulttest.Memory
	for i := range faults {
		faults[i].From += baseline
		faults[i].To += baseline
	}
	srv, err := faulttest.StartIn(&network, bytes.Repeat([]byte("rehearse "), 30), faults...)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	r := &record.Record{Run: record.Run{ID: "engine", Outcome: record.OutcomePassed}}
	clock := timeline.NewClock(time.Now())
	events := timeline.NewRecorder(clock, io.Discard)
	events.Tap(func(e timeline.Event) { r.Events = append(r.Events, e) })
	var sinks []*sink
	config := load.Config{Timeline: events, Open: func(l record.Lane) (load.LaneSink, error) {
		s := &sink{record.LaneData{Lane: l}}
		sinks = append(sinks, s)
		r.Run.Lanes = append(r.Run.Lanes, l)
		return s, nil
	}}
	for _, kind := range []load.Kind{load.New, load.Reused} {
		config.Lanes = append(config.Lanes, load.Lane{Name: string(kind), Kind: kind, Target: srv.URL(), Rate: rate, Timeout: 5 * sec, Canary: true, Dial: network.Dial})
	}
	zero := clock.Now().Truncate(sec) + sec // the first slot's due time
	running, err := load.Start(t.Context(), config, timeline.PhaseBaseline)
	if err != nil {
		t.Fatal(err)
	}
	srv.Arm(clock.Start().Add(zero))
	sleepUntil := func(at time.Duration) { time.Sleep(at - clock.Now()) }
	sleepUntil(zero + baseline)
	running.Phase(timeline.PhaseUpgrade)
	sleepUntil(zero + baseline + upgrade)
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, s := range sinks {
		r.Lanes = append(r.Lanes, s.LaneData)
	}
	return r, zero + baseline
}

// TestOutagesOfTheRealEngine is target 7 from end to end: a fault server, the
// load engine, its record, and the verdict's outage windows.
func TestOutagesOfTheRealEngine(t *testing.T) {
	for _, rate := range []float64{20, 400} {
		for _, kind := range []faulttest.Kind{faulttest.Refuse, faulttest.Hang, faulttest.Unavailable, faulttest.Reset} {
			t.Run(fmt.Sprintf("%s/%g", kind, rate), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					step := time.Duration(float64(sec) / rate)
					shortest := max(50*time.Millisecond, 10*step)
					planted := []faulttest.Fault{
						{Kind: kind, From: 2*sec + 700*time.Microsecond, To: 2*sec + 700*time.Microsecond + shortest + 2*step},
						{Kind: kind, From: 6*sec + 3*time.Millisecond, To: 8*sec + 400*time.Millisecond},
					}
					r, begin := rehearseFaults(t, rate, append([]faulttest.Fault(nil), planted...)...)
					o := synth.Options{}
					s := o.Scenario()
					v := judge.Judge(r, s.Criteria())
					for _, lane := range []string{"new", "reused"} {
						var found []judge.Outage
						for _, o := range v.Outages {
							if o.Lane == lane {
								found = append(found, o)
							}
						}
						if len(found) != len(planted) {
							t.Errorf("%s: %d outages found, %d planted: %+v", lane, len(found), len(planted), found)
							continue
						}
						for i, p := range planted {
							from, to := time.Duration(found[i].Start)-begin, time.Duration(found[i].End)-begin
							if math.Abs(float64(from-p.From)) > 2*float64(step) || math.Abs(float64(to-p.To)) > 2*float64(step) {
								t.Errorf("%s: an outage from %v to %v; planted from %v to %v", lane, from, to, p.From, p.To)
							}
						}
						if c := criterion(t, v, "outage/"+lane); c.Result != judge.Fail {
							t.Errorf("outage/%s is %s: %s", lane, c.Result, c.Explain)
						}
					}
				})
			})
		}
	}
}
