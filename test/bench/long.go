package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

var (
	heapOfHours  = regexp.MustCompile(`heap after hour 1 ([\d.]+) MB, after hour 8 ([\d.]+) MB, ratio ([\d.]+)`)
	recordOf8    = regexp.MustCompile(`record ([\d.]+) MB, (\d+) bytes a second`)
	judgedOf8    = regexp.MustCompile(`judged in ([\d.]+) s of CPU time, ([\d.]+) s for 10 M results, of ([\d.]+) M; loaded in ([\d.]+) s, reported in ([\d.]+) s; report ([\d.]+) MB`)
	metricsAdd   = regexp.MustCompile(`metrics add (\d+) ns to the (\d+) ns of a request, ([\d.]+)%`)
	drawnOfHours = regexp.MustCompile(`report of 8 h drawn after (\d+) ms \[(\d+), (\d+)\], of 10 min after (\d+) ms, ratio ([\d.]+)`)
)

// longRun measures target 9, with the tests that hold it: a rehearsal of eight
// hours on three lanes at 200 requests a second, recorded without waiting and
// judged, once a round. The tests of the report and of the metrics have rounds of
// their own.
func longRun(ctx context.Context, b *bench) measured {
	var ratio, perSecond, judged, loaded, reported sample
	var fed [][]float64
	for range b.rounds {
		var err error
		if fed, err = figures(ctx, []*regexp.Regexp{heapOfHours, recordOf8, judgedOf8}, "-run=^TestEightHours$", "./test/long"); err != nil {
			return measured{err: err}
		}
		ratio, perSecond = append(ratio, fed[0][2]), append(perSecond, fed[1][1])
		judged, loaded, reported = append(judged, fed[2][1]), append(loaded, fed[2][3]), append(reported, fed[2][4])
	}
	drawn, err := figures(ctx, []*regexp.Regexp{drawnOfHours}, "-run=^TestReportOfEightHoursOpensInTime$", "./reports")
	if err != nil {
		return measured{err: err}
	}
	counted, err := figures(ctx, []*regexp.Regexp{metricsAdd}, "-run=^TestCountingIsNothingBesideSending$", "./harness/metrics")
	if err != nil {
		return measured{err: err}
	}
	heap, size, last, page, added := fed[0], fed[1], fed[2], drawn[0], counted[0]
	return measured{rows: []row{
		{what: "heap that recording holds, after hour 8 over after hour 1", ours: ratio.format("%.2f", "") + fmt.Sprintf("; of the last round %.1f MB over %.1f MB", heap[1], heap[0]), limit: "≤ 1.20", met: ratio.median() <= 1.2},
		{what: "record on disk", ours: fmt.Sprintf("%.0f MB, %s", size[0], perSecond.format("%.0f", " bytes a second of a lane"))},
		{what: fmt.Sprintf("CPU time to judge it, for 10 M results (from %.1f M)", last[2]), ours: judged.format("%.2f", " s"), limit: "≤ 0.2 s", met: judged.median() <= 0.2, reason: "at 200 a second fewer requests share a bucket than at the 1,000 of target 5"},
		{what: "CPU time to load it, and to write all reports", ours: loaded.format("%.1f", " s") + "; " + reported.format("%.1f", " s")},
		{what: "report.html", ours: fmt.Sprintf("%.2f MB", last[5]), limit: "< 2 MB", met: last[5] < 2},
		{what: "report drawn, headless Chromium", ours: fmt.Sprintf("%.0f ms [%.0f, %.0f]", page[0], page[1], page[2]), reference: fmt.Sprintf("the report of 10 minutes: %.0f ms", page[3]), limit: "< 2 s", met: page[0] < 2000},
		{what: "CPU that metrics add to a request, of what it takes to send and to answer one", ours: fmt.Sprintf("%.2f%% (%.0f ns of %.0f µs)", added[2], added[0], added[1]/1000), limit: "≤ 2%", met: added[2] <= 2},
	}}
}

// figures runs a test and returns the numbers that each pattern finds in what it
// prints.
func figures(ctx context.Context, patterns []*regexp.Regexp, args ...string) ([][]float64, error) {
	p, err := runProcess(ctx, nil, "go", append([]string{"test", "-count=1", "-v", "-timeout=30m"}, args...)...)
	if err != nil {
		return nil, err
	}
	return numbersIn(p.out, patterns)
}

// numbersIn returns the numbers that each pattern finds in a test's output.
func numbersIn(out []byte, patterns []*regexp.Regexp) ([][]float64, error) {
	var all [][]float64
	for _, pattern := range patterns {
		m := pattern.FindSubmatch(out)
		if m == nil {
			return nil, fmt.Errorf("the test's output is not understood:\n%s", out)
		}
		var numbers []float64
		for _, s := range m[1:] {
			x, err := strconv.ParseFloat(string(s), 64)
			if err != nil {
				return nil, err
			}
			numbers = append(numbers, x)
		}
		all = append(all, numbers)
	}
	return all, nil
}
