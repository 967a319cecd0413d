package judge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/record"
)

const z975 = 1.959963984540054

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s = %.6g, want %.6g", what, got, want)
	}
}

// TestWilson uses the worked example of Newcombe's paper on single proportions
// (Statistics in Medicine 17 (1998), 857–872, table I): 81 of 263.
func TestWilson(t *testing.T) {
	low, high := wilson(81, 263, z975)
	near(t, "lower", low, 0.2553, 5e-5)
	near(t, "upper", high, 0.3662, 5e-5)
	low, high = wilson(0, 20, z975)
	near(t, "lower of 0/20", low, 0, 0)
	near(t, "upper of 0/20", high, 0.1611, 5e-5)
	low, high = wilson(0, 0, z975)
	near(t, "lower of 0/0", low, 0, 0)
	near(t, "upper of 0/0", high, 1, 0)
}

// TestNewcombe uses the examples of table II of the paper on differences.
func TestNewcombe(t *testing.T) {
	for _, x := range []struct{ e2, n2, e1, n1, lower, upper float64 }{
		{56, 70, 48, 80, 0.0524, 0.3339},
		{9, 10, 3, 10, 0.1705, 0.8090},
		{5, 56, 0, 29, -0.0381, 0.1926},
		{0, 10, 0, 10, -0.2775, 0.2775},
	} {
		low, high := newcombe(x.e1, x.n1, x.e2, x.n2, z975)
		near(t, "lower", low, x.lower, 6e-5)
		near(t, "upper", high, x.upper, 6e-5)
	}
}

// TestNewcombeP holds the p-value to its definition: at its error probability
// the lower bound is the margin.
func TestNewcombeP(t *testing.T) {
	const margin = 0.001
	p := newcombeP(5, 10000, 40, 10000, margin)
	if !(p > 0 && p < 0.05) {
		t.Fatalf("p = %g", p)
	}
	lo, hi := 0.0, 10.0
	for range 100 { // invert the normal tail
		if mid := (lo + hi) / 2; normalTail(mid) > p {
			lo = mid
		} else {
			hi = mid
		}
	}
	low, _ := newcombe(5, 10000, 40, 10000, lo)
	near(t, "lower bound at p", low, margin, 1e-9)
	near(t, "p within the margin", newcombeP(5, 10000, 6, 10000, margin), 1, 0)
	if p := newcombeP(0, 1e6, 5e5, 1e6, 0); p != 0 {
		t.Errorf("p of half of a million failing is %g", p)
	}
}

func TestHolm(t *testing.T) {
	got := holm([]float64{0.01, 0.04, 0.03, 0.005}, 0.05)
	if want := []bool{true, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("rejected %v, want %v", got, want)
	}
	if got := holm(nil, 0.05); len(got) != 0 {
		t.Errorf("rejected %v of nothing", got)
	}
}

func TestOverdispersion(t *testing.T) {
	// p = 0.1; Σ (e−10)²/9 = (100+100+0)/9 over K−1 = 2.
	near(t, "φ", overdispersion([]trial{{0, 100}, {20, 100}, {10, 100}, {0, 0}}), 200.0/9/2, 1e-12)
	near(t, "φ of even blocks", overdispersion([]trial{{10, 100}, {10, 100}}), 1, 0)
	near(t, "φ of no failure", overdispersion([]trial{{0, 100}, {0, 100}}), 1, 0)
	near(t, "φ of one block", overdispersion([]trial{{5, 100}}), 1, 0)
}

func TestMinSamples(t *testing.T) {
	for q, want := range map[float64]uint64{0.5: 5, 0.99: 299, 0.999: 2995} {
		if got := minSamples(q); got != want {
			t.Errorf("minSamples(%g) = %d, want %d", q, got, want)
		}
	}
}

func TestSignificant(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, 1234567: 1234570, 0.000123456789: 0.000123457, -3.14159265: -3.14159, math.Inf(1): 0, math.NaN(): 0} {
		if got := significant(x); got != want {
			t.Errorf("significant(%v) = %v, want %v", x, got, want)
		}
	}
}

// TestBlocksQuantile holds the quantile of weighted blocks to one that adds the
// histograms up.
func TestBlocksQuantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for round := range 200 {
		var windows []*record.Window
		for range 1 + rng.IntN(60) {
			var d record.Dense
			for range rng.IntN(40) {
				v := 1000 * math.Exp(rng.NormFloat64())
				if rng.IntN(20) == 0 {
					v = 5e6 * rng.Float64() // a tail with wide gaps
				}
				if round%7 == 0 {
					v = float64(rng.IntN(3)) // few values, many ties
				}
				d.Add(uint64(v))
			}
			windows = append(windows, &record.Window{Latency: d.Histogram()})
		}
		size := 1 + rng.IntN(4)
		b := newBlocks(windows, size)
		weights := make([]uint32, b.k)
		draw(rng, weights)
		var sum record.Dense
		for i, w := range windows {
			sum.Merge(&w.Latency, uint64(weights[min(i/size, b.k-1)]))
		}
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			if got, want := b.quantile(weights, q), float64(sum.Quantile(q)); got != want {
				t.Errorf("round %d: p%g of %d blocks = %g, want %g", round, 100*q, b.k, got, want)
			}
		}
	}
	if got := newBlocks(nil, 1).quantile(nil, 0.5); got != 0 {
		t.Errorf("the median of nothing = %g", got)
	}
}

func TestText(t *testing.T) {
	for _, x := range []struct{ got, want string }{
		{duration(0), "0 ms"},
		{duration(320e3), "320 µs"},
		{duration(12.5e6), "12.5 ms"},
		{duration(999.9e6), "1000 ms"},
		{duration(5.018e9), "5.02 s"},
		{duration(60e9), "60 s"},
		{duration(500e9), "8 min 20 s"},
		{duration(600e9), "10 min"},
		{share(1), "100%"},
		{share(0.99987), "99.987%"},
		{share(0.999999871), "99.9999871%"},
		{share(0.9875), "98.8%"},
		{share(0), "0%"},
		{share(0.0003), "0.03%"},
		{growth(0.123), "+12.3%"},
		{growth(-0.04), "-4%"},
		{growth(-0.0001), "+0%"},
		{growth(14), "+1400%"},
		{english.Number(0), "0"},
		{english.Number(999), "999"},
		{english.Number(1234567), "1,234,567"},
		{english.Count(1, "node"), "1 node"},
		{english.Count(3, "node"), "3 nodes"},
		{enumerate([]string{"a", "b", "c"}), "a, b and c"},
		{enumerate([]string{"a", "b", "c", "d", "e", "f", "g", "h"}), "a, b, c, d, e, f and 2 more"},
		{tally(map[string]uint64{"reset": 22, "refused": 480, "dns": 22}), "refused 480, dns 22, reset 22"},
	} {
		if x.got != x.want {
			t.Errorf("got %q, want %q", x.got, x.want)
		}
	}
}

func TestParseRelease(t *testing.T) {
	for s, want := range map[string]release{
		"v1.35.4": {1, 35, 4}, "1.35.4": {1, 35, 4}, "v1.35.4-eks-ab12": {1, 35, 4}, "v1.35.4+k3s1": {1, 35, 4},
	} {
		if got, ok := parseRelease(s); !ok || got != want {
			t.Errorf("parseRelease(%q) = %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "v1.35", "latest", "v1.35.x"} {
		if got, ok := parseRelease(s); ok {
			t.Errorf("parseRelease(%q) = %v", s, got)
		}
	}
}
