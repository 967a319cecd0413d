// Package onkind plants faults in a real cluster whose nodes are containers on
// this machine: those of the table that such a cluster can show. Each row is the
// whole main job. One cluster serves them all: the first row upgrades it, and
// before each further one its workers are rolled back to the old version, so
// that there is an upgrade to rehearse.
package onkind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster/kind"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// undoTimeout bounds taking a fault away again.
const undoTimeout = 2 * time.Minute

// Options of the bed.
type Options struct {
	Driver  *kind.Driver
	Docker  *docker.Client // nil is the docker on PATH
	Tool    string         // version of rehearse
	Command string
	Host    record.Host
	// Report writes the reports into a run directory; nil writes none.
	Report func(dir string, r *record.Record, v judge.Verdict) error
	// Cleanup has the cluster from when it may exist until Close has deleted it.
	Cleanup *cleanup.Stack
	Log     *slog.Logger
	// Progress hears of the steps of every rehearsal; nil for none.
	Progress harness.Progress
}

// Bed is a prove.Bed.
type Bed struct {
	o     Options
	kept  *kept
	table []fault
}

var _ prove.Bed = (*Bed)(nil)

// New returns the bed. Nothing is created before the first rehearsal.
func New(o Options) *Bed {
	if o.Docker == nil {
		o.Docker = &docker.Client{}
	}
	if o.Report == nil {
		o.Report = func(string, *record.Record, judge.Verdict) error { return nil }
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	return &Bed{o: o, kept: &kept{Driver: o.Driver, cleanup: o.Cleanup}, table: table()}
}

type silent struct{}

func (silent) Start(harness.Entry, int)                      {}
func (silent) End(harness.Entry, time.Duration, error, bool) {}

// fault is one row.
type fault struct {
	prove.Fault
	// scenario changes the common one; nil leaves it.
	scenario func(*scenarios.Scenario)
	// plant is called when the settling begins, and returns when the fault is
	// there; nil where the scenario is the fault.
	plant func(context.Context, *hands) error
	// lasts is how long the fault stays; zero until the rehearsal is over.
	lasts time.Duration
	// undo takes the fault away. It must bear being called twice.
	undo func(context.Context, *hands) error
}

// Driver implements prove.Bed.
func (b *Bed) Driver() string { return scenarios.DriverKind }

// Width implements prove.Bed: there is one cluster, and two cores are few.
func (b *Bed) Width() int { return 1 }

// Faults implements prove.Bed.
func (b *Bed) Faults() []prove.Fault {
	var out []prove.Fault
	for _, f := range b.table {
		out = append(out, f.Fault)
	}
	return out
}

// closeTimeout bounds the deletion of the cluster.
const closeTimeout = 5 * time.Minute

// Close deletes the cluster, also when ctx has ended. The error says how to
// delete what is left of it.
func (b *Bed) Close(ctx context.Context) error {
	if b.kept.undo == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := b.kept.undo(ctx); err != nil {
		return fmt.Errorf("the cluster of the proof could not be deleted: %w; delete it with: %s", err, b.kept.DeleteCommand(b.kept.spec))
	}
	return nil
}

// Rehearse implements prove.Bed.
func (b *Bed) Rehearse(ctx context.Context, name, out string) (prove.Trial, string, error) {
	i := slices.IndexFunc(b.table, func(f fault) bool { return f.Name == name })
	if i < 0 {
		return prove.Trial{}, "", fmt.Errorf("no fault is called %q", name)
	}
	f := b.table[i]
	sc, err := common()
	if err != nil {
		return prove.Trial{}, "", err
	}
	sc.Name = f.Name
	if f.scenario != nil {
		f.scenario(sc)
	}
	plan, err := harness.Plan(sc, b.kept)
	if err != nil {
		return prove.Trial{}, "", err
	}
	s := &stage{Progress: b.o.Progress, ctx: ctx, fault: f, hands: &hands{docker: b.o.Docker, kept: b.kept}}
	var own cleanup.Stack
	res, err := harness.Run(ctx, plan, harness.Options{
		Out: out, Tool: b.o.Tool, Command: b.o.Command, Driver: b.kept, Host: b.o.Host, Log: b.o.Log, Progress: s, Cleanup: &own, Report: b.o.Report,
	})
	undone := s.end()
	dir := ""
	if res != nil {
		dir = res.Dir
	}
	switch {
	case err != nil:
		return prove.Trial{}, dir, errors.Join(err, undone)
	case ctx.Err() != nil:
		return prove.Trial{}, dir, context.Cause(ctx)
	case res.Err != nil:
		return prove.Trial{}, dir, errors.Join(res.Err, undone)
	case undone != nil:
		return prove.Trial{}, dir, undone
	case f.plant != nil && s.planted.From.IsZero():
		return prove.Trial{}, dir, errors.New("the rehearsal never came to its settling, where the fault was to be planted")
	}
	return prove.Trial{Record: res.Record, Verdict: res.Verdict, Planted: s.planted}, dir, nil
}

// stage plants a fault when the rehearsal has come to its settling, of which it
// hears as the plan's Progress, and takes it away again.
type stage struct {
	harness.Progress
	ctx   context.Context //nolint:containedctx // Progress is told of steps without one
	fault fault
	hands *hands

	wg      sync.WaitGroup
	planted prove.Planted
	err     error
}

// Start implements harness.Progress.
func (s *stage) Start(e harness.Entry, of int) {
	s.Progress.Start(e, of)
	if h, ok := e.Step.(step.Hold); ok && h.Phase == timeline.PhaseSettle && s.fault.plant != nil {
		s.wg.Go(s.plant)
	}
}

func (s *stage) plant() {
	if s.err = s.fault.plant(s.ctx, s.hands); s.err != nil {
		return
	}
	s.planted.From, s.planted.Object = time.Now(), "node/"+s.hands.chosen()
	if s.fault.lasts == 0 {
		return
	}
	_ = pause.For(s.ctx, s.fault.lasts) // an interrupt takes the fault away, too
	s.planted.To = time.Now()
	s.err = s.undo()
}

// end waits until the fault is planted, and takes it away.
func (s *stage) end() error {
	s.wg.Wait()
	err := s.err
	if !s.planted.From.IsZero() {
		err = errors.Join(err, s.undo())
	}
	if err != nil {
		return fmt.Errorf("fault %s: %w", s.fault.Name, err)
	}
	return nil
}

func (s *stage) undo() error {
	if s.fault.undo == nil {
		return nil
	}
	// Also after an interrupt: the cluster serves the rows that follow.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), undoTimeout)
	defer cancel()
	if err := s.fault.undo(ctx, s.hands); err != nil {
		return fmt.Errorf("take it away: %w", err)
	}
	return nil
}
