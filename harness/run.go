package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Progress hears of each step as it starts and ends. Its methods are called
// from one goroutine.
type Progress interface {
	// Start is told the entry and how many the plan has.
	Start(e Entry, of int)
	// End is told the error that the step ended with, and whether it was
	// skipped because an earlier one failed.
	End(e Entry, took time.Duration, err error, skipped bool)
}

// Options of a run.
type Options struct {
	Out         string // directory in which the run directory is made
	Tool        string // version of rehearse
	Command     string // command line, for the record
	Driver      cluster.Driver
	KeepCluster bool
	Host        record.Host
	Log         *slog.Logger
	Progress    Progress
	// Events sees each event of the timeline once it is recorded, from any
	// goroutine; it must not block, and may be nil.
	Events func(timeline.Event)
	// Observer looks on: see there.
	Observer step.Observer
	Cleanup  *cleanup.Stack
	// Begun is told the run directory as soon as it exists; it may be nil.
	Begun func(dir string)
	// Proof is what a proof of the gate before this run showed; nil without one.
	Proof *record.Proof
	// Report writes the verdict and the reports into the run directory.
	Report func(dir string, r *record.Record, v judge.Verdict) error
}

// Result is what a run left.
type Result struct {
	Dir     string
	Record  *record.Record
	Verdict judge.Verdict
	// Err is why the rehearsal could not be carried out; the verdict is then
	// INCONCLUSIVE. A failed upgrade is not an Err: it is a NO-GO.
	Err error
	// Kept is what still exists because the caller asked for it, and Left what does
	// because it could not be removed.
	Kept, Left []cleanup.Entry
}

// cleanupEach bounds the removal of one thing that the run created, unless it says
// that it may take longer.
const cleanupEach = 5 * time.Minute

// Run carries out the plan. It returns when everything it created is removed
// or listed in Kept. The error is for a run that left no record at all;
// everything else is in the Result.
func Run(ctx context.Context, p *RunPlan, o Options) (*Result, error) {
	r, err := begin(p, o)
	if err != nil {
		return nil, err
	}
	r.steps(ctx, len(p.Entries))
	return r.finish(ctx)
}

// begin makes the run directory.
func begin(p *RunPlan, o Options) (*runner, error) {
	started := time.Now()
	run, err := newRun(p, o, started)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(o.Out, run.Name+"-"+started.UTC().Format("20060102T150405Z"))
	dir, err := record.Create(path, run)
	if err != nil {
		return nil, fmt.Errorf("run directory: %w; name another with --out", err)
	}
	clock := timeline.NewClock(started)
	events, err := dir.Timeline()
	if err != nil {
		return nil, err
	}
	r := newRunner(p, o, &run, dir, clock, events)
	r.env.Spec = cluster.Spec{
		RunID: run.ID, Name: "rehearse-" + run.Name + "-" + run.ID, Version: cluster.Version(p.Scenario.Versions.From),
		ControlPlanes: p.Scenario.Cluster.ControlPlanes, Workers: p.Scenario.Cluster.Workers, MostWorkers: MostWorkers(p.Scenario), Network: p.Scenario.Cluster.Network,
	}
	r.env.State.Plan = p.descriptions()
	if o.Begun != nil {
		o.Begun(path)
	}
	return r, nil
}

func newRun(p *RunPlan, o Options, started time.Time) (record.Run, error) {
	resolved, err := p.Scenario.Resolved()
	if err != nil {
		return record.Run{}, fmt.Errorf("scenario %s: %w", p.Scenario.Name, err)
	}
	id, err := record.NewID()
	if err != nil {
		return record.Run{}, err
	}
	return record.Run{
		Format: record.FormatVersion, ID: id, Name: p.Scenario.Name, Tool: o.Tool, Command: o.Command,
		Scenario: resolved,
		Driver:   p.Scenario.Cluster.Driver, Started: started.UTC().Truncate(time.Millisecond), Host: o.Host,
		Versions: record.Versions{From: p.Scenario.Versions.From, Via: p.Scenario.Versions.Via, To: p.Scenario.Versions.To},
		Outcome:  record.OutcomeRunning, Proof: o.Proof,
	}, nil
}

type runner struct {
	plan     *RunPlan
	o        Options
	run      *record.Run
	dir      *record.Dir
	clock    timeline.Clock
	env      *step.Env
	err      error  // why the rest is skipped, nil while all is well
	failedIn string // section of the step that err is of
	next     int    // index of the entry whose turn it is
	kept     []cleanup.Entry

	// Of an interrupted run that is gone on with: how many entries were carried
	// out, how many were begun, and whether the first of the others was left
	// half-way.
	done, begun int
	halfway     bool
}

func newRunner(p *RunPlan, o Options, run *record.Run, dir *record.Dir, clock timeline.Clock, events io.Writer) *runner {
	r := &runner{plan: p, o: o, run: run, dir: dir, clock: clock, env: &step.Env{
		Driver: o.Driver, Dir: dir, Run: run, Timeline: timeline.NewRecorder(clock, events), Cleanup: o.Cleanup, Log: o.Log, Observer: o.Observer,
	}}
	if o.Events != nil {
		r.env.Timeline.Tap(o.Events)
	}
	r.env.SaveRoll = func(roll step.Roll) {
		r.env.State.Roll = &roll
		r.tellUnsaved(r.env.SaveState())
	}
	return r
}

// steps executes the entries before the n-th, in order, from where it ended last.
// After a failure of the upgrade what measures its aftermath still runs; after
// any other, nothing but the tear-down.
func (r *runner) steps(ctx context.Context, n int) {
	for r.next < n {
		e := r.plan.Entries[r.next]
		if _, own := e.Step.(judgeRecord); own {
			return // after the record is closed: see finish
		}
		r.next++ // now: a step that panics is not carried out again
		if e.Number <= r.done {
			if p, ok := r.o.Progress.(ResumedProgress); ok {
				p.Before(e, len(r.plan.Entries))
			}
			continue
		}
		err := r.step(ctx, e, r.skips(e, ctx.Err()))
		if err != nil && e.Section == SectionRollback {
			r.failedIn = SectionRollback // the rest of the way back is not gone
		}
		if err != nil && r.err == nil {
			r.err, r.failedIn = fmt.Errorf("step %d, %s: %w", e.Number, e.Description, err), e.Section
		}
	}
}

// skips reports whether an entry is left out because of what failed before it;
// ended is the run's context's error.
func (r *runner) skips(e Entry, ended error) bool {
	if _, last := e.Step.(tearDown); last {
		return false
	}
	if e.OnFailure {
		return r.failedIn != SectionUpgrade || ended != nil
	}
	if r.err == nil {
		return false
	}
	failed := r.failedIn == SectionUpgrade || r.failedIn == SectionRollback
	return !failed || e.Section != SectionJudge || ended != nil
}

// ownWork tells the runner's own entries.
func ownWork(e Entry) bool {
	switch e.Step.(type) {
	case tearDown, judgeRecord:
		return true
	}
	return false
}

func (r *runner) step(ctx context.Context, e Entry, skip bool) error {
	result := record.Step{Number: e.Number, Section: e.Section, Description: e.Description, StartNS: int64(r.clock.Now()), Outcome: record.OutcomeRunning}
	result.Again = e.Number <= r.begun
	subject := fmt.Sprintf("step/%02d", e.Number)
	if skip {
		result.EndNS, result.Outcome = result.StartNS, record.OutcomeSkipped
		if e.OnFailure && r.err == nil {
			result.Reason = notNeeded
		}
		r.run.Steps = append(r.run.Steps, result)
		r.o.Progress.End(e, 0, nil, true)
		return nil
	}
	r.o.Progress.Start(e, len(r.plan.Entries))
	r.run.Steps = append(r.run.Steps, result)
	r.save()
	r.env.Timeline.Record(timeline.SourceRun, timeline.KindStepStart, subject, map[string]string{"description": e.Description})

	log := r.openLog(e)
	r.env.Log = log.logger
	err := r.execute(cluster.WithLog(ctx, log.logger, log.output()), e)
	// What is done when the interrupt comes is not what was asked for, but for
	// the tear-down, which the interrupt asks for.
	if _, undo := e.Step.(tearDown); err == nil && !undo {
		err = context.Cause(ctx)
	}
	r.env.Log = r.o.Log
	p := &r.run.Steps[len(r.run.Steps)-1]
	p.Log = log.close(err)
	p.EndNS = int64(r.clock.Now())
	detail := map[string]string{}
	switch {
	case err == nil:
		p.Outcome = record.OutcomePassed
	case ctx.Err() != nil:
		p.Outcome, p.Error = record.OutcomeInterrupted, err.Error()
	default:
		p.Outcome, p.Error = record.OutcomeFailed, err.Error()
	}
	detail["outcome"] = p.Outcome
	if p.Error != "" {
		detail["error"] = p.Error
	}
	r.env.Timeline.Record(timeline.SourceRun, timeline.KindStepEnd, subject, detail)
	r.save()
	r.o.Progress.End(e, time.Duration(p.EndNS-p.StartNS), err, false)
	return err
}

// execute carries an entry out. A panic is the entry's error: what was created has
// to be removed all the same.
func (r *runner) execute(ctx context.Context, e Entry) (err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(cluster.Output(ctx), "panic: %v\n\n%s\n", p, debug.Stack())
			err = fmt.Errorf("panic: %v: a mistake in rehearse, please report it; the step's log says where", p)
		}
	}()
	if _, ok := e.Step.(checkpoint); ok {
		return r.check()
	}
	if _, ok := e.Step.(tearDown); !ok {
		if s, ok := e.Step.(step.Redoer); ok && r.halfway && e.Number == r.done+1 {
			return s.Redo(ctx, r.env)
		}
		return e.Step.Run(ctx, r.env)
	}
	if r.o.KeepCluster {
		r.kept = r.o.Cleanup.Release()
		r.env.State.Kept = true
	} else if r.err != nil && len(r.o.Cleanup.Left()) > 0 {
		r.collectLogs(ctx)
	}
	err = r.o.Cleanup.Run(ctx, cleanupEach)
	r.env.KeepLeft(err)
	return err
}

// collectLogs keeps what an operator would want to see of a failed run, since
// the cluster is about to go.
func (r *runner) collectLogs(ctx context.Context) {
	c, ok := r.o.Driver.(cluster.LogCollector)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	half := r.env.Cluster
	if half == nil { // one that did not come up has the most to tell
		half = &cluster.Cluster{Spec: r.env.Spec}
	}
	if err := c.CollectLogs(ctx, half, filepath.Join(r.dir.Path(), "logs", "cluster")); err != nil {
		r.o.Log.Warn("the cluster's logs could not be collected", "error", err)
	}
}

// save writes run.json and state.json. A full disk must not end the rehearsal
// half-way; it is seen again, and then counts, when the record is closed. The
// state comes first: what run.json says was done can then be gone on with.
func (r *runner) save() {
	r.tellUnsaved(errors.Join(r.env.SaveState(), r.dir.SaveRun(*r.run)))
}

func (r *runner) tellUnsaved(err error) {
	if err != nil {
		r.o.Log.Warn("the run's state could not be written", "error", err)
	}
}

// finish closes the record, judges it and writes the reports.
func (r *runner) finish(ctx context.Context) (*Result, error) {
	last, path := r.plan.Entries[len(r.plan.Entries)-1], r.dir.Path()
	res := &Result{Dir: path, Kept: r.kept, Left: r.o.Cleanup.Left()}
	r.o.Progress.Start(last, len(r.plan.Entries))
	begun := r.clock.Now()
	r.outcome(ctx)
	err := errors.Join(r.env.Timeline.Err(), r.dir.SaveRun(*r.run), r.dir.Seal())
	if err == nil {
		res.Record, err = record.Load(path)
	}
	if err == nil {
		res.Verdict = judge.Judge(res.Record, r.plan.Scenario.Criteria())
		err = r.o.Report(path, res.Record, res.Verdict)
	}
	r.o.Progress.End(last, r.clock.Now()-begun, err, false)
	if err != nil {
		return res, fmt.Errorf("the record in %s could not be completed, so that there is no verdict; mend this and rehearse again:\n%w", path, err)
	}
	if r.run.Outcome != record.OutcomePassed && !r.upgradeFailed() {
		res.Err = r.err
	}
	return res, nil
}

func (r *runner) outcome(ctx context.Context) {
	r.run.Ended = time.Now().UTC().Truncate(time.Millisecond)
	switch {
	case ctx.Err() != nil:
		r.run.Outcome, r.run.Failure = record.OutcomeInterrupted, context.Cause(ctx).Error()
	case r.err != nil:
		r.run.Outcome, r.run.Failure = record.OutcomeFailed, r.err.Error()
	default:
		r.run.Outcome = record.OutcomePassed
	}
}

// upgradeFailed reports whether the first failure was the upgrade's own.
func (r *runner) upgradeFailed() bool {
	for _, s := range r.run.Steps {
		if s.Outcome == record.OutcomeFailed {
			return s.Section == SectionUpgrade || s.Section == SectionRollback
		}
	}
	return false
}
