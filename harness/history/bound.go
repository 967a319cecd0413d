package history

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Confidence is that of every bound from earlier runs.
const Confidence = 0.95

// How many earlier runs it takes until the largest of their values is an upper
// bound of their P95, and of their P99: see Enough.
const (
	EnoughP95 = 59
	EnoughP99 = 299
)

// Enough returns the least n for which the largest of n values is at least the
// q-quantile of what they were drawn from, with confidence Confidence and
// whatever the distribution: the chance that all n lie below the quantile is qⁿ,
// so n = ⌈ln(1−Confidence)/ln q⌉ (S. S. Wilks, Determination of sample sizes for
// setting tolerance limits, Annals of Mathematical Statistics 12, 1941).
func Enough(q float64) int {
	return int(math.Ceil(math.Log(1-Confidence) / math.Log(q)))
}

// Against is what a run's figure was held against.
type Against string

// What a figure can be held against.
const (
	AgainstHistory  Against = "history"           // the bound from earlier runs
	AgainstBaseline Against = "same-run-baseline" // too few earlier runs: the verdict's own criteria decide
)

// Comparison is one figure of a run held against those of earlier runs.
type Comparison struct {
	Figure
	Against Against `json:"against"`
	// Runs is how many earlier runs have the figure, and Missing how many more it
	// takes for a bound, or for one of a higher quantile.
	Runs    int `json:"runs"`
	Missing int `json:"missing,omitempty"`
	// Quantile that Bound is an upper bound of, at 95%: "P95" or "P99". Both are
	// absent without enough runs.
	Quantile string   `json:"quantile,omitempty"`
	Bound    *float64 `json:"bound,omitempty"`
	// Exceeds is true where the run is certainly worse than the bound.
	Exceeds bool   `json:"exceeds"`
	Explain string `json:"explain"`
}

// Compare holds each figure against the same one of the earlier runs. A figure
// exceeds where its lower bound is above the largest earlier value by more than
// its slack: an unchanged system does that in at most 1 of n+1 runs, since each
// of n+1 exchangeable values is as likely as another to be the largest.
func (p *Past) Compare(figures []Figure) []Comparison {
	out := make([]Comparison, 0, len(figures))
	for _, f := range figures {
		out = append(out, p.compare(f))
	}
	return out
}

func (p *Past) compare(f Figure) Comparison {
	c := Comparison{Figure: f, Against: AgainstBaseline}
	largest := math.Inf(-1)
	for _, r := range p.Runs {
		for _, earlier := range r.Figures {
			if earlier.ID == f.ID {
				c.Runs++
				largest = max(largest, earlier.Found)
			}
		}
	}
	if c.Runs < EnoughP95 {
		c.Missing = EnoughP95 - c.Runs
		c.Explain = fmt.Sprintf("%s: judged by the run's own baseline and limits; %s of %d earlier runs for a bound, %d missing.", f.say(f.Found), strconv.Itoa(c.Runs), EnoughP95, c.Missing)
		return c
	}
	c.Against, c.Quantile, c.Bound = AgainstHistory, "P95", &largest
	if c.Runs >= EnoughP99 {
		c.Quantile = "P99"
	} else {
		c.Missing = EnoughP99 - c.Runs
	}
	c.Exceeds = f.AtLeast > largest+f.Slack
	found := f.say(f.Found)
	if f.AtLeast < f.Found {
		found += fmt.Sprintf(" (at least %s)", f.value(f.AtLeast))
	}
	compared := "not certainly more than"
	if c.Exceeds {
		compared = "more than"
	}
	c.Explain = fmt.Sprintf("%s, %s the %s that was the most in %d earlier runs, an upper bound of their %s at 95%%.", found, compared, f.value(largest), c.Runs, c.Quantile)
	return c
}

// say names the figure with a value: "p99/new grew by 12%".
func (f Figure) say(x float64) string {
	switch {
	case f.ID == FigureDuration:
		return "The upgrade took " + f.value(x)
	case f.Unit == UnitMillis:
		return f.ID + ": the longest outage lasted " + f.value(x)
	case len(f.ID) > len(FigureLost) && f.ID[:len(FigureLost)] == FigureLost:
		return f.ID + ": " + f.value(x) + " of the requests were lost"
	}
	return f.ID + ": p99 grew by " + f.value(x)
}

// value prints x in the figure's unit, to three digits.
func (f Figure) value(x float64) string {
	switch f.Unit {
	case UnitMillis:
		return strconv.FormatFloat(x, 'g', 4, 64) + " ms"
	case UnitSeconds:
		return (time.Duration(x * float64(time.Second))).Round(100 * time.Millisecond).String()
	}
	return strconv.FormatFloat(math.Round(x*1e5)/1e3, 'f', -1, 64) + "%"
}
