package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// FeatureOptions say how a Feature is carried out.
type FeatureOptions struct {
	// Options are those of Run, of which Driver, Out and Report must be set. Where
	// they are left out, Log and Progress go to the test's output, Cleanup is one
	// of the feature's own, and Tool, Command and Host describe the test binary.
	Options
	// Name of the feature: "rehearse " and the scenario's name where it is empty.
	Name string
	// Labels are put beside the feature's own: scenario, driver, from and to.
	Labels features.Labels
	// SkipInconclusive skips what could not be decided instead of failing it. That
	// the rehearsal could not be carried out is a failure all the same.
	SkipInconclusive bool
}

// Names of the assessments that every Feature has. Between the sections and the
// last three stands one for each of the scenario's criteria, by its ID.
const (
	AssessMeasure  = SectionMeasure
	AssessUpgrade  = SectionUpgrade
	AssessCheck    = "check" // settle, look at the cluster, tear down, judge
	AssessOthers   = "others"
	AssessValidity = "validity"
	AssessVerdict  = "verdict"
)

// Feature returns the rehearsal of a scenario as a feature of
// sigs.k8s.io/e2e-framework, to be carried out by Test of its env package.
//
// Its setup creates the cluster and deploys the canary. Its assessments record
// the baseline, upgrade under load, and check, tear down and judge; then there is
// one for each criterion, which fails with the criterion's explanation. What the
// judge adds to the scenario's criteria is told by subtests of AssessOthers, what
// was wrong with the measurement by those of AssessValidity. The feature passes
// exactly when the verdict is GO, or is INCONCLUSIVE with SkipInconclusive; where
// the versions are the same there is nothing to do, and it is skipped.
//
// Whichever assessments are chosen, the whole rehearsal is carried out for the
// first that needs it. However the test ends, short of the end of its process,
// what was created is removed: in the teardown, and also where the framework
// leaves that out. The end of the environment's context is an interrupt. So is a
// moment before the test's deadline that leaves time to clean up; a deadline that
// is nearer than the plan's forecast fails the setup before anything is created.
//
// A feature may be carried out more than once, each time in a run directory of
// its own; FeatureResult tells what it left.
func Feature(s *scenarios.Scenario, o FeatureOptions) features.Feature {
	name := o.Name
	if name == "" {
		name = "rehearse " + s.Name
	}
	f := &feature{o: o, criteria: s.Criteria(), plan: func() (*RunPlan, error) { return o.planOf(s) }}
	b := features.NewWithDescription(name, fmt.Sprintf("%s to %s on %s, %s", s.Versions.From, s.Versions.To, s.Cluster.Driver, s.Upgrade.Strategy)).
		WithLabel("scenario", s.Name).WithLabel("driver", s.Cluster.Driver).WithLabel("from", s.Versions.From).WithLabel("to", s.Versions.To)
	for key, values := range o.Labels {
		for _, v := range values {
			b.WithLabel(key, v)
		}
	}
	return f.steps(b)
}

// planOf checks what Run takes for granted, and makes the plan.
func (o *FeatureOptions) planOf(s *scenarios.Scenario) (*RunPlan, error) {
	switch {
	case o.Driver == nil:
		return nil, errors.New("FeatureOptions.Driver is not set: give the scenario's, or another of the packages below harness/cluster")
	case o.Out == "":
		return nil, errors.New("FeatureOptions.Out is not set: name the directory in which the run directory is made")
	case o.Report == nil:
		return nil, errors.New("FeatureOptions.Report is not set: give reports.Write")
	}
	if s.Upgrade.AutoInterval() {
		return nil, fmt.Errorf("scenario %s: upgrade.interval: %s takes several rehearsals, and a feature is one: give an interval", s.Name, scenarios.AutoInterval)
	}
	p, err := Plan(s, o.Driver)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	return p, nil
}

// feature makes the steps of a Feature; it holds nothing of one carrying-out.
type feature struct {
	o        FeatureOptions
	criteria []scenarios.Criterion
	plan     func() (*RunPlan, error)
}

func (f *feature) steps(b *features.FeatureBuilder) features.Feature {
	b.WithSetup(SectionPrepare, f.setup)
	b.Assess(AssessMeasure, assess(func(r *rehearsing, t *testing.T) { r.section(t, SectionMeasure) }))
	b.Assess(AssessUpgrade, assess(func(r *rehearsing, t *testing.T) { r.section(t, SectionUpgrade, SectionRollback) }))
	b.Assess(AssessCheck, assess(func(r *rehearsing, t *testing.T) { r.finish(); r.section(t, SectionJudge) }))
	for _, c := range f.criteria {
		b.Assess(c.ID, assess(func(r *rehearsing, t *testing.T) { r.criterion(t, c.ID) }))
	}
	b.Assess(AssessOthers, assess(func(r *rehearsing, t *testing.T) { r.others(t, f.criteria) }))
	b.Assess(AssessValidity, assess((*rehearsing).validity))
	b.Assess(AssessVerdict, assess((*rehearsing).verdict))
	b.WithTeardown("teardown", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		if r, ok := ctx.Value(featureKey{}).(*rehearsing); ok {
			r.abandon(t)
		}
		return ctx
	})
	return b.Feature()
}

type featureKey struct{}

// FeatureResult returns what the Feature that was carried out last in ctx left,
// or nil where it has not come to its end. It is for what the environment does
// after each feature.
func FeatureResult(ctx context.Context) *Result {
	if r, ok := ctx.Value(featureKey{}).(*rehearsing); ok {
		return r.result
	}
	return nil
}

func assess(do func(*rehearsing, *testing.T)) features.Func {
	return func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		if r, ok := ctx.Value(featureKey{}).(*rehearsing); ok {
			do(r, t)
		} else {
			t.Error("the feature's setup was not carried out")
		}
		return ctx
	}
}

// setup carries out the plan's first section.
func (f *feature) setup(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
	p, err := f.plan()
	if err != nil {
		t.Fatal(err)
	}
	if p.NothingToDo {
		t.Skipf("scenario %s: from and to are both %s: nothing to do", p.Scenario.Name, p.Scenario.Versions.To)
	}
	out := &testOutput{w: t.Output()}
	o := f.o.Options
	o.fill(t.Name(), out)
	running, cancel := context.WithCancelCause(ctx)
	running, stop, err := beforeDeadline(running, t, p, o.Driver)
	if err != nil {
		cancel(nil)
		t.Fatal(err)
	}
	// Before anything exists: whatever becomes of the test, this is called.
	r := &rehearsing{plan: p, out: out, cleanup: o.Cleanup, ctx: running, skipInconclusive: f.o.SkipInconclusive,
		interrupt: cancel, stop: func() { stop(); cancel(nil) }}
	t.Cleanup(func() { r.abandon(t) })
	if r.run, err = begin(p, o); err != nil {
		t.Fatal(err)
	}
	r.through(SectionPrepare)
	if r.run.err != nil {
		r.finish()
		t.Fatal(r.notCarriedOut())
	}
	return context.WithValue(ctx, featureKey{}, r)
}

// fill sets what a test need not say.
func (o *Options) fill(test string, out *testOutput) {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(out, nil))
	}
	if o.Progress == nil {
		o.Progress = out
	}
	if o.Cleanup == nil {
		o.Cleanup = &cleanup.Stack{}
	}
	if o.Tool == "" {
		o.Tool = Version()
	}
	if o.Command == "" {
		o.Command = "go test: " + test
	}
	if o.Host.OS == "" {
		o.Host = ThisHost()
	}
}

// toReport is how long judging and the reports may take at the end.
const toReport = 5 * time.Second

// beforeDeadline ends the context so long before go test's -timeout, which kills
// the process, that what was created can be removed.
func beforeDeadline(ctx context.Context, t *testing.T, p *RunPlan, d cluster.Driver) (context.Context, context.CancelFunc, error) {
	end, ok := t.Deadline()
	if !ok {
		return ctx, func() {}, nil
	}
	reserve := 2*estimates(d)(cluster.OpDelete) + toReport
	if need, left := p.Expected()+reserve, time.Until(end); left < need {
		return nil, nil, fmt.Errorf("the rehearsal takes about %s, and go test ends in %s: give it a longer -timeout; nothing was created", need.Round(time.Second), left.Round(time.Second))
	}
	ctx, stop := context.WithDeadlineCause(ctx, end.Add(-reserve), errors.New("go test's -timeout is near"))
	return ctx, stop, nil
}

// rehearsing is one carrying-out of a feature.
type rehearsing struct {
	plan    *RunPlan
	run     *runner
	out     *testOutput
	cleanup *cleanup.Stack
	// ctx is the environment's as the setup was given it, until interrupt is called
	// or the deadline is near.
	ctx              context.Context
	interrupt        context.CancelCauseFunc
	stop             func()
	skipInconclusive bool

	ended  bool
	result *Result
	err    error // why the record is not whole
}

// through carries out the plan up to the last entry of the sections.
func (r *rehearsing) through(sections ...string) {
	if r.ended {
		return
	}
	for n := len(r.plan.Entries); n > 0; n-- {
		if slices.Contains(sections, r.plan.Entries[n-1].Section) {
			r.run.steps(r.ctx, n)
			return
		}
	}
}

// finish carries out what is left of the plan.
func (r *rehearsing) finish() {
	if r.ended {
		return
	}
	r.ended = true
	r.run.steps(r.ctx, len(r.plan.Entries))
	r.result, r.err = r.run.finish(r.ctx)
}

var errTestOver = errors.New("the test ended before the rehearsal")

// abandon ends what is not at its end, and tells what is left. It may be called
// again.
func (r *rehearsing) abandon(t *testing.T) {
	if r.stop == nil {
		return
	}
	if r.run != nil && !r.ended {
		r.interrupt(errTestOver)
		r.finish()
		t.Error(r.notCarriedOut())
	}
	r.stop()
	r.stop = nil
	for _, left := range r.cleanup.Left() {
		t.Errorf("left behind: %s; delete it with: %s", left.What, left.How)
	}
	if r.result != nil {
		for _, kept := range r.result.Kept {
			t.Logf("kept: %s; delete it with: %s", kept.What, kept.How)
		}
	}
	r.out.close()
}

// notCarriedOut says why there is no verdict on the upgrade; nil where there is.
func (r *rehearsing) notCarriedOut() error {
	switch {
	case r.err != nil:
		return r.err
	case r.result.Err != nil:
		return fmt.Errorf("the rehearsal could not be carried out: %w\nThe record is in %s", r.result.Err, r.result.Dir)
	}
	return nil
}

// undecided tells of what lacks evidence.
func (r *rehearsing) undecided(t *testing.T, explain string) {
	t.Helper()
	if r.skipInconclusive {
		t.Skipf("%s: %s", judge.Inconclusive, explain)
	}
	t.Errorf("%s: %s", judge.Inconclusive, explain)
}
