package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// A feature that fails must fail a test: what it does then is seen from outside,
// by running this test binary again with one case.
const featureCase = "REHEARSE_FEATURE_CASE"

// quick is a driver whose work takes no time.
type quick struct{ bare }

func (quick) Estimate(cluster.Operation) time.Duration { return 0 }

// makes registers a cluster and says when it is deleted.
func makes(_ context.Context, e *step.Env) error {
	e.Cleanup.Add(cleanup.Entry{What: "cluster x", How: "delete x", Undo: func(context.Context) error { fmt.Println("DELETED"); return nil }})
	return nil
}

func fails(context.Context, *step.Env) error { return errors.New("it broke") }

func waits(ctx context.Context, _ *step.Env) error { <-ctx.Done(); return context.Cause(ctx) }

func says(word string) func(context.Context, *step.Env) error {
	return func(context.Context, *step.Env) error { fmt.Println(word); return nil }
}

func TestFeatureChild(t *testing.T) {
	name := os.Getenv(featureCase)
	if name == "" {
		return
	}
	o := FeatureOptions{Options: Options{Driver: quick{}, Out: t.TempDir(), Report: func(string, *record.Record, judge.Verdict) error { return nil }}}
	cfg, ctx := envconf.New(), t.Context()
	create, upgrade := makes, says("UPGRADED")
	switch name {
	case "skipping":
		o.SkipInconclusive = true
	case "create fails":
		create = func(ctx context.Context, e *step.Env) error { return errors.Join(makes(ctx, e), fails(ctx, e)) }
	case "upgrade fails":
		upgrade = fails
	case "upgrade fails, fail-fast":
		upgrade, cfg = fails, cfg.WithFailFast()
	case "panic":
		upgrade = func(context.Context, *step.Env) error { panic("a mistake") }
	case "interrupted":
		c, cancel := context.WithCancelCause(ctx)
		ctx = c
		upgrade = func(ctx context.Context, e *step.Env) error { cancel(errors.New("a signal")); return waits(ctx, e) }
	case "deadline":
		upgrade = waits
	case "kept":
		o.KeepCluster = true
	}
	f := &feature{o: o, criteria: []scenarios.Criterion{{ID: "outage/new"}, {ID: "versions"}}, plan: func() (*RunPlan, error) {
		p := fakePlan(t,
			entry(SectionPrepare, "create", create),
			entry(SectionMeasure, "baseline", says("MEASURED")),
			entry(SectionUpgrade, "upgrade", upgrade),
			entry(SectionJudge, "settle", nil),
		)
		p.NothingToDo = name == "nothing to do"
		return p, nil
	}}
	e, err := env.NewWithContext(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.AfterEachFeature(func(ctx context.Context, _ *envconf.Config, _ *testing.T, _ features.Feature) (context.Context, error) {
		fmt.Println("RESULT", FeatureResult(ctx).Record.Run.Outcome)
		return ctx, nil
	})
	e.Test(t, f.steps(features.New("rehearse x")))
}

// carryOut runs a case and returns what it printed.
func carryOut(t *testing.T, name string, args ...string) (out string, passed bool) {
	t.Helper()
	if !strings.HasPrefix(strings.Join(args, " "), "-test.run") {
		args = append([]string{"-test.run=^TestFeatureChild$"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.v", "-test.timeout=1m"}, args...)...)
	cmd.Env = append(os.Environ(), featureCase+"="+name, "GOCOVERDIR="+t.TempDir())
	b, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), err == nil
}

func TestFeature(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   []string
		passes bool
		want   []string
		none   []string
	}{
		{name: "inconclusive", want: []string{
			"✓  1. create", "MEASURED", "UPGRADED", "DELETED", "RESULT passed",
			"--- FAIL: TestFeatureChild/rehearse_x", "--- PASS: TestFeatureChild/rehearse_x/measure", "--- PASS: TestFeatureChild/rehearse_x/upgrade", "--- PASS: TestFeatureChild/rehearse_x/check",
			"--- FAIL: TestFeatureChild/rehearse_x/outage/new", "--- FAIL: TestFeatureChild/rehearse_x/versions", "--- FAIL: TestFeatureChild/rehearse_x/validity", "--- FAIL: TestFeatureChild/rehearse_x/verdict",
		}},
		{name: "skipping", passes: true, want: []string{
			"DELETED", "--- PASS: TestFeatureChild/rehearse_x/upgrade", "--- SKIP: TestFeatureChild/rehearse_x/outage/new", "--- SKIP: TestFeatureChild/rehearse_x/verdict",
		}, none: []string{"--- FAIL"}},
		{name: "create fails", want: []string{
			"DELETED", "the rehearsal could not be carried out: step 1, create: it broke\n", "The record is in ",
		}, none: []string{"UPGRADED", "MEASURED", "rehearse_x/"}},
		{name: "upgrade fails", want: []string{
			"DELETED", "step 3, upgrade: it broke\n", "log: logs/FAILED-03-upgrade.log", "NO-GO: ", "RESULT failed",
			"--- PASS: TestFeatureChild/rehearse_x/measure", "--- FAIL: TestFeatureChild/rehearse_x/upgrade", "--- PASS: TestFeatureChild/rehearse_x/check", "--- FAIL: TestFeatureChild/rehearse_x/others/upgrade", "--- FAIL: TestFeatureChild/rehearse_x/verdict",
		}, none: []string{"the rehearsal could not be"}},
		{name: "upgrade fails, fail-fast", want: []string{"step 3, upgrade: it broke\n", "DELETED"}, none: []string{"rehearse_x/outage"}},
		{name: "panic", want: []string{"DELETED", "panic: a mistake"}},
		{name: "interrupted", want: []string{
			"DELETED", "step 3, upgrade: a signal\n", "the rehearsal could not be carried out: step 3, upgrade: a signal\n", "RESULT interrupted",
			"--- FAIL: TestFeatureChild/rehearse_x/upgrade", "--- SKIP: TestFeatureChild/rehearse_x/outage/new", "--- FAIL: TestFeatureChild/rehearse_x/verdict",
		}},
		{name: "deadline", args: []string{"-test.timeout=8s"}, want: []string{"DELETED", "step 3, upgrade: go test's -timeout is near\n"}, none: []string{"panic"}},
		{name: "no time", args: []string{"-test.timeout=4s"}, want: []string{
			"the rehearsal takes about 5s, and go test ends in 4s: give it a longer -timeout; nothing was created",
		}, none: []string{"DELETED"}},
		{name: "nothing to do", passes: true, want: []string{"from and to are both v1.35.4: nothing to do", "--- SKIP: TestFeatureChild/rehearse_x"}, none: []string{"create"}},
		{name: "kept", want: []string{"kept: cluster x; delete it with: delete x"}, none: []string{"DELETED"}},
		// One assessment alone needs the whole rehearsal.
		{name: "chosen", args: []string{"-test.run=^TestFeatureChild$/rehearse_x/outage/new"}, want: []string{"MEASURED", "UPGRADED", "DELETED", "--- FAIL: TestFeatureChild/rehearse_x/outage/new"}, none: []string{"rehearse_x/verdict"}},
		// None at all is an upgrade that was not rehearsed.
		{name: "none chosen", args: []string{"-test.run=^TestFeatureChild$/rehearse_x/nonesuch"}, want: []string{"DELETED", "the test ended before the rehearsal", "--- FAIL"}, none: []string{"UPGRADED"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, passed := carryOut(t, tc.name, tc.args...)
			if passed != tc.passes {
				t.Errorf("passed: %t", passed)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("lacks: %q", want)
				}
			}
			for _, none := range tc.none {
				if strings.Contains(out, none) {
					t.Errorf("has: %q", none)
				}
			}
			if n := strings.Count(out, "DELETED"); n > 1 {
				t.Errorf("deleted %d times", n)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

func TestFeatureIsAsItsScenario(t *testing.T) {
	s := scenario(t, "quickstart")
	f := Feature(s, FeatureOptions{Labels: features.Labels{"team": {"shop"}, "driver": {"any"}}})
	if f.Name() != "rehearse quickstart" {
		t.Errorf("name %q", f.Name())
	}
	if got, want := fmt.Sprint(f.Labels()), "map[driver:[sim any] from:[v1.34.4] scenario:[quickstart] team:[shop] to:[v1.35.4]]"; got != want {
		t.Errorf("labels %s, want %s", got, want)
	}
	var got []string
	for _, s := range features.GetStepsByLevel(f.Steps(), features.LevelAssess) {
		got = append(got, s.Name())
	}
	want := "measure upgrade check versions outage/new success/new errors/new p50/new p99/new outage/reused"
	if !strings.HasPrefix(strings.Join(got, " "), want) || !strings.HasSuffix(strings.Join(got, " "), " component/etcd others validity verdict") {
		t.Errorf("assessments %s", got)
	}
}

func TestFeatureSaysWhatIsMissing(t *testing.T) {
	s := scenario(t, "kind")
	report := func(string, *record.Record, judge.Verdict) error { return nil }
	auto := *s
	auto.Upgrade.Interval = &scenarios.Interval{Auto: true}
	for _, tc := range []struct {
		s    *scenarios.Scenario
		o    Options
		want string
	}{
		{s, Options{}, `^FeatureOptions.Driver is not set: `},
		{s, Options{Driver: able{}}, `^FeatureOptions.Out is not set: `},
		{s, Options{Driver: able{}, Out: "runs"}, `^FeatureOptions.Report is not set: give reports.Write$`},
		{&auto, Options{Driver: able{}, Out: "runs", Report: report}, `^scenario kind: upgrade.interval: auto takes several rehearsals, and a feature is one: give an interval$`},
		{s, Options{Driver: bare{}, Out: "runs", Report: report}, `^scenario kind: cluster.driver: kind cannot carry out the strategy in-place: `},
	} {
		_, err := (&FeatureOptions{Options: tc.o}).planOf(tc.s)
		if err == nil || !regexp.MustCompile(tc.want).MatchString(err.Error()) {
			t.Errorf("error %v, want %s", err, tc.want)
		}
	}
}

// TestOutputAfterTheTest drops what is written late.
func TestOutputAfterTheTest(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	o := &testOutput{w: file}
	fmt.Fprint(o, "in time")
	o.close()
	if n, err := fmt.Fprint(o, " too late"); n != 9 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if b, _ := os.ReadFile(file.Name()); string(b) != "in time" {
		t.Errorf("written: %q", b)
	}
}
