package cli

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/prove"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// fixedBed has one clean run and one fault, and always the same outcome.
type fixedBed struct {
	outcome judge.Outcome
	err     error
}

func (fixedBed) Driver() string { return "fixed" }
func (fixedBed) Width() int     { return 1 }

func (fixedBed) Faults() []prove.Fault {
	return []prove.Fault{
		{Name: "clean", What: "nothing", Clean: true, Expect: prove.Expect{Outcomes: []judge.Outcome{judge.Go, judge.NoGo}}},
		{Name: "broken", What: "something breaks", Expect: prove.Expect{Outcomes: []judge.Outcome{judge.NoGo}}},
	}
}

func (b fixedBed) Rehearse(context.Context, string, string) (prove.Trial, string, error) {
	return prove.Trial{Record: &record.Record{}, Verdict: judge.Verdict{Outcome: b.outcome, Summary: "So."}}, "", b.err
}

func TestProveBeforeARun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, told bytes.Buffer
	p, err := proveOn(t.Context(), Streams{Out: &out, Err: &told}, fixedBed{outcome: judge.NoGo})
	if err != nil || len(p.Rows) != 2 || out.Len() > 0 {
		t.Fatalf("%v, %+v, standard output %q", err, p, out.String())
	}
	want := regexp.MustCompile(`^Proving first that the gate works: 2 rehearsals on fixed, of planted faults and of clean upgrades\.
\d\d:\d\d:\d\d   1/2 clean: nothing
\d\d:\d\d:\d\d ✓  1/2 clean, 0 s: NO-GO
\d\d:\d\d:\d\d   2/2 broken: something breaks
\d\d:\d\d:\d\d ✓  2/2 broken, 0 s: NO-GO
The gate is proven: 1 of 1 planted fault found, 1 of 1 clean run passed, on fixed, in .*\.
$`)
	if !want.MatchString(told.String()) {
		t.Errorf("told:\n%s", told.String())
	}
}

// TestMissedFaultEndsTheRun refuses to rehearse behind a gate that let a fault
// through.
func TestMissedFaultEndsTheRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, told bytes.Buffer
	_, err := proveOn(t.Context(), Streams{Out: &out, Err: &told}, fixedBed{outcome: judge.Go})
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != ExitFailed || err.Error() != "nothing was rehearsed, because the gate is not proven on this machine: it missed broken; the table above says why" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"again, alone: broken\n", "✗ MISSED  broken", "The verdict is GO and not NO-GO: So."} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("told without %q:\n%s", want, told.String())
		}
	}
	if out.Len() > 0 {
		t.Errorf("standard output %q", out.String())
	}
}

// leavingBed cannot delete its cluster.
type leavingBed struct{ fixedBed }

func (leavingBed) Close(context.Context) error {
	return errors.New("the cluster could not be deleted; delete it with: docker rm x")
}

// TestInterruptedProofSaysWhatIsLeft must not say that all was removed.
func TestInterruptedProofSaysWhatIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	var out, told bytes.Buffer
	_, err := runProof(ctx, Streams{Out: &out, Err: &told}, leavingBed{fixedBed{outcome: judge.Go}}, prove.Options{})
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != ExitInterrupted || err.Error() != "interrupted; the cluster could not be deleted; delete it with: docker rm x" {
		t.Errorf("error %v", err)
	}
}
