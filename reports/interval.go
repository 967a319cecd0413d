package reports

import (
	"fmt"
	"html/template"
	"math"
)

// drawInterval draws a criterion's estimate and its 95% bounds against the
// threshold; the side of the threshold on which it would fail is shaded. It
// returns nothing where there is no threshold or no estimate. The picture
// repeats the figures that stand beside it.
func drawInterval(c Criterion) template.HTML {
	if c.Threshold == nil || c.Estimate == nil {
		return ""
	}
	const width, height, margin = 220.0, 30.0, 6.0
	lo, hi := math.Min(*c.Threshold, *c.Estimate), math.Max(*c.Threshold, *c.Estimate)
	if c.Interval != nil {
		lo, hi = math.Min(lo, c.Interval[0]), math.Max(hi, c.Interval[1])
	}
	if !finite(lo) || !finite(hi) {
		return ""
	}
	if hi == lo {
		hi, lo = hi+math.Max(math.Abs(hi)*0.1, 1e-9), lo-math.Max(math.Abs(lo)*0.1, 1e-9)
	}
	pad := (hi - lo) * 0.18
	lo, hi = lo-pad, hi+pad
	x := func(value float64) float64 { return margin + (value-lo)/(hi-lo)*(width-2*margin) }
	limit := x(*c.Threshold)
	from, to := limit, width
	if c.moreIsBetter() {
		from, to = 0, limit
	}
	s := fmt.Sprintf(`<svg class="interval" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-label="%s">`, width, height, width, height, template.HTMLEscapeString(c.evidence()))
	s += fmt.Sprintf(`<rect class="beyond" x="%.1f" y="2" width="%.1f" height="26"/>`, from, to-from)
	s += fmt.Sprintf(`<line class="rail" x1="0" y1="15" x2="%g" y2="15"/>`, width)
	s += fmt.Sprintf(`<line class="threshold" x1="%.1f" y1="1" x2="%.1f" y2="29"/>`, limit, limit)
	if c.Interval != nil && finite(c.Interval[0]) && finite(c.Interval[1]) {
		s += fmt.Sprintf(`<rect class="bounds" x="%.1f" y="11" width="%.1f" height="8" rx="2"/>`, x(c.Interval[0]), math.Max(1.5, x(c.Interval[1])-x(c.Interval[0])))
	}
	s += fmt.Sprintf(`<circle class="estimate" cx="%.1f" cy="15" r="4.5"/></svg>`, x(*c.Estimate))
	return template.HTML(s) //nolint:gosec // numbers, and one text that is escaped
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
