package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// none stands where there is nothing to show.
const none = "–"

// significant writes x with three significant digits, or as many as its whole
// part has, without a trailing zero after the point.
func significant(x float64) string {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(x))))
	s := strconv.FormatFloat(x, 'f', max(0, min(digits, 9)), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if whole, part, _ := strings.Cut(strings.TrimPrefix(s, "-"), "."); len(whole) > 3 {
		if n, err := strconv.ParseUint(whole, 10, 64); err == nil {
			sign := ""
			if x < 0 {
				sign = "-"
			}
			s = sign + english.Number(n)
			if part != "" {
				s += "." + part
			}
		}
	}
	return s
}

// millis writes a latency given in milliseconds.
func millis(ms float64) string {
	if math.Abs(ms) >= 1000 {
		return significant(ms/1000) + " s"
	}
	return significant(ms) + " ms"
}

// percent writes a share of one. Shares close to one keep the digits that tell
// them from it: 0.99987 is 99.987%.
func percent(ratio float64) string {
	p := ratio * 100
	if p > 90 && p < 100 {
		return trimZeros(100-p, p)
	}
	return significant(p) + "%"
}

func trimZeros(gap, p float64) string {
	digits := max(0, min(6, 2-int(math.Floor(math.Log10(gap)))))
	s := strconv.FormatFloat(p, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s + "%"
}

// change writes the relative growth from a to b with its sign.
func change(a, b float64) string {
	if a <= 0 || math.IsNaN(b/a) || math.IsInf(b/a, 0) {
		return none
	}
	return fmt.Sprintf("%+.0f%%", (b/a-1)*100)
}

// span writes a duration with the precision a reader can use.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Second:
		return significant(float64(d)/1e6) + " ms"
	case d < time.Minute:
		return significant(d.Seconds()) + " s"
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// offset writes a place on the timeline.
func offset(d time.Duration) string { return timeline.FormatOffset(d) }

// bounds writes for how long something lasted.
func bounds(atLeast, atMost time.Duration) string {
	if span(atLeast) == span(atMost) {
		return span(atMost)
	}
	return span(atLeast) + " to " + span(atMost)
}

// measure writes a value of a criterion or a rule in its unit.
func measure(x float64, unit string) string {
	switch unit {
	case "ratio":
		return percent(x)
	case "ms":
		return millis(x)
	case "ns":
		return span(time.Duration(x))
	case "count", "":
		return significant(x)
	}
	return significant(x) + " " + unit
}

// found writes the criterion's estimate, or a dash where it has none.
func (c Criterion) found() string {
	if c.Estimate == nil {
		return none
	}
	return c.value(*c.Estimate)
}

// limit writes the criterion's threshold and on which side of it is good.
func (c Criterion) limit() string {
	switch {
	case c.Threshold == nil:
		return none
	case c.moreIsBetter():
		return "≥ " + c.value(*c.Threshold)
	}
	return "≤ " + c.value(*c.Threshold)
}

// value writes x in the criterion's unit; the growth of a latency has a sign.
func (c Criterion) value(x float64) string {
	s := measure(x, c.Unit)
	if x > 0 && c.Unit == "ratio" && (c.ofLatency() || strings.HasPrefix(c.ID, "errors/")) {
		return "+" + s
	}
	return s
}

// ofLatency tells a quantile's growth, such as p99/new, from a probe.
func (c Criterion) ofLatency() bool {
	return len(c.ID) > 1 && c.ID[0] == 'p' && c.ID[1] >= '0' && c.ID[1] <= '9'
}

// evidence writes all numbers that a criterion rests on.
func (c Criterion) evidence() string {
	var parts []string
	if c.Estimate != nil {
		parts = append(parts, "found "+c.found())
	}
	if c.Threshold != nil {
		parts = append(parts, "limit "+c.limit())
	}
	if basis := c.basis(); basis != "" {
		parts = append(parts, basis)
	}
	return strings.Join(parts, "; ")
}

// basis writes what stands behind the estimate: bounds, samples and warnings.
func (c Criterion) basis() string {
	return strings.Join(append(c.numbers(), c.Warnings...), "; ")
}

// numbers writes the bounds and samples that the estimate rests on.
func (c Criterion) numbers() []string {
	var parts []string
	if c.Interval != nil {
		parts = append(parts, fmt.Sprintf("one-sided 95%% bounds %s and %s", c.value(c.Interval[0]), c.value(c.Interval[1])))
	}
	if n := c.Samples; n.Baseline > 0 {
		parts = append(parts, fmt.Sprintf("%s of the baseline and %s of the upgrade", english.Count(n.Baseline, "sample"), english.Number(n.Upgrade)))
	} else if n.Upgrade > 0 {
		parts = append(parts, english.Count(n.Upgrade, "sample"))
	}
	if c.Samples.Unusable > 0 {
		parts = append(parts, english.Number(c.Samples.Unusable)+" left out as not valid")
	}
	switch {
	case c.PValue == nil:
	case *c.PValue < 0.0001:
		parts = append(parts, "p < 0.0001")
	default:
		parts = append(parts, "p = "+significant(*c.PValue))
	}
	return parts
}

// moreIsBetter tells a least share that must be served from a limit that must
// not be exceeded, by the IDs that packages scenarios and judge give.
func (c Criterion) moreIsBetter() bool {
	return c.ID == "api" || c.ID == "api-writer" || strings.HasPrefix(c.ID, "success/") || strings.HasPrefix(c.ID, "api/")
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// Symbol returns the sign that stands before a result's word. It never stands
// alone, and neither does a colour.
func Symbol(r judge.Result) string {
	switch r {
	case judge.Pass:
		return "✓"
	case judge.Fail:
		return "✗"
	case judge.Undecided:
		return "?"
	}
	return "·"
}

func tally(criteria []Criterion) string {
	var parts []string
	for _, r := range []judge.Result{judge.Fail, judge.Undecided, judge.Pass, judge.Reported} {
		n := 0
		for _, c := range criteria {
			if c.Result == r {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, r))
		}
	}
	return strings.Join(parts, ", ")
}
