package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes/watch"
)

// MeasureOptions say what to measure beside an upgrade that something else
// drives.
type MeasureOptions struct {
	Dir              string // the run directory itself
	Run              record.Run
	Lanes            []load.Lane
	Warmup, Duration time.Duration
	// Client is the cluster whose timeline is recorded too; nil for none, and
	// Watch what of it.
	Client kubernetes.Interface
	Watch  watch.Options
	Log    *slog.Logger
}

// Measure sends load to a target that exists and records it, until the duration
// is over or ctx ends; either way the record is complete. Before the first
// request counts, every lane must be answered once: an error then says why not,
// and no record was made. A lane that dies ends the measurement, with an error
// and what was recorded until then.
func Measure(ctx context.Context, o MeasureOptions) (err error) {
	for _, l := range o.Lanes {
		if err := load.Probe(ctx, l); err != nil {
			return err
		}
	}
	started := time.Now()
	run := o.Run
	run.Started, run.Outcome = started.UTC().Truncate(time.Millisecond), record.OutcomeRunning
	for _, l := range o.Lanes {
		run.Lanes = append(run.Lanes, l.Record())
	}
	dir, err := record.Create(o.Dir, run)
	if err != nil {
		return err
	}
	w, err := dir.Timeline()
	if err != nil {
		return err
	}
	events := timeline.NewRecorder(timeline.NewClock(started), w)
	defer func() {
		run.Ended, run.Outcome = time.Now().UTC().Truncate(time.Millisecond), record.OutcomePassed
		if err != nil {
			run.Outcome, run.Failure = record.OutcomeFailed, err.Error()
		}
		err = errors.Join(err, events.Err(), dir.SaveRun(run), dir.Seal())
	}()
	stop, err := startWatch(ctx, o, events)
	if err != nil {
		return err
	}
	defer stop()
	return send(ctx, o, dir, events)
}

func startWatch(ctx context.Context, o MeasureOptions, events *timeline.Recorder) (func(), error) {
	if o.Client == nil {
		return func() {}, nil
	}
	w := watch.New(o.Client, events, o.Watch, o.Log)
	w.Start(context.WithoutCancel(ctx))
	synced, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := w.Synced(synced); err != nil {
		w.Stop()
		return nil, fmt.Errorf("watch the cluster: %w", err)
	}
	return w.Stop, nil
}

// send runs the load; the end of ctx ends it early and is no error.
func send(ctx context.Context, o MeasureOptions, dir *record.Dir, events *timeline.Recorder) error {
	running, err := load.Start(context.WithoutCancel(ctx), load.Config{Lanes: o.Lanes, Timeline: events, Open: load.ToDir(dir)}, timeline.PhaseWarmup)
	if err != nil {
		return err
	}
	for _, phase := range []struct {
		name string
		d    time.Duration
	}{{"", o.Warmup}, {timeline.PhaseMeasured, o.Duration}} {
		if phase.name != "" {
			running.Phase(phase.name)
		}
		t := time.NewTimer(phase.d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return running.Stop()
		case lost := <-running.Lost():
			return errors.Join(fmt.Errorf("lane %s was lost: %w", lost.Lane, lost.Err), running.Stop())
		}
	}
	return running.Stop()
}
