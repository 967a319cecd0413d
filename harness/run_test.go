package harness

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
)

// fakeStep is a step whose work is a function.
type fakeStep struct {
	name string
	run  func(ctx context.Context, env *step.Env) error
}

func (s fakeStep) Describe() string { return s.name }

func (s fakeStep) Run(ctx context.Context, env *step.Env) error {
	if s.run == nil {
		return nil
	}
	return s.run(ctx, env)
}

// tracker is a Progress that remembers.
type tracker struct{ lines []string }

func (p *tracker) Start(Entry, int) {}

func (p *tracker) End(e Entry, _ time.Duration, err error, skipped bool) {
	switch {
	case skipped:
		p.lines = append(p.lines, e.Description+": skipped")
	case err != nil:
		p.lines = append(p.lines, e.Description+": "+err.Error())
	default:
		p.lines = append(p.lines, e.Description+": done")
	}
}

// plan returns a plan of the given entries and the runner's own last two.
func fakePlan(t *testing.T, entries ...Entry) *RunPlan {
	t.Helper()
	p := &RunPlan{Scenario: scenario(t, "kind")}
	entries = append(entries, Entry{Section: SectionJudge, Step: tearDown{}}, Entry{Section: SectionJudge, Step: judgeRecord{}})
	for i, e := range entries {
		e.Number, e.Description = i+1, e.Step.Describe()
		p.Entries = append(p.Entries, e)
	}
	return p
}

func entry(section, name string, run func(ctx context.Context, env *step.Env) error) Entry {
	return Entry{Section: section, Step: fakeStep{name, run}}
}

// creating registers something to be undone, as a step that creates it would.
func creating(undone *bool) func(context.Context, *step.Env) error {
	return func(_ context.Context, env *step.Env) error {
		env.Cleanup.Add(cleanup.Entry{What: "cluster x", How: "delete x", Undo: func(context.Context) error { *undone = true; return nil }})
		return nil
	}
}

func runPlan(ctx context.Context, t *testing.T, p *RunPlan, change func(*Options)) (*Result, []string) {
	t.Helper()
	progress := &tracker{}
	o := Options{
		Out: t.TempDir(), Tool: "test", Driver: bare{}, Log: slog.New(slog.DiscardHandler), Progress: progress, Cleanup: &cleanup.Stack{},
		Report: func(dir string, _ *record.Record, v judge.Verdict) error {
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "verdict.json"), b, 0o644)
		},
	}
	if change != nil {
		change(&o)
	}
	res, err := Run(ctx, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return res, progress.lines
}

func TestFailedPreparationSkipsTheRestAndTearsDown(t *testing.T) {
	undone := false
	res, lines := runPlan(t.Context(), t, fakePlan(t,
		entry(SectionPrepare, "create", creating(&undone)),
		entry(SectionPrepare, "deploy", func(context.Context, *step.Env) error { return errors.New("no image") }),
		entry(SectionUpgrade, "upgrade", nil),
		entry(SectionJudge, "settle", nil),
	), nil)
	want := []string{"create: done", "deploy: no image", "upgrade: skipped", "settle: skipped", "Tear down what was created: done", "Judge the record and write the reports: done"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if !undone {
		t.Error("what was created was not removed")
	}
	if res.Err == nil || res.Err.Error() != "step 2, deploy: no image" || res.Verdict.Outcome != judge.Inconclusive {
		t.Errorf("error %v, verdict %s, want an error that names the step, and INCONCLUSIVE", res.Err, res.Verdict.Outcome)
	}
	run := res.Record.Run
	if run.Outcome != record.OutcomeFailed || run.Failure != "step 2, deploy: no image" || run.Steps[2].Outcome != record.OutcomeSkipped {
		t.Errorf("run.json: outcome %s, failure %q, third step %s", run.Outcome, run.Failure, run.Steps[2].Outcome)
	}
	if got := run.Steps[1].Log; got != "logs/FAILED-02-deploy.log" {
		t.Errorf("log of the failed step is %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(res.Dir, run.Steps[1].Log)); err != nil || !strings.Contains(string(b), "FAILED: no image") {
		t.Errorf("the failed step's log: %q, %v", b, err)
	}
}

// A step that panics ends like one that fails: nothing it created is left, and the
// record is closed.
func TestAPanicTearsDownAndLeavesARecord(t *testing.T) {
	undone := false
	res, lines := runPlan(t.Context(), t, fakePlan(t,
		entry(SectionPrepare, "create", creating(&undone)),
		entry(SectionPrepare, "deploy", func(context.Context, *step.Env) error { panic("no such index") }),
		entry(SectionUpgrade, "upgrade", nil),
	), nil)
	const why = "panic: no such index: a mistake in rehearse, please report it; the step's log says where"
	want := []string{"create: done", "deploy: " + why, "upgrade: skipped", "Tear down what was created: done", "Judge the record and write the reports: done"}
	if diff := cmp.Diff(want, lines); diff != "" || !undone {
		t.Errorf("removed %v, steps (-want +got):\n%s", undone, diff)
	}
	if res.Err == nil || res.Err.Error() != "step 2, deploy: "+why || !res.Record.Complete || res.Verdict.Outcome != judge.Inconclusive {
		t.Errorf("error %v, complete %v, verdict %s", res.Err, res.Record.Complete, res.Verdict.Outcome)
	}
	b, err := os.ReadFile(filepath.Join(res.Dir, "logs/FAILED-02-deploy.log"))
	if err != nil || !strings.Contains(string(b), "run_test.go") {
		t.Errorf("the step's log does not say where: %v\n%s", err, b)
	}
}

func TestFailedUpgradeIsMeasuredToTheEndAndIsNoErrorOfTheRun(t *testing.T) {
	undone := false
	res, lines := runPlan(t.Context(), t, fakePlan(t,
		entry(SectionPrepare, "create", creating(&undone)),
		entry(SectionUpgrade, "worker 1", func(context.Context, *step.Env) error { return errors.New("drain blocked") }),
		entry(SectionUpgrade, "worker 2", nil),
		entry(SectionJudge, "check", nil),
	), nil)
	want := []string{"create: done", "worker 1: drain blocked", "worker 2: skipped", "check: done", "Tear down what was created: done", "Judge the record and write the reports: done"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if res.Err != nil || !undone {
		t.Errorf("error %v, removed %v; a failed upgrade is the verdict's business", res.Err, undone)
	}
}

func TestInterruptTearsDownAndLeavesARecord(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	undone := false
	res, lines := runPlan(ctx, t, fakePlan(t,
		entry(SectionPrepare, "create", creating(&undone)),
		entry(SectionUpgrade, "worker 1", func(ctx context.Context, _ *step.Env) error {
			cancel(errors.New("interrupted"))
			<-ctx.Done()
			return context.Cause(ctx)
		}),
		entry(SectionJudge, "check", nil),
	), nil)
	if !undone {
		t.Error("what was created was not removed")
	}
	if lines[2] != "check: skipped" || lines[3] != "Tear down what was created: done" {
		t.Errorf("after the interrupt: %q", lines[2:])
	}
	if got := res.Record.Run.Outcome; got != record.OutcomeInterrupted || res.Verdict.Outcome != judge.Inconclusive {
		t.Errorf("outcome %s, verdict %s", got, res.Verdict.Outcome)
	}
}

func TestKeepClusterKeepsItAndSaysHowToDeleteIt(t *testing.T) {
	undone := false
	res, _ := runPlan(t.Context(), t, fakePlan(t, entry(SectionPrepare, "create", creating(&undone))), func(o *Options) { o.KeepCluster = true })
	if undone || len(res.Kept) != 1 || res.Kept[0].How != "delete x" {
		t.Errorf("removed %v, kept %+v", undone, res.Kept)
	}
}

func TestTearDownThatFailsIsTold(t *testing.T) {
	res, lines := runPlan(t.Context(), t, fakePlan(t, entry(SectionPrepare, "create", func(_ context.Context, env *step.Env) error {
		env.Cleanup.Add(cleanup.Entry{What: "cluster x", How: "delete x", Undo: func(context.Context) error { return errors.New("engine gone") }})
		return nil
	})), nil)
	if lines[1] != "Tear down what was created: cluster x: engine gone" {
		t.Errorf("progress: %q", lines[1])
	}
	if res.Err == nil || !strings.Contains(res.Err.Error(), "cluster x: engine gone") {
		t.Errorf("error %v", res.Err)
	}
}

func TestRunRefusesADirectoryItCannotMake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), fakePlan(t), Options{Out: file, Log: slog.New(slog.DiscardHandler), Progress: &tracker{}, Cleanup: &cleanup.Stack{}})
	if err == nil || !strings.HasSuffix(err.Error(), "name another with --out") {
		t.Errorf("error %v", err)
	}
}

// TestRecordCarriesTheProof keeps what proved the gate before the run.
func TestRecordCarriesTheProof(t *testing.T) {
	proof := &record.Proof{Driver: "sim", Rows: []record.ProofOfOne{{Fault: "bare-pod", Verdict: "NO-GO", Found: true, Attempts: 1}}}
	res, _ := runPlan(t.Context(), t, fakePlan(t, entry(SectionPrepare, "create", nil)), func(o *Options) { o.Proof = proof })
	if diff := cmp.Diff(proof, res.Record.Run.Proof); diff != "" {
		t.Errorf("proof in the record (-want +got):\n%s", diff)
	}
}
