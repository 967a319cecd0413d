package harness

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// Interrupted is a run that was interrupted and can be gone on with. Its record
// is locked until Resume has returned, or Close.
type Interrupted struct {
	// Scenario is the one that the run was begun with.
	Scenario *scenarios.Scenario

	dir   *record.Dir
	rec   *record.Record
	state step.State
}

// Reopen opens the run directory of an interrupted run: one whose process was
// killed, or that was interrupted and has kept its cluster. The error says why
// another run cannot be gone on with, and what to do instead.
func Reopen(path string) (*Interrupted, error) {
	dir, rec, err := record.Reopen(path)
	if err != nil {
		return nil, err
	}
	i := &Interrupted{dir: dir, rec: rec}
	if err := i.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), dir.Close())
	}
	return i, nil
}

func (i *Interrupted) read() (err error) {
	if i.state, err = step.ReadState(i.dir); err != nil {
		return err
	}
	if i.rec.Run.Outcome == record.OutcomeInterrupted && !i.state.Kept {
		return errors.New("the run was interrupted, and what it had created was removed: there is nothing to go on with; rehearse anew (--keep-cluster keeps the cluster of an interrupted run)")
	}
	i.Scenario, err = scenarios.FromResolved(i.rec.Run.Scenario)
	return err
}

// Close gives the record up as it is; Resume may not be called then.
func (i *Interrupted) Close() error { return i.dir.Close() }

// ResumedProgress is a Progress that also hears of the entries which were
// carried out before the interruption, in order, before all others.
type ResumedProgress interface {
	Before(e Entry, of int)
}

// Resume goes on with an interrupted run; p is the plan of its scenario. What was
// carried out is not repeated, with one exception: where the upgrade had not
// begun, everything is measured anew, since a baseline must be of one piece. The
// clock goes on from the run's start, by this machine's wall clock.
//
// Everything else is as with Run. Where the cluster cannot be found again, or the
// canary no longer answers, the result is nil, and nothing was removed.
func Resume(ctx context.Context, i *Interrupted, p *RunPlan, o Options) (*Result, error) {
	r, err := newResumed(ctx, i, p, o)
	if err == nil {
		err = r.restore(ctx, i.rec)
	}
	if err != nil {
		return nil, errors.Join(err, i.dir.Close())
	}
	r.steps(ctx, len(p.Entries))
	return r.finish(ctx)
}

// agreedAhead bounds how far ahead of its clock a run records an instant: that at
// which load agents begin.
const agreedAhead = 10 * time.Second

func newResumed(ctx context.Context, i *Interrupted, p *RunPlan, o Options) (*runner, error) {
	if err := samePlan(i, p); err != nil {
		return nil, err
	}
	// Started has no monotonic reading; going back from now keeps one.
	now := time.Now()
	clock := timeline.NewClock(now.Add(-now.Sub(i.rec.Run.Started)))
	last := time.Duration(i.rec.LastNS())
	if ahead := last - clock.Now(); ahead >= 0 && ahead < agreedAhead {
		if err := pause.For(ctx, ahead+time.Millisecond); err != nil {
			return nil, err
		}
	}
	if clock.Now() <= last {
		return nil, fmt.Errorf("this machine's clock is %s behind what the run has recorded last: set it right, then go on", (last - clock.Now()).Round(time.Second))
	}
	events, err := i.dir.Timeline()
	if err != nil {
		return nil, err
	}
	run := i.rec.Run
	r := newRunner(p, o, &run, i.dir, clock, events)
	r.env.RestoreState(i.state)
	run.Outcome, run.Failure, run.Ended = record.OutcomeRunning, "", time.Time{}
	return r, nil
}

// samePlan reports how the plan differs from the one that the run was begun with.
func samePlan(i *Interrupted, p *RunPlan) error {
	const remedy = "go on with the version of rehearse that began the run (" // + version
	was, is := i.state.Plan, p.descriptions()
	for n := range max(len(was), len(is)) {
		at := func(list []string) string {
			if n < len(list) {
				return strconv.Quote(list[n])
			}
			return "nothing"
		}
		if at(was) != at(is) {
			return fmt.Errorf("the plan is not the one that the run was begun with: step %d was %s, and is now %s; %s%s)", n+1, at(was), at(is), remedy, i.rec.Run.Tool)
		}
	}
	for n, s := range i.rec.Run.Steps {
		if n >= len(p.Entries) || s.Number != n+1 || s.Description != p.Entries[n].Description {
			return fmt.Errorf("step %d of the record, %q, is not in the plan; %s%s)", s.Number, s.Description, remedy, i.rec.Run.Tool)
		}
	}
	return nil
}

func (p *RunPlan) descriptions() []string {
	out := make([]string, len(p.Entries))
	for i, e := range p.Entries {
		out[i] = e.Description
	}
	return out
}

// restore takes over what was carried out, and brings back what of it ended with
// the interrupted process. On error everything is left as it was found.
func (r *runner) restore(ctx context.Context, rec *record.Record) (err error) {
	anew := r.takeOver(rec)
	// Nothing is written before the cluster is found.
	if r.left() {
		if err := r.restoreSteps(ctx, SectionPrepare); err != nil {
			return r.giveUp(ctx, err)
		}
	}
	if r.plan.Scenario.Upgrade.Strategy == scenarios.StrategyCommand && r.left() && !r.env.Undoing {
		// Not even before the cluster was used: the record has the command without its
		// secrets.
		return r.giveUp(ctx, step.ErrCommandOnce)
	}
	gap := record.Interruption{AtNS: rec.LastNS(), ResumedNS: int64(r.clock.Now()), Anew: anew}
	r.run.Interruptions = append(r.run.Interruptions, gap)
	detail := map[string]string{"measurement": r.continues(rec, gap)}
	r.env.Timeline.Add(timeline.Event{T: gap.AtNS, Source: timeline.SourceRun, Kind: timeline.KindInterrupted, Subject: "run"})
	r.env.Timeline.Add(timeline.Event{T: gap.ResumedNS, Source: timeline.SourceRun, Kind: timeline.KindResumed, Subject: "run", Detail: detail})
	r.save()
	if err := r.restoreSteps(ctx, SectionMeasure); err != nil {
		return r.giveUp(ctx, err)
	}
	return nil
}

// takeOver keeps the steps that need not be repeated, and reports whether the
// measurement begins anew.
func (r *runner) takeOver(rec *record.Record) (anew bool) {
	_, upgraded := rec.Phase(timeline.PhaseUpgrade)
	cut, failed := len(r.run.Steps), false
	for n, s := range r.run.Steps {
		_, undo := r.plan.Entries[n].Step.(tearDown)
		if undo && (s.Outcome != record.OutcomePassed || r.env.State.Kept) || s.Outcome == record.OutcomeRunning || s.Outcome == record.OutcomeInterrupted {
			cut = n
			break
		}
		if s.Outcome == record.OutcomeFailed && !failed {
			failed = true
			r.err, r.failedIn = fmt.Errorf("step %d, %s: %s", s.Number, s.Description, s.Error), s.Section
		}
		if s.Outcome == record.OutcomeFailed && s.Section == SectionRollback {
			r.failedIn = SectionRollback
		}
	}
	r.begun = len(r.run.Steps)
	for n, e := range r.plan.Entries[:min(cut+1, len(r.plan.Entries))] {
		if e.Section == SectionMeasure && !upgraded && !failed && n < r.begun {
			anew, cut = true, n
			break
		}
	}
	r.halfway = cut < r.begun && r.run.Steps[cut].Outcome != record.OutcomePassed
	r.done = cut
	r.run.Steps = r.run.Steps[:cut:cut]
	if anew {
		r.env.State.Measuring = false
	}
	r.env.State.Kept = false
	r.env.Undoing = true
	for _, e := range r.plan.Entries[r.done:] {
		if !ownWork(e) && !r.skips(e, nil) {
			r.env.Undoing = false
		}
	}
	return anew
}

// left reports whether anything is left to do but to judge.
func (r *runner) left() bool {
	for _, e := range r.plan.Entries[r.done:] {
		if _, last := e.Step.(judgeRecord); !last {
			return true
		}
	}
	return false
}

// continues says what becomes of the measurement, and ends or resumes its phase.
func (r *runner) continues(rec *record.Record, gap record.Interruption) string {
	phases := rec.Phases()
	switch {
	case gap.Anew || len(phases) == 0:
		return timeline.MeasurementAnew
	case r.env.State.Measuring && !r.env.Undoing:
		r.env.Phase = phases[len(phases)-1].Name
		return timeline.MeasurementGoesOn
	}
	r.env.State.Measuring = false
	last := phases[len(phases)-1]
	for _, e := range rec.Events {
		if e.Kind == timeline.KindPhaseEnd && e.Subject == "phase/"+last.Name && e.T >= last.Start {
			return timeline.MeasurementOver
		}
	}
	r.env.Timeline.Add(timeline.Event{T: gap.AtNS, Source: timeline.SourceRun, Kind: timeline.KindPhaseEnd, Subject: "phase/" + last.Name})
	return timeline.MeasurementOver
}

// restoreSteps restores the steps of a section that were carried out.
func (r *runner) restoreSteps(ctx context.Context, section string) error {
	for _, e := range r.plan.Entries[:r.done] {
		s, ok := e.Step.(step.Restorer)
		if !ok || e.Section != section {
			continue
		}
		if err := s.Restore(ctx, r.env); err != nil {
			return fmt.Errorf("step %d, %s: %w", e.Number, e.Description, err)
		}
	}
	return nil
}

// giveUp ends what was begun in this process, and leaves the rest as it was.
func (r *runner) giveUp(ctx context.Context, err error) error {
	var how string
	for _, k := range r.o.Cleanup.Release() {
		how += fmt.Sprintf("; delete %s with: %s", k.What, k.How)
	}
	return fmt.Errorf("cannot go on with %s: %w%s", r.dir.Path(), errors.Join(err, r.o.Cleanup.Run(ctx, cleanupEach)), how)
}
