package rehearsal

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/interruption"
	"github.com/kube-rehearse/rehearse/test/recompute"
)

// resumable is small, since it is carried out dozens of times.
const resumable = `
apiVersion: rehearse/v1alpha1
scenarios:
- name: resumable
  cluster: {driver: sim, controlPlanes: 1, workers: 2}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {replicas: 3, shutdownDelay: 10s}
  load: {rate: 20, lanes: [new], warmup: 1s, baseline: 5s, settle: 1s}
  upgrade: {controlPlaneInterval: 0s, nodeInterval: 0s, postDrainDelay: 0s, validations: 1, validationInterval: 100ms}
  thresholds: {p50Increase: off, p99Increase: off, longestOutage: 500ms}
`

// kept is a driver whose clusters outlive the process, as those of containers
// and machines do.
type kept struct{ *sim.Driver }

func (kept) DeleteCommand(s cluster.Spec) string { return "delete " + s.RunID }

// killing is one rehearsal on one driver that is killed in, or right after, a
// step, and gone on with. A kill is what SIGKILL leaves: the files as they are,
// and nobody who would write to them or clean up; only what lives in this
// process has to be stopped, without leaving a trace.
type killing struct {
	quiet
	driver kept
	out    string
	number int // the step
	inside bool

	dir string // of the run, once it has begun

	extend func(*harness.RunPlan) // the plan, where it is not nil
	onKill func()                 // is called first, where it is not nil

	mu     sync.Mutex
	ran    map[int]int // how often each step ran to its end
	env    *step.Env   // of the present process
	dead   bool        // it was killed
	cancel context.CancelCauseFunc
}

func (k *killing) kill() {
	if k.env == nil || k.dead {
		return
	}
	if k.onKill != nil {
		k.onKill()
	}
	env := k.env
	k.dead = true
	_ = env.Dir.Close()
	env.Cleanup.Release()
	k.cancel(errors.New("killed"))
}

// End implements harness.Progress.
func (k *killing) End(e harness.Entry, _ time.Duration, err error, skipped bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && !skipped && !k.dead { // what a killed process still does counts for nothing
		k.ran[e.Number]++
	}
	if e.Number == k.number && !k.inside {
		k.kill()
	}
}

// watched runs a step of the plan and kills the run inside it.
type watched struct {
	step.Step
	k      *killing
	number int
}

func (w watched) Run(ctx context.Context, env *step.Env) error { return w.do(ctx, env, w.Step.Run) }

func (w watched) Redo(ctx context.Context, env *step.Env) error {
	if s, ok := w.Step.(step.Redoer); ok {
		return w.do(ctx, env, s.Redo)
	}
	return w.do(ctx, env, w.Step.Run)
}

func (w watched) Restore(ctx context.Context, env *step.Env) error {
	w.k.lives(env)
	if s, ok := w.Step.(step.Restorer); ok {
		return s.Restore(ctx, env)
	}
	return nil
}

// do runs the step and kills the run in it: as far into it as makes it half
// done, or when its work is done and nothing of that was written yet.
func (w watched) do(ctx context.Context, env *step.Env, run func(context.Context, *step.Env) error) error {
	w.k.lives(env)
	if w.number != w.k.number || !w.k.inside {
		return run(ctx, env)
	}
	t := time.AfterFunc(30*time.Millisecond, w.k.killNow)
	defer t.Stop()
	err := run(ctx, env)
	w.k.killNow()
	return err
}

func (k *killing) lives(env *step.Env) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.env = env
}

func (k *killing) killNow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kill()
}

func (k *killing) plan(t *testing.T, s *scenarios.Scenario) *harness.RunPlan {
	t.Helper()
	p, err := harness.Plan(s, k.driver)
	if err != nil {
		t.Fatal(err)
	}
	if k.extend != nil {
		k.extend(p)
	}
	for i := range p.Entries[:len(p.Entries)-2] { // the last two are the runner's own
		e := &p.Entries[i]
		if h, ok := e.Step.(step.Hold); ok {
			h.For = time.Second
			e.Step = h
		}
		e.Step = watched{Step: e.Step, k: k, number: e.Number}
	}
	return p
}

func (k *killing) options() harness.Options {
	return harness.Options{
		Out: k.out, Tool: "test", Driver: k.driver, Log: slog.New(slog.DiscardHandler), Progress: k, Cleanup: &cleanup.Stack{}, Report: reports.Write,
	}
}

func newKilling(t *testing.T) *killing {
	driver := sim.New(sim.Options{Seed: 7, Scale: 100, Log: slog.New(slog.DiscardHandler)})
	return &killing{driver: kept{driver}, out: t.TempDir(), ran: map[int]int{}}
}

// TestKilledEverywhereAndResumed kills a rehearsal within each of its steps and
// after each, and goes on with it every time.
func TestKilledEverywhereAndResumed(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	s := k.scenario(t)
	steps := k.plan(t, s).Entries
	steps = steps[:len(steps)-1] // judging leaves no step
	kills := 0
	for _, e := range steps {
		for _, inside := range []bool{true, false} {
			if inside && e.Number == len(steps) {
				continue // the tear-down is the runner's own
			}
			k.number, k.inside = e.Number, inside
			if _, err := k.goOn(t, s); err == nil || !strings.Contains(err.Error(), "closed") {
				t.Fatalf("step %d (inside: %v) was not killed: %v", e.Number, inside, err)
			}
			kills++
			killed, err := record.Load(k.dir)
			if err != nil {
				t.Fatalf("the record that the kill at step %d left: %v", e.Number, err)
			}
			if killed.Run.Outcome != record.OutcomeRunning || killed.Complete {
				t.Fatalf("the kill left outcome %s, complete %v", killed.Run.Outcome, killed.Complete)
			}
		}
	}
	k.number = 0
	res, err := k.goOn(t, s)
	if err != nil || res.Err != nil {
		t.Fatalf("resume: %v, %v", err, res)
	}
	checkResumed(t, k, steps, kills, res)
}

// TestKilledOnce is one kill in the baseline, which does not count afterwards,
// and one in the upgrade, which leaves a gap that the verdict speaks of.
func TestKilledOnce(t *testing.T) {
	t.Parallel()
	for _, section := range []string{harness.SectionMeasure, harness.SectionUpgrade} {
		t.Run(section, func(t *testing.T) {
			k := newKilling(t)
			s := k.scenario(t)
			for _, e := range k.plan(t, s).Entries {
				if e.Section == section {
					k.number, k.inside = e.Number, true // the last of the section
				}
			}
			if _, err := k.goOn(t, s); err == nil {
				t.Fatal("the run was not killed")
			}
			k.number = 0
			res, err := k.goOn(t, s)
			if err != nil || res.Err != nil {
				t.Fatalf("resume: %v, %v", err, res)
			}
			upgrade := section == harness.SectionUpgrade
			if anew := res.Record.Run.Interruptions[0].Anew; anew == upgrade {
				t.Errorf("measured anew: %v", anew)
			}
			if upgrade {
				interruption.Check(t, res.Verdict)
			} else if strings.Contains(res.Verdict.Summary, "interrupted") {
				t.Errorf("verdict %s: %s", res.Verdict.Outcome, res.Verdict.Summary)
			}
		})
	}
}

func (k *killing) scenario(t *testing.T) *scenarios.Scenario {
	t.Helper()
	f, err := scenarios.Parse("resumable.yaml", []byte(resumable))
	if err != nil {
		t.Fatal(err)
	}
	return &f.Scenarios[0]
}

// goOn is one process: it begins the run, or goes on with it.
func (k *killing) goOn(t *testing.T, s *scenarios.Scenario) (*harness.Result, error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	k.mu.Lock()
	k.cancel, k.env, k.dead = cancel, nil, false
	k.mu.Unlock()
	o := k.options()
	if k.dir == "" {
		o.Begun = func(d string) { k.dir = d }
		return harness.Run(ctx, k.plan(t, s), o)
	}
	i, err := harness.Reopen(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	return harness.Resume(ctx, i, k.plan(t, i.Scenario), o)
}

func checkResumed(t *testing.T, k *killing, steps []harness.Entry, kills int, res *harness.Result) {
	t.Helper()
	for _, e := range steps {
		// What was measured before the upgrade began is measured again.
		if n := k.ran[e.Number]; n != 1 && e.Section != harness.SectionMeasure {
			t.Errorf("step %d, %s, was carried out %d times", e.Number, e.Description, n)
		}
	}
	run := res.Record.Run
	if len(run.Steps) != len(steps) || run.Outcome != record.OutcomePassed || !res.Record.Complete || len(run.Interruptions) != kills {
		t.Errorf("%d of %d steps, outcome %s, complete %v, %d interruptions of %d", len(run.Steps), len(steps), run.Outcome, res.Record.Complete, len(run.Interruptions), kills)
	}
	for n, s := range run.Steps {
		if s.Number != n+1 || s.Outcome != record.OutcomePassed {
			t.Errorf("step %d: number %d, %s %s", n+1, s.Number, s.Outcome, s.Error)
		}
	}
	last := int64(0)
	for _, i := range run.Interruptions {
		if i.AtNS < last || i.ResumedNS < i.AtNS {
			t.Errorf("interruption %+v after %d ns", i, last)
		}
		last = i.ResumedNS
	}
	versions := map[string]int{}
	for _, n := range res.Record.After.Nodes {
		versions[n.KubeletVersion]++
		if n.Unschedulable || !n.Ready {
			t.Errorf("node %s is left cordoned or not Ready: %+v", n.Name, n)
		}
	}
	if diff := cmp.Diff(map[string]int{"v1.35.4": 3}, versions); diff != "" || run.Versions.After != "v1.35.4" {
		t.Errorf("versions after: API server %s, kubelets (-want +got):\n%s", run.Versions.After, diff)
	}
	if _, err := k.driver.Attach(t.Context(), cluster.Spec{RunID: run.ID}); err == nil {
		t.Error("the cluster was not removed")
	}
	if res.Verdict.Outcome == judge.Go {
		t.Error("GO, with gaps in the upgrade")
	}
	recompute.Check(t, res.Dir)
}
