package judge

import (
	"cmp"
	"math"
	"slices"
)

// alpha is the one-sided error probability of every statistical criterion, and
// z95 the matching quantile of the normal distribution.
const (
	alpha = 0.05
	z95   = 1.6448536269514722
)

// wilson returns the lower and upper bounds, at z standard deviations, of a
// probability of which n trials showed e successes. Counts may be fractional
// (divided by an overdispersion).
//
// Source: Wilson, "Probable inference, the law of succession, and statistical
// inference", JASA 22 (1927), 209–212.
func wilson(e, n, z float64) (lower, upper float64) {
	if n <= 0 {
		return 0, 1
	}
	p := e / n
	z2 := z * z
	centre := p + z2/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	lower = max(0, (centre-half)/(1+z2/n))
	upper = min(1, (centre+half)/(1+z2/n))
	// At the ends the exact bound is the end itself; rounding must not say less.
	if e <= 0 {
		lower = 0
	}
	if e >= n {
		upper = 1
	}
	return lower, upper
}

// newcombe returns the bounds, at z standard deviations, of d = e2/n2 − e1/n1.
//
// Source: Newcombe, "Interval estimation for the difference between independent
// proportions: comparison of eleven methods", Statistics in Medicine 17 (1998),
// 873–890, method 10 (Wilson's score bounds without continuity correction).
func newcombe(e1, n1, e2, n2, z float64) (lower, upper float64) {
	if n1 <= 0 || n2 <= 0 {
		return -1, 1
	}
	p1, p2 := e1/n1, e2/n2
	l1, u1 := wilson(e1, n1, z)
	l2, u2 := wilson(e2, n2, z)
	d := p2 - p1
	lower = d - math.Hypot(p2-l2, u1-p1)
	upper = d + math.Hypot(u2-p2, p1-l1)
	return lower, upper
}

// newcombeP returns the one-sided p-value of "the difference is at most margin":
// the error probability at which newcombe's lower bound just reaches margin.
func newcombeP(e1, n1, e2, n2, margin float64) float64 {
	lowerAt := func(z float64) float64 {
		l, _ := newcombe(e1, n1, e2, n2, z)
		return l
	}
	if e2*n1-e1*n2 <= margin*n1*n2 {
		return 1 // the estimate itself is within the margin; between 0.5 and 1
	}
	lo, hi := 0.0, 40.0
	if lowerAt(hi) > margin {
		return 0
	}
	for range 60 {
		mid := (lo + hi) / 2
		if lowerAt(mid) > margin {
			lo = mid
		} else {
			hi = mid
		}
	}
	return normalTail(lo)
}

// scoreP returns the one-sided p-value of "the probability is at most limit",
// of which n trials showed e: the score test that Wilson's interval inverts.
func scoreP(e, n, limit float64) float64 {
	if n <= 0 || e <= limit*n {
		return 1
	}
	if limit <= 0 {
		return 0
	}
	return normalTail((e/n - limit) / math.Sqrt(limit*(1-limit)/n))
}

// normalTail returns P(Z > z) of the standard normal distribution.
func normalTail(z float64) float64 { return 0.5 * math.Erfc(z/math.Sqrt2) }

// overdispersion returns φ = max(1, Σ(eᵢ−nᵢp)²/(nᵢp(1−p))/(K−1)), Pearson's χ²
// over its degrees of freedom: how much more than a binomial the failures of
// the K blocks scatter. Blocks without requests are left out.
//
// Source: McCullagh and Nelder, "Generalized Linear Models", 2nd ed. (1989), 4.5.
func overdispersion(blocks []trial) float64 {
	var e, n float64
	k := 0
	for _, b := range blocks {
		if b.n > 0 {
			e, n, k = e+b.e, n+b.n, k+1
		}
	}
	if k < 2 || e == 0 || e == n {
		return 1
	}
	p := e / n
	var chi float64
	for _, b := range blocks {
		if b.n > 0 {
			chi += (b.e - b.n*p) * (b.e - b.n*p) / (b.n * p * (1 - p))
		}
	}
	return max(1, chi/float64(k-1))
}

// trial is a number of requests and how many of them failed.
type trial struct{ e, n float64 }

// holm returns which of the hypotheses with p-values p are rejected when the
// chance of any false rejection shall be at most alpha.
//
// Source: Holm, "A simple sequentially rejective multiple test procedure",
// Scandinavian Journal of Statistics 6 (1979), 65–70.
func holm(p []float64, alpha float64) []bool {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	rejected := make([]bool, len(p))
	for i, at := range order {
		if p[at] > alpha/float64(len(p)-i) {
			break
		}
		rejected[at] = true
	}
	return rejected
}

// minSamples returns the least number of samples of which, with 95% confidence,
// at least one lies beyond the quantile q: ln(0.05)/ln(q), 299 for p99 and
// 2,995 for p99.9. With fewer the quantile has no upper bound at all.
func minSamples(q float64) uint64 {
	if q <= 0 || q >= 1 {
		return 1
	}
	return uint64(math.Ceil(math.Log(0.05) / math.Log(max(q, 1-q))))
}

// significant rounds x to six significant digits, so that a verdict does not
// depend on the last bits of a processor's floating point.
func significant(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	digits := 5 - int(math.Floor(math.Log10(math.Abs(x))))
	if digits > 300 {
		return 0
	}
	if digits < 0 {
		f := math.Pow10(-digits)
		return math.Round(x/f) * f
	}
	f := math.Pow10(digits)
	return math.Round(x*f) / f
}
