package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/kube-rehearse/rehearse/harness/record"
)

var grownPer = regexp.MustCompile(`([-\d.]+) MB per 10 million`)

// memory measures target 4, with the test that holds it at a reduced size.
func memory(ctx context.Context, b *bench) measured {
	results, theirs := 30_000_000, 3_000_000
	if b.quick {
		results, theirs = 3_000_000, 300_000
	}
	p, err := runProcess(ctx, nil, "go", "test", "-count=1", "-timeout=30m", "-run=^TestMemoryStaysFlat$", "./harness/load", "-v", "-results="+strconv.Itoa(results))
	if err != nil {
		return measured{err: err}
	}
	m := grownPer.FindSubmatch(p.out)
	if m == nil {
		return measured{err: fmt.Errorf("the test's output is not understood:\n%s", p.out)}
	}
	per, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return measured{err: err}
	}
	few, err := runProcess(ctx, nil, b.self, "role-add", "1000")
	if err != nil {
		return measured{err: err}
	}
	many, err := runProcess(ctx, nil, b.self, "role-add", strconv.Itoa(theirs))
	if err != nil {
		return measured{err: err}
	}
	return measured{rows: []row{{
		what: fmt.Sprintf("RSS growth per 10 M results, over %d M, all errors unique", results/1_000_000), ours: fmt.Sprintf("%.2f MB", per),
		reference: fmt.Sprintf("vegeta's Metrics: %.0f MB (from %.1f M)", float64(many.rss-few.rss)/(1<<20)*10e6/float64(theirs), float64(theirs)/1e6),
		limit:     "≤ 1 MB", met: per <= 1, reason: "the Go heap has not settled",
	}}}
}

// quantiles measures target 6: latency as an upgrade shapes it, a narrow body, a
// slower stretch while a node drains, and one request in 700 anywhere up to 5 s.
func quantiles(_ context.Context, b *bench) measured {
	n := 3_000_000
	if b.quick {
		n = 300_000
	}
	var ours, theirs, ourCost, theirCost sample
	for round := range b.rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 6))
		values := make([]uint64, n)
		for i := range values {
			v := 300 + 80*math.Abs(rng.NormFloat64())
			if i > n/2 && i < n/2+n/50 {
				v *= 1 + 10*rng.Float64()
			}
			if rng.Uint32N(700) == 0 {
				v = rng.Float64() * 5e6
			}
			values[i] = uint64(v)
		}
		var d record.Dense
		began := time.Now()
		for _, v := range values {
			d.Add(v)
		}
		ourCost = append(ourCost, float64(time.Since(began).Nanoseconds())/float64(n))
		var m vegeta.LatencyMetrics
		began = time.Now()
		for _, v := range values {
			m.Add(time.Duration(v) * time.Microsecond)
		}
		theirCost = append(theirCost, float64(time.Since(began).Nanoseconds())/float64(n))
		slices.Sort(values)
		exact := float64(values[int(math.Ceil(0.999*float64(n)))-1])
		ours = append(ours, 100*(float64(d.Quantile(0.999))/exact-1))
		theirs = append(theirs, 100*(float64(m.Quantile(0.999).Microseconds())/exact-1))
	}
	worst := slices.Max(absolute(ours))
	return measured{rows: []row{
		{what: "p99.9, off the exact one (worst round)", ours: fmt.Sprintf("%.3f%%", worst), reference: "vegeta " + theirs.format("%+.1f", "%"), limit: "≤ 0.5%", met: worst <= 0.5},
		{what: "time to add one latency", ours: ourCost.format("%.1f", " ns"), reference: "vegeta " + theirCost.format("%.0f", " ns")},
	}}
}
