package history_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/history"
)

func TestEnough(t *testing.T) {
	if got := history.Enough(0.95); got != history.EnoughP95 {
		t.Errorf("Enough(0.95) = %d", got)
	}
	if got := history.Enough(0.99); got != history.EnoughP99 {
		t.Errorf("Enough(0.99) = %d", got)
	}
	for _, q := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		n := float64(history.Enough(q))
		if covered := 1 - math.Pow(q, n); covered < history.Confidence {
			t.Errorf("q %g, n %g: covered with %g only", q, n, covered)
		}
		if covered := 1 - math.Pow(q, n-1); covered >= history.Confidence {
			t.Errorf("q %g: one less than %g is enough as well", q, n)
		}
	}
}

// past has n runs whose figure has the values 1/n, 2/n, ... 1.
func past(n int, id string) *history.Past {
	p := &history.Past{}
	for i := range n {
		p.Runs = append(p.Runs, history.Run{Figures: []history.Figure{{ID: "other/new", Found: 7}, {ID: id, Found: float64(i+1) / float64(n)}}})
	}
	return p
}

func TestCompare(t *testing.T) {
	for _, tc := range []struct {
		name   string
		runs   int
		figure history.Figure
		want   string
	}{
		{"none", 0, history.Figure{ID: "p99/new", Unit: "ratio", Found: 9, AtLeast: 8},
			"same-run-baseline P false: p99/new: p99 grew by 900%: judged by the run's own baseline and limits; 0 of 59 earlier runs for a bound, 59 missing."},
		{"one is missing", 58, history.Figure{ID: "p99/new", Unit: "ratio", Found: 9, AtLeast: 8},
			"same-run-baseline P false: p99/new: p99 grew by 900%: judged by the run's own baseline and limits; 58 of 59 earlier runs for a bound, 1 missing."},
		{"enough for P95, and worse", 59, history.Figure{ID: "p99/new", Unit: "ratio", Found: 9, AtLeast: 8},
			"history P95 true: p99/new: p99 grew by 900% (at least 800%), more than the 100% that was the most in 59 earlier runs, an upper bound of their P95 at 95%."},
		{"worse, but not certainly", 59, history.Figure{ID: "p99/new", Unit: "ratio", Found: 1.2, AtLeast: 0.9},
			"history P95 false: p99/new: p99 grew by 120% (at least 90%), not certainly more than the 100% that was the most in 59 earlier runs, an upper bound of their P95 at 95%."},
		{"worse by less than is worth a word", 59, history.Figure{ID: "p99/new", Unit: "ratio", Found: 1.4, AtLeast: 1.3, Slack: 0.4},
			"history P95 false: p99/new: p99 grew by 140% (at least 130%), not certainly more than the 100% that was the most in 59 earlier runs, an upper bound of their P95 at 95%."},
		{"enough for P99", 299, history.Figure{ID: "lost/new", Unit: "ratio", Found: 0.0001, AtLeast: 0.00005},
			"history P99 false: lost/new: 0.01% of the requests were lost (at least 0.005%), not certainly more than the 100% that was the most in 299 earlier runs, an upper bound of their P99 at 95%."},
		{"as bad as the worst", 59, history.Figure{ID: "duration", Unit: "s", Found: 1, AtLeast: 1},
			"history P95 false: The upgrade took 1s, not certainly more than the 1s that was the most in 59 earlier runs, an upper bound of their P95 at 95%."},
		{"an outage", 60, history.Figure{ID: "outage/new", Unit: "ms", Found: 812.5, AtLeast: 812.5},
			"history P95 true: outage/new: the longest outage lasted 812.5 ms, more than the 1 ms that was the most in 60 earlier runs, an upper bound of their P95 at 95%."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := past(tc.runs, tc.figure.ID).Compare([]history.Figure{tc.figure})
			if len(got) != 1 {
				t.Fatalf("%d comparisons", len(got))
			}
			c := got[0]
			text := fmt.Sprintf("%s %s %t: %s", c.Against, max(c.Quantile, "P"), c.Exceeds, c.Explain)
			if diff := cmp.Diff(tc.want, text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (c.Bound == nil) != (tc.runs < 59) || c.Runs != tc.runs {
				t.Errorf("%d runs, bound %v", c.Runs, c.Bound)
			}
		})
	}
}

// An unchanged system exceeds the bound in at most 1 of n+1 runs, and the bound
// is below P95 in at most 5 of 100 histories, whatever the distribution.
func TestBoundHoldsForAnyDistribution(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) float64{
		"normal":      func(r *rand.Rand) float64 { return r.NormFloat64() },
		"heavy tail":  func(r *rand.Rand) float64 { return math.Exp(3 * r.NormFloat64()) },
		"mostly zero": func(r *rand.Rand) float64 { return max(0, r.Float64()-0.9) },
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		const rounds = 4000
		exceeded := 0
		for range rounds {
			p := &history.Past{}
			for range history.EnoughP95 {
				p.Runs = append(p.Runs, history.Run{Figures: []history.Figure{{ID: "p99/new", Found: draw(rng)}}})
			}
			x := draw(rng)
			if p.Compare([]history.Figure{{ID: "p99/new", Found: x, AtLeast: x}})[0].Exceeds {
				exceeded++
			}
		}
		if share := float64(exceeded) / rounds; share > 1.5/60 {
			t.Errorf("%s: exceeded in %g of the rounds, want at most about 1/60", name, share)
		}
	}
}

func TestExplainIsOneLine(t *testing.T) {
	for _, c := range past(59, "p99/new").Compare([]history.Figure{{ID: "p99/new", Unit: "ratio"}}) {
		if strings.Contains(c.Explain, "\n") {
			t.Errorf("%q", c.Explain)
		}
	}
}
