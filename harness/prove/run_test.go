package prove

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// fakeBed rehearses in a second and gives each fault the outcomes in turn.
type fakeBed struct {
	faults   []Fault
	width    int
	outcomes map[string][]judge.Outcome

	mu        sync.Mutex
	now, most int
	order     []string
	alongside map[string]int
}

func (b *fakeBed) Driver() string  { return "fake" }
func (b *fakeBed) Faults() []Fault { return b.faults }
func (b *fakeBed) Width() int      { return b.width }

func (b *fakeBed) Rehearse(ctx context.Context, name, out string) (Trial, string, error) {
	b.mu.Lock()
	b.now++
	b.most = max(b.most, b.now)
	b.order = append(b.order, name)
	b.alongside[name] = max(b.alongside[name], b.now)
	list := b.outcomes[name]
	outcome := list[0]
	b.outcomes[name] = list[1:]
	dir := filepath.Join(out, name+strings.Repeat("-again", len(b.order)/100))
	b.mu.Unlock()
	defer func() { b.mu.Lock(); b.now--; b.mu.Unlock() }()
	select {
	case <-ctx.Done():
		return Trial{}, "", context.Cause(ctx)
	case <-time.After(time.Second):
	}
	if outcome == "" {
		return Trial{}, "", errors.New("no room")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Trial{}, "", err
	}
	return Trial{Record: &record.Record{}, Verdict: judge.Verdict{Outcome: outcome, Summary: "So."}}, dir, nil
}

func newFake(width int, outcomes map[string][]judge.Outcome, faults ...Fault) *fakeBed {
	for i := range faults {
		faults[i].Expect.Outcomes = []judge.Outcome{judge.NoGo}
	}
	return &fakeBed{faults: faults, width: width, outcomes: outcomes, alongside: map[string]int{}}
}

func TestRun(t *testing.T) {
	no, inc := judge.NoGo, judge.Inconclusive
	out := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		bed := newFake(2, map[string][]judge.Outcome{"a": {no}, "b": {inc, no}, "c": {no}, "d": {inc, inc}, "e": {"", ""}},
			Fault{Name: "a", Takes: 1}, Fault{Name: "b", Takes: 3}, Fault{Name: "c", Alone: true}, Fault{Name: "d", Takes: 2}, Fault{Name: "e", Takes: 1})
		var ended []string
		p, err := Run(t.Context(), bed, Options{Out: out, Tool: "test", End: func(f Fault, _ record.ProofOfOne, _ time.Duration) { ended = append(ended, f.Name) }})
		if err != nil {
			t.Fatal(err)
		}
		want := []record.ProofOfOne{
			{Fault: "a", Expected: "NO-GO", Verdict: "NO-GO", Found: true, Attempts: 1, Record: filepath.Join(out, "a")},
			{Fault: "b", Expected: "NO-GO", Verdict: "NO-GO", Found: true, Attempts: 2, First: []string{"The verdict is INCONCLUSIVE and not NO-GO: So."}, Record: filepath.Join(out, "b")},
			{Fault: "c", Expected: "NO-GO", Verdict: "NO-GO", Found: true, Attempts: 1, Record: filepath.Join(out, "c")},
			{Fault: "d", Expected: "NO-GO", Verdict: "INCONCLUSIVE", WhyNot: []string{"The verdict is INCONCLUSIVE and not NO-GO: So."}, Attempts: 2, First: []string{"The verdict is INCONCLUSIVE and not NO-GO: So."}, Record: filepath.Join(out, "d")},
			{Fault: "e", Expected: "NO-GO", WhyNot: []string{"The rehearsal could not be carried out: no room."}, Attempts: 2, First: []string{"The rehearsal could not be carried out: no room."}},
		}
		if diff := cmp.Diff(want, p.Rows); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if p.Driver != "fake" || p.Tool != "test" || p.Partial || len(p.Missed()) != 2 {
			t.Errorf("proof of %q by %q, partial %t, %d missed", p.Driver, p.Tool, p.Partial, len(p.Missed()))
		}
		if bed.most != 2 || bed.alongside["c"] != 1 {
			t.Errorf("%d went on at once, want 2; beside c were %d, want none", bed.most, bed.alongside["c"]-1)
		}
		// Longest first, then those alone, then what is tried again.
		got := strings.Join(bed.order, "")
		if rest := strings.TrimPrefix(strings.TrimPrefix(got, "bd"), "db"); rest != "aecbde" && rest != "eacbde" || len(ended) != 8 {
			t.Errorf("order %s, %d ended", got, len(ended))
		}
	})
}

func TestRunKeepsOnlyWhatWasMissed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	bed := newFake(1, map[string][]judge.Outcome{"a": {judge.NoGo}, "b": {judge.Go, judge.Go}}, Fault{Name: "a"}, Fault{Name: "b"})
	p, err := Run(t.Context(), bed, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Rows[0].Record != "" || p.Rows[1].Record == "" {
		t.Fatalf("records %q and %q", p.Rows[0].Record, p.Rows[1].Record)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "rehearse-prove-*", "*"))
	if diff := cmp.Diff([]string{p.Rows[1].Record}, left); err != nil || diff != "" {
		t.Errorf("what is left (-want +got), %v:\n%s", err, diff)
	}
}

func TestRunInterrupted(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	bed := newFake(1, map[string][]judge.Outcome{"a": {judge.NoGo}, "b": {judge.NoGo}}, Fault{Name: "a"}, Fault{Name: "b"})
	_, err := Run(ctx, bed, Options{Out: t.TempDir(), Begin: func(Fault, int) { cancel(stop) }})
	if !errors.Is(err, stop) || len(bed.order) != 1 {
		t.Errorf("got %v after %v", err, bed.order)
	}
}

func TestPick(t *testing.T) {
	table := []Fault{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	got, err := Pick(table, []string{"c", "a"})
	if err != nil || len(got) != 2 || got[0].Name != "a" || got[1].Name != "c" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = Pick(table, []string{"a", "x"})
	if err == nil || err.Error() != `no fault is called "x"; accepted: a, b, c` {
		t.Errorf("error %v", err)
	}
}
