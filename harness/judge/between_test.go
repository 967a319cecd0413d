package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func laneCriteria(lanes ...string) []scenarios.Criterion {
	t := scenarios.Default().Thresholds
	return t.LaneCriteria(lanes)
}

// Two records without phases are compared as Compare compares them.
func TestBetweenIsCompareOfWhatBothHold(t *testing.T) {
	a, b := recorded(1), recorded(2)
	v, err := judge.Compare(a, b, laneCriteria("new"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := judge.Between(a, b, judge.PartUpgrade, laneCriteria("new"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range got {
		ids = append(ids, c.ID)
		want := criterion(t, v, c.ID)
		if c.Result != want.Result || c.Samples != want.Samples || *c.Estimate != *want.Estimate {
			t.Errorf("%s: %s %v %v, by Compare %s %v %v", c.ID, c.Result, *c.Estimate, c.Samples, want.Result, *want.Estimate, want.Samples)
		}
	}
	if want := []string{"errors/new", "p50/new", "p99/new"}; !cmp.Equal(ids, want) {
		t.Errorf("criteria %v, want %v", ids, want)
	}
}

// Of two rehearsals like is compared with like: an upgrade that fails as the
// other did is no worse, and a slower baseline is seen in the baseline.
func TestBetweenComparesLikeWithLike(t *testing.T) {
	run := func(seed uint64, faults ...synth.Fault) *record.Record {
		r := synth.Record(synth.Options{
			Seed: seed, Lanes: []string{"new"}, Upgrade: 60 * sec, Faults: append(faults, synth.Fault{Start: 20 * sec, Length: 3 * sec}),
		})
		r.Run.ID = strings.Repeat("a", int(seed))
		for i := range r.Run.Lanes {
			r.Run.Lanes[i].Target += r.Run.ID // another cluster
		}
		return r
	}
	slow := synth.Fault{Kind: synth.SlowBody, Factor: 2, Start: -time.Hour, Length: 2 * time.Hour}
	for _, part := range []string{judge.PartBaseline, judge.PartUpgrade} {
		for _, x := range []struct {
			b      *record.Record
			slower bool
		}{{run(2), false}, {run(2, slow), true}} {
			got, err := judge.Between(run(1), x.b, part, laneCriteria("new"))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range got {
				if want := x.slower && strings.HasPrefix(c.ID, "p"); (c.Result == judge.Fail) != want {
					t.Errorf("%s, slower %t: %s is %s: %s", part, x.slower, c.ID, c.Result, c.Explain)
				}
			}
		}
	}
}

func TestBetweenRefuses(t *testing.T) {
	other := recorded(2)
	other.Run.Lanes = append([]record.Lane(nil), other.Run.Lanes...)
	other.Run.Lanes[0].Rate = 200
	if _, err := judge.Between(recorded(1), other, judge.PartUpgrade, nil); err == nil || err.Error() != "lane new: 100 requests a second in the first run and 200 in the second run: record both at the same rate" {
		t.Errorf("another rate: %v", err)
	}
	if _, err := judge.Between(recorded(1), recorded(2), "warmup", nil); err == nil || err.Error() != `part "warmup" of a record is unknown; accepted: baseline, upgrade` {
		t.Errorf("another part: %v", err)
	}
	empty := &record.Record{}
	if got, err := judge.Between(empty, empty, judge.PartBaseline, laneCriteria("new")); err != nil || len(got) != 3 || got[0].Result != judge.Undecided {
		t.Errorf("two empty records: %v, %v", got, err)
	}
}
