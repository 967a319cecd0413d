package harness

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// section carries a section out and fails with the steps that failed in it. One
// that an earlier failure left out is skipped.
func (r *rehearsing) section(t *testing.T, sections ...string) {
	r.through(sections...)
	carriedOut := false
	for _, s := range r.run.run.Steps {
		if !slices.Contains(sections, s.Section) || s.Outcome == record.OutcomeSkipped {
			continue
		}
		if e := r.plan.Entries[s.Number-1]; !ownWork(e) {
			carriedOut = true
		}
		if s.Outcome != record.OutcomePassed {
			t.Errorf("step %d, %s: %s\nlog: %s", s.Number, s.Description, s.Error, s.Log)
		}
	}
	if r.err != nil {
		t.Error(r.err)
	}
	if !carriedOut && !t.Failed() {
		t.Skip("not carried out: an earlier step failed")
	}
}

// mustJudge carries out what is left, and skips the test where the upgrade was
// not judged: AssessVerdict says why.
func (r *rehearsing) mustJudge(t *testing.T) {
	t.Helper()
	if r.finish(); r.notCarriedOut() != nil {
		t.Skip("not judged: the rehearsal was not carried out")
	}
}

func (r *rehearsing) criterion(t *testing.T, id string) {
	r.mustJudge(t)
	for _, c := range r.result.Verdict.Criteria {
		if c.ID == id {
			r.tell(t, c)
			return
		}
	}
	t.Errorf("the verdict lacks the criterion %s", id)
}

// others are the judge's own criteria.
func (r *rehearsing) others(t *testing.T, criteria []scenarios.Criterion) {
	r.mustJudge(t)
	for _, c := range r.result.Verdict.Criteria {
		if !slices.ContainsFunc(criteria, func(x scenarios.Criterion) bool { return x.ID == c.ID }) {
			t.Run(c.ID, func(t *testing.T) { r.tell(t, c) })
		}
	}
}

func (r *rehearsing) tell(t *testing.T, c judge.Criterion) {
	t.Helper()
	switch c.Result {
	case judge.Pass:
		t.Log(c.Explain)
	case judge.Fail:
		t.Error(c.Explain)
	case judge.Reported:
		t.Skip("measured, not judged:", c.Explain)
	default:
		r.undecided(t, c.Explain)
	}
}

// validity tells what was wrong with the measurement: a failure only where the
// verdict hangs on it.
func (r *rehearsing) validity(t *testing.T) {
	r.mustJudge(t)
	for _, v := range r.result.Verdict.Validity {
		t.Run(strings.TrimSpace(v.Rule+" "+v.Lane), func(t *testing.T) {
			switch {
			case v.Result == judge.Pass || v.Result == judge.Reported:
				t.Log(v.Explain)
			case r.result.Verdict.Outcome == judge.Inconclusive:
				r.undecided(t, v.Explain)
			default:
				t.Skip("not kept, and the verdict stands without what it left out:", v.Explain)
			}
		})
	}
}

func (r *rehearsing) verdict(t *testing.T) {
	r.finish()
	if err := r.notCarriedOut(); err != nil {
		t.Error(err)
		return
	}
	v := r.result.Verdict
	text := fmt.Sprintf("%s\nThe record and its reports are in %s", v.Summary, r.result.Dir)
	switch v.Outcome {
	case judge.Go:
		t.Logf("%s: %s", v.Outcome, text)
	case judge.NoGo:
		t.Errorf("%s: %s", v.Outcome, text)
	default:
		r.undecided(t, text)
	}
}

// testOutput is a test's output until the test ends: what is written later, by
// what outlives it, is dropped instead of ending the process.
type testOutput struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (o *testOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w == nil {
		return len(b), nil
	}
	return o.w.Write(b)
}

func (o *testOutput) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = nil
}

// Start implements Progress.
func (*testOutput) Start(Entry, int) {}

// End implements Progress.
func (o *testOutput) End(e Entry, took time.Duration, err error, skipped bool) {
	switch {
	case skipped:
		fmt.Fprintf(o, "- %2d. %s: skipped\n", e.Number, e.Description)
	case err != nil:
		fmt.Fprintf(o, "✗ %2d. %s, %s: %v\n", e.Number, e.Description, took.Round(time.Second), err)
	default:
		fmt.Fprintf(o, "✓ %2d. %s, %s\n", e.Number, e.Description, took.Round(time.Second))
	}
}
